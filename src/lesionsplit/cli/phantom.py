"""`lesionsplit phantom`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--normal", default=150, show_default=True, help="Slices without lesion.")
@click.option("--lesion", default=150, show_default=True, help="Slices with lesion.")
@click.option("--size", default=512, show_default=True, help="Rows and columns of each slice.")
@click.option("--seed", default=0, show_default=True)
def phantom(out: Path, normal: int, lesion: int, size: int, seed: int) -> None:
    """Draw a data set of imaginary lung slices, with lesions known exactly, into the new folder OUT."""
    from lesionsplit.console import bar, say
    from lesionsplit.phantom.study import PhantomSettings, write_phantom
    from lesionsplit.settings import from_table

    table = {"normal": normal, "lesion": lesion, "size": size, "seed": seed}
    write_phantom(out, from_table(PhantomSettings, table, source="phantom"), progress=bar)
    say(f"drew {normal + lesion} slices: {out / 'slices.csv'}")

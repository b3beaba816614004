"""`lesionsplit phantom`."""

from __future__ import annotations

from pathlib import Path

import click

from lesionsplit.cli.options import FILE


@click.command()
@click.argument("out", type=FILE)
@click.option("--normal", default=150, show_default=True, help="Number of slices without lesion.")
@click.option("--lesion", default=150, show_default=True, help="Number of slices with lesion.")
@click.option("--size", default=512, show_default=True, help="Rows and columns of each slice.")
@click.option("--seed", default=0, show_default=True, help="Seed of the random numbers.")
def phantom(out: Path, normal: int, lesion: int, size: int, seed: int) -> None:
    """Write a data set of synthetic lung slices with exactly known lesions to the new folder OUT."""
    from lesionsplit.cli.console import bar, say
    from lesionsplit.phantom.dataset import PhantomSettings, write_phantom
    from lesionsplit.settings import from_table

    table = {"normal": normal, "lesion": lesion, "size": size, "seed": seed}
    write_phantom(out, from_table(PhantomSettings, table, source="phantom"), progress=bar)
    say(f"wrote {normal + lesion} slices: {out / 'slices.csv'}")

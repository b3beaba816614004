"""`lesionsplit lungs`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option("--out", "-o", type=click.Path(path_type=Path), required=True, help="Output folder.")
@click.option("--overwrite", is_flag=True, help="Replace existing lungs.")
def lungs(inputs: tuple[Path, ...], out: Path, overwrite: bool) -> int:
    """Find the lungs of raw axial slices: image files, or folders of them.

    Writes NAME_lungs.png for each slice, for the column `lungs` of slices.csv or `predict --lungs`, and
    lungs.png, a contact sheet. Inspect the sheet and correct wrong lungs by hand; existing lungs are
    kept. Exit code 1 if some slices have no lung or cannot be read.
    """
    from lesionsplit.cli.console import bar, say, warn
    from lesionsplit.pipeline.lung_masks import write_lungs

    outcome = write_lungs(inputs, out, overwrite=overwrite, progress=bar, say=warn)
    skipped = f", {outcome.skipped} existed already" if outcome.skipped else ""
    failed = f", {outcome.failed} failed" if outcome.failed else ""
    say(f"lungs found in {outcome.done} slices{skipped}{failed}: {out}")
    return 1 if outcome.failed else 0

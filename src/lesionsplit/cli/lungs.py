"""`lesionsplit lungs`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option("--out", "-o", type=click.Path(path_type=Path), required=True, help="Folder for the lungs.")
@click.option("--overwrite", is_flag=True, help="Find again what is there already.")
def lungs(inputs: tuple[Path, ...], out: Path, overwrite: bool) -> int:
    """Find the lungs of raw axial slices: image files, or folders of them.

    Writes NAME_lungs.png for each slice, for the column `lungs` of slices.csv or `predict --lungs`,
    and lungs.png, a sheet to look at: what is wrong in it wants mending by hand. Lungs that are
    there already are left as they are. Exit code 1 if some slices had no lung or could not be read.
    """
    from lesionsplit.console import bar, say
    from lesionsplit.report.outlines import write_lungs

    outcome = write_lungs(inputs, out, overwrite=overwrite, progress=bar, say=say)
    skipped = f", {outcome.skipped} were there already" if outcome.skipped else ""
    failed = f", in {outcome.failed} none could be found" if outcome.failed else ""
    say(f"lungs found in {outcome.done} slices{skipped}{failed}: {out}")
    return 1 if outcome.failed else 0

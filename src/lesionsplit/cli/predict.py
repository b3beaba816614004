"""`lesionsplit predict`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="INPUT...")
@click.option("--out", "-o", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
@click.option("--weights", type=click.Path(path_type=Path), help="A weights file.  [default: the one in the package]")
@click.option(
    "--lungs", type=click.Path(path_type=Path), help="Folder with NAME_lungs.png for each slice, if it is a raw one."
)
@click.option("--threshold", type=float, help="Lowest score that counts as lesion.  [default: the one in the weights]")
@click.option("--overwrite", is_flag=True, help="Predict again what is there already.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]")
def predict(
    inputs: tuple[Path, ...],
    out: Path,
    weights: Path | None,
    lungs: Path | None,
    threshold: float | None,
    overwrite: bool,
    device: str,
    threads: int | None,
) -> int:
    """Take lung-masked slices apart: image files, or folders of them.

    Raw slices need --lungs, the folder that `lesionsplit lungs` wrote.

    For each slice: NAME_score.png (16 bit, 65535 = 1.0), NAME_mask.png, NAME_healthy.png and
    NAME_overlay.png, on the slice's own grid; and predictions.csv for all. Rerunning skips what is
    done. Exit code 1 if some slices could not be read.
    """
    from lesionsplit.console import bar, say
    from lesionsplit.report.predictions import predict_files

    outcome = predict_files(
        inputs,
        out,
        weights,
        lungs=lungs,
        threshold=threshold,
        overwrite=overwrite,
        device=device,
        threads=threads,
        progress=bar,
        say=say,
    )
    skipped = f", {outcome.skipped} were there already" if outcome.skipped else ""
    failed = f", {outcome.failed} could not be read" if outcome.failed else ""
    say(f"{outcome.done} slices predicted{skipped}{failed}: {out / 'predictions.csv'}")
    return 1 if outcome.failed else 0

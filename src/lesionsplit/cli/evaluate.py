"""`lesionsplit evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lesionsplit.cli import options
from lesionsplit.cli.options import FILE

if TYPE_CHECKING:
    from lesionsplit.data.table import Split


@click.command()
@click.argument("data", type=FILE)
@click.option("--weights", type=FILE, help="A weights file.  [default: the weights in the package]")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True)
@click.option(
    "--out", "-o", type=FILE, help="Folder for the results.  [default: evaluation-SPLIT, beside --weights if given]"
)
@click.option(
    "--resolution",
    type=click.IntRange(16, 4096),
    default=256,
    show_default=True,
    help="Pixels on the frame's longer side on which scores and masks are compared.",
)
@options.threshold
@options.device
@options.threads
@options.engine
def evaluate(
    data: Path,
    weights: Path | None,
    split: Split,
    out: Path | None,
    resolution: int,
    threshold: float | str | None,
    device: str,
    threads: int | None,
    engine: str | None,
) -> None:
    """Score heat maps against the masks of annotators, beside chance, a grey opening and the other annotators.

    DATA is a folder with slices.csv that has columns mask_<annotator>.

    Writes metrics.json, metrics.csv, metrics.md, per_slice.csv, curves (PNG and SVG), and pages of slices:
    examples.png, worst.png and random.png.
    """
    from lesionsplit.cli.console import say
    from lesionsplit.pipeline.evaluate import evaluate as evaluate_weights

    folder = out or (weights.parent if weights else Path()) / f"evaluation-{split}"
    runtime = options.runtime_of({"device": device, "threads": threads, "engine": engine})
    evaluate_weights(
        weights or "default",
        data,
        split=split,
        out=folder,
        resolution=resolution,
        threshold=threshold,
        runtime=runtime,
    )
    click.echo((folder / "metrics.md").read_text())
    say(f"written to {folder}")

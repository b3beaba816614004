"""`lesionsplit evaluate`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Folder with slices.csv, or normal/ and lesion/."
)
@click.option("--weights", type=click.Path(path_type=Path), help="A weights file.  [default: the one in the package]")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True)
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), help="Folder for the results.  [default: beside the weights]"
)
@click.option(
    "--resolution",
    type=click.IntRange(16, 4096),
    default=256,
    show_default=True,
    help="Pixels on the frame's longer side.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]")
def evaluate(
    data: Path,
    weights: Path | None,
    split: str,
    out: Path | None,
    resolution: int,
    device: str,
    threads: int | None,
) -> None:
    """Score heat maps against annotators' masks, beside chance, morphology and the other annotators.

    Writes metrics.json, metrics.csv, metrics.md, per_slice.csv, the curves (PNG and SVG), and pages of slices:
    examples.png, worst.png and random.png.
    """
    from lesionsplit.console import bar, say
    from lesionsplit.report.session import evaluate_weights

    folder = out or (weights.parent if weights else Path()) / f"evaluation-{split}"
    text = evaluate_weights(
        data, weights, split, folder, resolution=resolution, device=device, threads=threads, progress=bar, say=say
    )
    click.echo(text)
    say(f"written to {folder}")

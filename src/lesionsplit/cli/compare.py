"""`lesionsplit compare`."""

from __future__ import annotations

from pathlib import Path

import click

from lesionsplit.cli import options
from lesionsplit.cli.options import FILE


@click.command()
@click.argument("comparison")
@click.argument("data", type=FILE)
@click.option("--out", "-o", type=FILE, required=True, help="Folder for the runs and the report.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this entry and the reference; may be repeated.")
@click.option("--train-only", is_flag=True, help="Train, but do not score.")
@options.device
@options.threads
@options.engine
@click.option("--cache", type=FILE, help="Folder for prepared slices.  [default: your cache folder]")
def compare(
    comparison: str,
    data: Path,
    out: Path,
    only: tuple[str, ...],
    train_only: bool,
    device: str,
    threads: int | None,
    engine: str | None,
    cache: Path | None,
) -> int:
    """Train and score methods side by side, and write one report.

    COMPARISON is a .toml file, or a comparison of the package: figures, looks, phantom, teachers. DATA is a folder with
    slices.csv that has columns mask_<annotator>. Trained runs are kept: the same command continues a comparison that
    was stopped, and trains new entries only. Several processes may train different entries in one folder at the same
    time (--only, --train-only).
    """
    from lesionsplit import cores

    cores.spin_briefly()  # before PyTorch is loaded
    from lesionsplit.cli.console import TrainingLine, say
    from lesionsplit.pipeline.compare import plan_comparison, score_and_report, train_entries

    runtime = options.runtime_of({"device": device, "threads": threads, "engine": engine})
    planned = plan_comparison(comparison, data, out, only)
    if not train_entries(
        planned, cache=cache, watch=lambda one: TrainingLine(one.settings.training.steps), runtime=runtime
    ):
        say("stopped; the same command continues")
        return 130
    if not train_only:
        score_and_report(planned, runtime)
    return 0

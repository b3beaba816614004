"""`lesionsplit train`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lesionsplit.cli import options
from lesionsplit.cli.options import FILE

if TYPE_CHECKING:
    from lesionsplit.training.run import Run

DEFAULT_CONFIG = "distilled"


@click.command()
@click.argument("data", type=FILE, required=False)
@click.option("--run", "folder", type=FILE, help="Folder of the run.  [default: runs/NAME, NAME being that of DATA]")
@click.option(
    "--config",
    help="A .toml file, or a config of the package: quick, distilled, separation, synthesis, diffusion, paper, "
    f"paper-small, small, paper-demo, demo, supervised.  [default: {DEFAULT_CONFIG}]",
)
@click.option(
    "--region",
    type=click.Choice(["lungs", "whole", "mask"]),
    help="What counts of an image: lungs of chest CT, all of it, or what a mask of each says.  [default: lungs]",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="TABLE.KEY=VALUE", help="Change one setting; may be repeated."
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="Number of steps, for which all stages are scaled; with --resume, the new last step.",
)
@click.option("--resume", is_flag=True, help="Continue the run from its last checkpoint; DATA may be left out.")
@click.option(
    "--framework",
    type=click.Choice(["torch", "mindspore"]),
    help="What computes the training; mindspore has the paper's method.  [default: torch; with --resume the run's]",
)
@options.device
@options.threads
@click.option("--cache", type=FILE, help="Folder for prepared slices.  [default: your cache folder]")
def train(
    data: Path | None,
    folder: Path | None,
    config: str | None,
    region: str | None,
    overrides: tuple[str, ...],
    steps: int | None,
    resume: bool,
    framework: str | None,
    device: str,
    threads: int | None,
    cache: Path | None,
) -> int:
    """Train on the slices in DATA, which are labelled normal or lesion.

    DATA is a folder with slices.csv, or with the folders normal/ and lesion/. No mask is used. The only exception is
    --config supervised, an upper bound that is trained on the masks of one annotator.

    Ctrl-C stops after the current step and writes a checkpoint. To use several processes: torchrun
    --nproc-per-node N -m -- lesionsplit train ...
    """
    from lesionsplit import cores

    cores.spin_briefly()  # before PyTorch is loaded
    from lesionsplit.cli.console import TrainingLine, say
    from lesionsplit.training.export import export_run
    from lesionsplit.training.run import Run, first_process
    from lesionsplit.training.teachers import later_steps
    from lesionsplit.training.train import train_run

    if folder is None:
        if data is None:
            raise click.UsageError("no data: give DATA, a folder with slices.csv or with normal/ and lesion/")
        folder = Path("runs") / data.resolve().name
    if resume and (config is not None or overrides or region is not None):
        raise click.UsageError(
            "--config, --set and --region do not apply with --resume: a run keeps its settings, except --steps"
        )
    run = Run.open(folder, steps=steps) if resume else _new(folder, data, config, region, overrides, steps)
    runtime = options.runtime_of({"device": device, "threads": threads, "framework": framework})
    trained = train_run(
        run,
        data or run.data(),
        cache=cache,
        runtime=runtime,
        watch=lambda one: TrainingLine(one.settings.training.steps, later_steps(run, one)),
    )
    if not first_process():
        return 0
    if not trained.finished:
        resumed = f"lesionsplit train --run {_quoted(folder)} --resume"
        say(f"stopped after step {trained.step}; to continue: {resumed}")
        if trained.step:
            say(f"to end the run here: {resumed} --steps {trained.step}")
        return 130
    say(f"weights: {run.weights}")
    export_run(run, runtime)
    say(f"pictures: {run.folder / 'pictures'}")
    say(f"next: {_next_command(run)}")
    return 0


def _new(
    folder: Path,
    data: Path | None,
    config: str | None,
    region: str | None,
    overrides: tuple[str, ...],
    steps: int | None,
) -> Run:
    from lesionsplit.training.run import Run, read_config

    if data is None:
        raise click.UsageError("no data: give DATA, a folder with slices.csv or with normal/ and lesion/")
    if steps is not None and any(one.partition("=")[0].strip() == "training.steps" for one in overrides):
        raise click.UsageError("--steps and --set training.steps are the same setting; give one of them")
    settings = read_config(config or DEFAULT_CONFIG, overrides, region=region, steps=steps)  # type: ignore[arg-type]
    return Run.create(folder, settings)


def _next_command(run: Run) -> str:
    """The command to try next: an evaluation where test or val has masks, otherwise a prediction."""
    from lesionsplit.data.table import read_table

    data = run.splits if run.splits.is_file() else run.data()
    weights = _quoted(run.weights)
    table = read_table(data)
    for split in ("test", "val"):
        if table.select(lambda row, split=split: row.split == split).annotators:  # type: ignore[misc]
            return f"lesionsplit evaluate {_quoted(data)} --weights {weights} --split {split}"
    row = (table.labelled("lesion") or table).slices[0]
    return f"lesionsplit predict {_quoted(row.image.parent)} --weights {weights}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))

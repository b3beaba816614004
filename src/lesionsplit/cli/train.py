"""`lesionsplit train`."""

from __future__ import annotations

from pathlib import Path

import click

DEFAULT_CONFIG = "distilled"


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Folder with slices.csv, or with normal/ and lesion/.")
@click.option(
    "--run", "folder", type=click.Path(path_type=Path), required=True, help="Folder that the run is written to."
)
@click.option(
    "--config",
    default=None,
    help="A .toml file, or one of the package's: distilled, synthesis, diffusion, paper, paper-small, small, "
    "paper-demo, demo, supervised.  "
    f"[default: {DEFAULT_CONFIG}]",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="TABLE.KEY=VALUE", help="Change one setting; may be repeated."
)
@click.option(
    "--steps", type=click.IntRange(min=1), help="Shorter than --set training.steps=N; with --resume, go on to N."
)
@click.option("--resume", is_flag=True, help="Continue the run in --run from its last checkpoint.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]")
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Where prepared slices are kept.  [default: your cache folder]"
)
def train(
    data: Path | None,
    folder: Path,
    config: str | None,
    overrides: tuple[str, ...],
    steps: int | None,
    resume: bool,
    device: str,
    threads: int | None,
    cache: Path | None,
) -> int:
    """Train on slices labelled normal or lesion; no mask is looked at.

    Except by --config supervised, which is an upper bound: it trains on one annotator's masks of train.

    Ctrl-C stops at the end of a step, with a checkpoint. Several processes: torchrun
    --nproc-per-node N -m -- lesionsplit train ...
    """
    from lesionsplit.console import TrainingLine, bar, say
    from lesionsplit.errors import RunError
    from lesionsplit.run import Run, first_process, read_config
    from lesionsplit.training.train import train as train_run

    if resume:
        if config is not None or overrides:
            raise RunError("--resume continues a run with its own settings; only --steps may change")
        run = Run.open(folder, steps=steps)
    else:
        if steps is not None:
            overrides = (*overrides, f"training.steps={steps}")
        run = Run.create(folder, read_config(config or DEFAULT_CONFIG, overrides))
    trained = train_run(
        run,
        data or run.data(),
        cache=cache,
        device=device,
        threads=threads,
        progress=bar,
        watch=lambda one: TrainingLine(one.settings.training.steps),
        say=say,
    )
    if not first_process():
        return 0
    if not trained.finished:
        say(f"stopped after step {trained.step}; to continue: lesionsplit train --run {folder} --resume")
        if trained.step:
            say(f"to end it here: lesionsplit train --run {folder} --resume --steps {trained.step}")
        return 130
    say(f"weights: {run.weights}")
    say(f"pictures: {run.folder / 'pictures'}")
    say(f"next: lesionsplit evaluate --weights {run.weights} --data {run.data()} --split test")
    return 0

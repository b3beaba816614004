"""`lesionsplit train-lungs`."""

from __future__ import annotations

from pathlib import Path

import click

from lesionsplit.cli import options
from lesionsplit.cli.options import FILE, Number

TAKE = 800
"""Number of slices from --slices by default."""


@click.command("train-lungs")
@click.option(
    "--ct",
    "folders",
    type=FILE,
    multiple=True,
    required=True,
    help="CT of a healthy chest in HU: a folder, a zip or a file; may be repeated.",
)
@click.option(
    "--slices",
    "table",
    type=FILE,
    help="Folder of lung-masked slices of real lungs, with slices.csv or normal/ and lesion/; only train is used.",
)
@click.option("--take", type=click.IntRange(min=1), help=f"Number of slices from --slices.  [default: {TAKE}]")
@click.option(
    "--phantom",
    "synthetic",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Number of additional slices of synthetic chests in HU.",
)
@click.option("--start", type=FILE, help="Weights to continue from; the result is the mean of both.")
@click.option(
    "--rate",
    type=Number(min=0, min_open=True, max=1),
    default=3e-3,
    show_default=True,
    help="Maximum learning rate.",
)
@click.option("--out", type=FILE, required=True, help="Weights file to write (.safetensors).")
@click.option("--steps", type=click.IntRange(min=1), default=1600, show_default=True, help="Number of steps.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random numbers.")
@options.threads
def train_lungs(
    folders: tuple[Path, ...],
    table: Path | None,
    take: int | None,
    synthetic: int,
    start: Path | None,
    rate: float,
    out: Path,
    steps: int,
    seed: int,
    threads: int | None,
) -> int:
    """Train the network that finds lungs, in minutes on one core.

    The lungs of healthy chests are found by thresholds, those of synthetic chests are known. Synthetic disease is
    added to both and belongs to the lungs. No lesion mask is used.

    Exit code 1: some volumes could not be read; the others were used.
    """
    from lesionsplit.errors import DataError, one_failure
    from lesionsplit.io.cases import find_cases
    from lesionsplit.models.card import digest
    from lesionsplit.training.lungs.network import LungModel, export_lungs
    from lesionsplit.training.lungs.phantom_volumes import phantom_samples
    from lesionsplit.training.lungs.samples import Sample, lung_slices, samples_of
    from lesionsplit.training.lungs.train import LungTraining
    from lesionsplit.training.lungs.train import train_lungs as train
    from lesionsplit.volumes.intensity import ReadOptions
    from lesionsplit.volumes.scratch import Scratch

    if take is not None and table is None:
        raise click.UsageError("--take applies to --slices only; give --slices, or leave --take out")
    runtime = options.runtime_of({"threads": threads})
    runtime.begin()
    found = find_cases(folders, recursive=True)
    failed = list(found.refused)
    hosts: list[Sample] = []
    read: list[str] = []
    for case in runtime.progress(found.cases, len(found.cases), "volumes"):
        try:
            with Scratch() as scratch:
                hosts += samples_of(case.read(scratch, ReadOptions("hu")))
            read.append(case.name)
        except Exception as error:  # noqa: PERF203  a line for each volume
            failed.append(one_failure(error, case.where))
    for line in failed if hosts else failed[:-1]:
        runtime.warn(line)
    if not hosts:
        none = f"{', '.join(map(str, folders))}: no CT volume found; give --ct a folder of a chest CT in HU"
        raise DataError(failed[-1] if failed else none)
    slices = lung_slices(table, take or TAKE, seed, runtime.progress) if table is not None else []
    data = f"{len(hosts)} slices of {', '.join(read)}" + (f"; {len(slices)} slices of {table.name}" if table else "")
    if synthetic:
        hosts += phantom_samples(synthetic, seed, runtime.progress)
        data += f"; {synthetic} slices of the phantom in HU"
    training = LungTraining(steps=steps, seed=seed, learning_rate=rate)
    before = LungModel.load(start) if start else None
    model = train(hosts, slices, training, data=data, start=before, progress=runtime.progress)
    model.save(out)
    export_lungs(out, out.with_suffix(".onnx"))
    runtime.say(f"weights: {out} (SHA-256 {digest(out)})")
    return 1 if failed else 0

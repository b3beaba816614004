"""`lesionsplit train-lungs`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("train-lungs")
@click.option(
    "--ct",
    "folders",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="CT of a healthy chest in HU: a folder, a zip or a file; may be repeated.",
)
@click.option(
    "--slices",
    "table",
    type=click.Path(path_type=Path),
    help="Lung-masked slices of real lungs, with slices.csv or normal/ and lesion/; images of train only.",
)
@click.option("--take", type=click.IntRange(min=1), default=800, show_default=True, help="So many of --slices.")
@click.option(
    "--phantom",
    "imagined",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Slices of imagined chests in HU, drawn beside those of --ct.",
)
@click.option("--start", type=click.Path(path_type=Path), help="Weights to go on from; the mean is kept.")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), default=3e-3, show_default=True, help="Of learning."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Weights' file to write (.safetensors).")
@click.option("--steps", type=click.IntRange(min=1), default=1600, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]")
def train_lungs(
    folders: tuple[Path, ...],
    table: Path | None,
    take: int,
    imagined: int,
    start: Path | None,
    rate: float,
    out: Path,
    steps: int,
    seed: int,
    threads: int | None,
) -> int:
    """Train the network that finds lungs; minutes on one core.

    Thresholds find the lungs of healthy chests, those of the phantom are known, and disease is drawn into them
    that is to stay inside. No mask of any lesion is looked at.
    """
    import torch

    from lesionsplit.cases.find import find_cases
    from lesionsplit.console import bar, say
    from lesionsplit.errors import DataError
    from lesionsplit.lungs.chests import phantom_samples
    from lesionsplit.lungs.network import LungModel
    from lesionsplit.lungs.samples import Sample, lung_slices, samples_of
    from lesionsplit.lungs.train import LungTraining
    from lesionsplit.lungs.train import train_lungs as train
    from lesionsplit.memory import keep_freed_memory
    from lesionsplit.model import digest
    from lesionsplit.volumes.scratch import Scratch

    keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    found = find_cases(folders, recursive=True)
    for line in found.refused:
        say(line)
    hosts: list[Sample] = []
    for case in bar(found.cases, len(found.cases), "volumes"):
        with Scratch() as scratch:
            hosts += samples_of(case.read(scratch, intensity="hu"))
    if not hosts:
        raise DataError(f"{', '.join(map(str, folders))}: no CT volume found; give --ct a folder of a chest CT in HU")
    slices = lung_slices(table, take, seed, bar) if table is not None else []
    names = ", ".join(case.name for case in found.cases)
    data = f"{len(hosts)} slices of {names}" + (f"; {len(slices)} slices of {table.name}" if table else "")
    if imagined:
        hosts += phantom_samples(imagined, seed, bar)
        data += f"; {imagined} slices of the phantom in HU"
    training = LungTraining(steps=steps, seed=seed, learning_rate=rate)
    model = train(hosts, slices, training, data=data, start=LungModel.load(start) if start else None, progress=bar)
    model.save(out)
    say(f"weights: {out} (SHA-256 {digest(out)})")
    return 0

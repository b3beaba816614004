"""The paper's method in PyTorch and in MindSpore: trained on the phantom from the same start, and timed in turns.

`python experiments/two_frameworks.py toy OUT` trains both with several seeds and prints average precisions on test.
`python experiments/two_frameworks.py speed` prints how many times longer a step and a prediction take in MindSpore.
Needs `pip install 'lesionsplit[mindspore,plots]'`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from lesionsplit.data.lung_slice import read_slice
from lesionsplit.data.sampling import Batch
from lesionsplit.data.table import Slice, read_table
from lesionsplit.evaluation.protocol import read_mask
from lesionsplit.images import as_float, write_image
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.methods.base import Method
from lesionsplit.phantom.dataset import PhantomSettings, write_phantom
from lesionsplit.pipeline.evaluate import NETWORK, evaluate
from lesionsplit.runtime import FrameworkName, Runtime
from lesionsplit.tiles import Tile, grey_tile, heat_tile, outline, tile_grid
from lesionsplit.training.framework import open_framework
from lesionsplit.training.run import Run, RunSettings, read_config
from lesionsplit.training.train import launch, train_run

FRAMEWORKS: tuple[FrameworkName, ...] = ("torch", "mindspore")

TOY = (
    "placement.rows=48",
    "placement.columns=64",
    "placement.frame=80",
    "training.steps=300",
    "method.optimisation.critic_warmup_steps=60",
    "training.picture_every=300",
    "training.log_every=50",
)
"""Changes to `paper-demo`."""


def toy(out: Path, seeds: list[int], threads: int) -> None:
    """Train every seed in both frameworks, evaluate, and draw what the first seed finds."""
    if not (out / "phantom").exists():
        write_phantom(out / "phantom", PhantomSettings(normal=120, lesion=120, size=128, seed=1))
    found: dict[tuple[str, int], float] = {}
    for seed in seeds:
        settings = read_config("paper-demo", (*TOY, f"seed={seed}"))
        for name in FRAMEWORKS:
            run = Run(out / f"{name}-{seed}", settings, new=not (out / f"{name}-{seed}").exists())
            if not run.finished():
                train_run(run, out / "phantom", cache=out / "cache", runtime=Runtime(threads=threads, framework=name))
            measured = evaluate(run.weights, out / "phantom", runtime=Runtime(threads=threads))
            found[name, seed] = measured.against(NETWORK, measured.judges[0])["average_precision"].value or 0.0
            print(f"{name}, seed {seed}: average precision {found[name, seed]:.3f}", flush=True)
    for name in FRAMEWORKS:
        values = [found[name, seed] for seed in seeds]
        print(f"{name}: {min(values):.3f} to {max(values):.3f}")
    print("between frameworks:", ", ".join(f"{abs(found['torch', s] - found['mindspore', s]):.4f}" for s in seeds))
    draw(out, seeds[0])


def draw(out: Path, seed: int) -> None:
    """A picture of test slices: outline, and of each framework the healthy version and the heat map."""
    table = read_table(out / "phantom").split("test")
    rows = [*table.labelled("lesion").slices[:3], *table.labelled("normal").slices[:1]]
    columns = [[outline_of(row) for row in rows]]
    for name in FRAMEWORKS:
        predictor = SlicePredictor.load(out / f"{name}-{seed}" / "weights.safetensors", engine=name)
        predictions = list(predictor.predict_rows(rows))
        columns.append([grey_tile(as_float(one.healthy)) for one in predictions])
        highest = max(float(one.score.max()) for one in predictions)  # short trainings score low
        columns.append([heat_tile(one.score, highest) for one in predictions])
    headings = ("slice", "PyTorch", "", "MindSpore", "")
    names = [row.label for row in rows]
    write_image(out / "both.png", tile_grid([list(row) for row in zip(*columns, strict=True)], headings, names))


def outline_of(row: Slice) -> Tile:
    """A slice with the outlines of its lesions."""
    tile = grey_tile(as_float(read_slice(row).grey))
    for annotator in row.masks:
        tile = outline(tile, read_mask(row, annotator, len(tile)), (255, 80, 80))
    return tile


def speed(rounds: int, threads: int) -> None:
    """Seconds of a step and of a prediction of 8 slices, in turns, and the median of the ratios."""
    torch.set_num_threads(threads)
    for label, config, changes in (
        ("paper-demo, 80 x 104", "paper-demo", ("method.optimisation.critic_warmup_steps=0",)),
        ("paper-small, 128 x 176, batch norm", "paper-small", ("training.batch_size=4",)),
    ):
        settings = read_config(config, changes)
        works = {name: step_of(name, settings) for name in FRAMEWORKS}
        report(f"step, {label}", in_turns(works, rounds))
        works = {name: prediction_of(name, settings) for name in FRAMEWORKS}
        report(f"prediction, {label}", in_turns(works, rounds))


def step_of(name: FrameworkName, settings: RunSettings) -> Callable[[], object]:
    """One step on one batch, again and again."""
    framework = open_framework(name, settings, "cpu")
    method: Method = framework.start(settings.method.build())
    method.setup(launch(settings, "cpu"))
    shape = (settings.training.batch_size, 1, *settings.placement.canvas)
    batch = Batch(*(torch.rand(shape, generator=torch.Generator().manual_seed(at)) - 0.5 for at in range(2)))
    return lambda: [float(term) for term in method.step(batch, 0).values()]


def prediction_of(name: FrameworkName, settings: RunSettings) -> Callable[[], object]:
    """The network and the heat map of 8 slices."""
    from lesionsplit.data.normalise import Normalisation
    from lesionsplit.models.mindspore_engine import MindSporeEngine
    from lesionsplit.models.model import Model, ModelCard
    from lesionsplit.models.torch_engine import TorchEngine

    card = ModelCard(
        format=3,
        method=settings.method,
        placement=settings.placement,
        normalisation=Normalisation(mean=0.45, std=0.15),
        threshold=0.5,
        threshold_from="",
        trained={},
    )
    network = settings.method.build_network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model = Model(card, network)
    engine = TorchEngine(model, torch.device("cpu")) if name == "torch" else MindSporeEngine(model, "cpu")
    images = np.random.default_rng(0).random((8, 1, *settings.placement.canvas), dtype=np.float32) - 0.5
    return lambda: engine.infer(images)


def in_turns(works: dict[FrameworkName, Callable[[], object]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Wall and processor seconds of each work, in each round."""
    for work in works.values():
        for _ in range(3):  # compiled, and memory is there
            work()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            wall, own = time.perf_counter(), time.process_time()
            work()
            found[name].append((time.perf_counter() - wall, time.process_time() - own))
    return found


def report(label: str, found: dict[str, list[tuple[float, float]]]) -> None:
    """Medians, and the median of the ratios of the rounds."""
    for at, kind in enumerate(("wall", "processor")):
        torch_seconds, own = ([one[at] for one in found[name]] for name in FRAMEWORKS)
        ratio = statistics.median(b / a for a, b in zip(torch_seconds, own, strict=True))
        print(
            f"{label}: PyTorch {statistics.median(torch_seconds):.3f} s, MindSpore {statistics.median(own):.3f} s of "
            f"{kind} time, ratio {ratio:.1f}",
            flush=True,
        )


def main() -> None:
    """Read the options."""
    os.environ.setdefault("GLOG_v", "3")
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("what", choices=["toy", "speed"])
    options.add_argument("out", type=Path, nargs="?", default=Path("build/two-frameworks"))
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--threads", type=int, default=1)
    chosen = options.parse_args()
    if chosen.what == "toy":
        toy(chosen.out, chosen.seeds, chosen.threads)
    else:
        speed(chosen.rounds, chosen.threads)


if __name__ == "__main__":
    main()

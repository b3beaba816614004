"""Engines for prediction, alone and beside busy processes: slices a second from arrays to results; and a training step.

Slices are those of the phantom, 512 x 512. Every way runs in processes of its own, in turns. A busy process is one that
computes without a pause on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rounds import in_turns, measure, run

from lesionsplit import cores
from lesionsplit.memory import keep_freed_memory

ASLEEP = {"OMP_WAIT_POLICY": "passive"}
"""Threads of OpenMP, which PyTorch uses, do not spin while they wait for each other."""

WAYS: dict[str, tuple[str, dict[str, str]]] = {
    "PyTorch": ("torch", {}),
    "PyTorch, threads asleep": ("torch", ASLEEP),
    "a training step": ("step", {}),
    "a training step, as `lesionsplit train` sets the threads": ("calm step", {}),
    "ONNX Runtime": ("onnx", {}),
}
"""What is measured, and in which environment; the last is the default of prediction."""


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=5, help="how often each way is measured")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--slices", type=int, default=48)
    options.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2], help="how many busy processes are beside it")
    options.add_argument("--measure", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.measure is None:
        compare(chosen)
    elif chosen.measure.endswith("step"):
        measure_step(chosen.threads, calm=chosen.measure == "calm step")
    else:
        measure_engine(chosen.measure, chosen.threads, chosen.slices)


def measure_engine(engine: Any, threads: int, count: int) -> None:
    """In a subprocess: the speed of an engine, and its mean score, which shows that engines agree."""
    from lesionsplit.data.lung_slice import LungSlice, find_lungs
    from lesionsplit.inference.predictor import SlicePredictor
    from lesionsplit.phantom.dataset import PhantomSettings, draw_series

    cores.use(threads)
    if engine == "torch":
        import torch

        torch.set_num_threads(threads)
    keep_freed_memory()
    settings = PhantomSettings(size=512)
    images = [one.image for number in range(4) for one in draw_series("lesion", number, settings)]
    slices = [LungSlice(grey, find_lungs(grey)) for grey in images]
    start = time.perf_counter()
    predictor = SlicePredictor.load(device="cpu", engine=engine)
    loaded = time.perf_counter() - start

    def work() -> float:
        stream = predictor.predict_stream(slices[number % len(slices)] for number in range(count))
        return sum(float(one.score.mean()) for one in stream) / count

    measure(work, count, warmup_steps=False, load_seconds=loaded, mean_score=work())


def measure_step(threads: int, *, calm: bool) -> None:
    """In a subprocess: steps of the diffusion model's training, the first teacher of the default weights."""
    if calm:
        cores.spin_briefly()
    import torch
    from lightning_fabric import Fabric

    from lesionsplit.data.sampling import Batch
    from lesionsplit.training.run import read_config

    torch.set_num_threads(threads)
    settings = read_config("diffusion")
    method = settings.method.build()
    method.setup(Fabric(accelerator="cpu", devices=1))
    shape = (settings.training.batch_size, 1, *settings.placement.canvas)
    batch = Batch(torch.rand(shape) - 0.5, torch.rand(shape) - 0.5)
    steps = 6

    def work() -> None:
        for number in range(steps):
            method.step(batch, number)

    measure(work, 2 * shape[0] * steps)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Processes that keep a core busy each."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def compare(chosen: argparse.Namespace) -> None:
    """In the parent: measure every way in turns, and print a table."""
    command = [sys.executable, __file__, "--threads", chosen.threads, "--slices", chosen.slices, "--measure"]
    rows: dict[str, list[str]] = {name: [] for name in WAYS}
    for count in chosen.busy:

        def measure_way(way: str, _: int, count: int = count) -> dict[str, Any]:
            what, environment = WAYS[way]
            with busy(count):
                output = run([*command, what], env={**os.environ, **environment}).output
            result: dict[str, Any] = json.loads(output)
            return result

        found = in_turns(list(WAYS), chosen.rounds, measure_way)["ways"]
        for name, one in found.items():
            rows[name].append(f"{one['slices_per_second']:.1f}")
            if count == chosen.busy[0] and "mean_score" in one:
                print(
                    f"{name}: {one['load_seconds']:.2f} s to load, {one['peak_mib']:.0f} MiB, mean score "
                    f"{one['mean_score']:.6f}"
                )
    print(f"| slices a second | {' | '.join(f'{count} busy processes beside it' for count in chosen.busy)} |")
    print(f"|---|{'---|' * len(chosen.busy)}")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

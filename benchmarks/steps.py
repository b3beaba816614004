"""Where the time of a training step goes, method by method: `python -m benchmarks.steps`.

A step is what the training loop does: draw a batch, learn from it, average the weights. PyTorch's profiler gives every
operator's own time; operators inside a named part (`PARTS`) count there, the rest by what they are.
The floor is the step's multiply-adds over the rate of a large matrix product. One thread, CPU time: a busy
machine changes the milliseconds, hardly the shares.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from benchmarks.floors import count
from lightning_fabric import Fabric
from torch.profiler import ProfilerActivity, profile, record_function

from lesionsplit import cores
from lesionsplit.comparison.plan import settings_of
from lesionsplit.comparison.settings import read_comparison
from lesionsplit.data.cache import CachedTeacherOutputs, PreparedSlices, prepare
from lesionsplit.data.sampling import Sampler
from lesionsplit.data.table import read_table
from lesionsplit.domains.lungs import LungDomain
from lesionsplit.memory import keep_freed_memory
from lesionsplit.methods.base import Method, bare
from lesionsplit.phantom.dataset import PhantomSettings, write_phantom
from lesionsplit.training.framework import running_average
from lesionsplit.training.run import RunSettings, read_config

METHODS = ("diffusion", "distilled", "separation", "decomposition", "bl", "va-gan", "cam", "synthesis")
SMALL = ("placement.rows=64", "placement.columns=96", "placement.frame=128", "training.batch_size=4")
"""The size of `lesionsplit compare figures`."""

LATE = 9000
"""A step after every warm-up and schedule."""

DRAWING = {
    "distilled": ("draw", "vary", "full_lesion", "region", "synthetic_targets"),
    "synthesis": ("draw", "vary"),
    "separation": ("transplanted", "region", "draw_conditions"),
    "diffusion": ("coloured", "region", "draw_levels", "draw_conditions"),
}
"""Functions of the lung domain and of a method's module that make its inputs and targets."""

PARTS = ("sampling", "drawing", "optimiser", "averaging")
"""Parts that have a name in the trace."""

KINDS = {
    "convolution": ("convolution", "conv2d", "conv_transpose"),
    "matrices": ("addmm", "::mm", "bmm", "::dot", "::mv"),
    "norms": ("_norm", "var_mean"),
    "optimiser": ("_fused_adam", "_foreach", "Optimizer."),
}
"""Of operators outside these parts, by what their names contain; all others are elementwise."""

COLUMNS = ("convolution", "matrices", "norms", "elementwise", *PARTS, "between operators")


class Profiled(NamedTuple):
    """A method's step."""

    slices: int
    milliseconds: float
    """CPU time of a step, without the profiler."""

    floor: float
    """Of its arithmetic, in milliseconds."""

    shares: dict[str, float]
    """Of `COLUMNS`, together 1."""


class Step:
    """A training that can do one step after the other."""

    def __init__(self, settings: RunSettings, data: Path) -> None:
        torch.manual_seed(0)
        self.method: Method = settings.method.build()
        self.method.setup(Fabric(accelerator="cpu", devices=1))
        self.average = running_average(self.method, settings.training.ema_decay)
        slices = prepare(read_table(data).without_masks(), settings.placement, folder=data / "cache")
        if settings.method.distillation is not None:
            slices = taught(slices)
        self.sampler = Sampler(slices, settings.augmentation, batch_size=settings.training.batch_size, seed=0)
        self.slices = 2 * settings.training.batch_size
        self.number = settings.method.preparation_steps  # the step at which what follows pretraining is set up
        self()
        self.number = LATE

    def __call__(self) -> None:
        """Do one step."""
        with record_function("sampling"):
            batch = self.sampler.draw(self.number)
        self.method.step(batch, self.number)
        with record_function("averaging"):
            self.average.update_parameters(bare(self.method.network))
        self.number += 1


def phantom(folder: Path, each: int = 40) -> Path:
    """A folder with a few slices of each label, drawn unless they are there."""
    if not folder.is_dir():
        write_phantom(folder, PhantomSettings(size=256, normal=each, lesion=each))
    return folder


def taught(slices: PreparedSlices) -> PreparedSlices:
    """Slices with outputs of teachers; what these are does not change the time."""
    return replace(slices, teacher_outputs=CachedTeacherOutputs(slices.images // 4, slices.images))


def settings_for(name: str, *, small: bool) -> RunSettings:
    """Of `lesionsplit compare figures` where it trains the method; otherwise its config, at the same size if small."""
    figures = read_comparison("figures")
    entries = {entry.name: entry for entry in figures.entry if entry.trained}
    if small and name in entries:
        return settings_of(figures, entries[name], 0)
    return read_config(name, SMALL if small else ())


@contextmanager
def named_parts(name: str, settings: RunSettings) -> Iterator[None]:
    """Functions that draw a method's inputs and targets appear in the trace under one name."""

    def named(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **more: Any) -> Any:
            with record_function("drawing"):
                return function(*given, **more)

        return call

    module = importlib.import_module(type(settings.method).__module__)
    with ExitStack() as stack:
        for function in DRAWING.get(name, ()):
            home = LungDomain if hasattr(LungDomain, function) else module
            stack.enter_context(mock.patch.object(home, function, named(getattr(home, function))))
        yield


def measure(name: str, settings: RunSettings, data: Path, steps: int, rate: float) -> Profiled:
    """Time some steps, count the arithmetic of one phase of them, and profile as many."""
    with named_parts(name, settings):
        step = Step(settings, data)
        step()
        start = time.process_time()
        for _ in range(steps):
            step()
        seconds = (time.process_time() - start) / steps
        step.number = LATE
        macs = sum(count(step, [], 0).macs for _ in range(steps)) / steps
        step.number = LATE
        with profile(activities=[ProfilerActivity.CPU]) as trace:
            start = time.perf_counter()
            for _ in range(steps):
                step()
            wall = 1e6 * (time.perf_counter() - start)
    spent: Counter[str] = Counter()
    for event in trace.events():
        spent[kind_of(event)] += event.self_cpu_time_total
    spent["between operators"] += max(0.0, wall - spent.total())
    shares = {column: spent[column] / spent.total() for column in COLUMNS}
    return Profiled(step.slices, 1e3 * seconds, 1e3 * macs / rate, shares)


def kind_of(event: Any) -> str:
    """The column in which an event of the trace counts: its part's, or what its operator does."""
    above = event
    while above is not None:
        if above.name in PARTS:
            return str(above.name)
        above = above.cpu_parent
    for kind, names in KINDS.items():
        if any(name in event.name for name in names):
            return kind
    return "elementwise" if event.name.startswith("aten::") else "between operators"


def matrix_rate(size: int = 1024) -> float:
    """Multiply-adds a second of CPU time of a large matrix product, the best of several."""
    left, right = torch.randn(2, size, size)
    times = []
    for _ in range(20):
        start = time.process_time()
        left @ right
        times.append(time.process_time() - start)
    return size**3 / min(times)


def line(name: str, found: Profiled) -> str:
    """A row of the table."""
    shares = " | ".join(f"{found.shares[column]:.0%}" for column in COLUMNS)
    floor = f"{found.floor:.0f} ({found.floor / found.milliseconds:.0%})"
    return f"| {name} | {found.slices} | {found.milliseconds:.0f} | {floor} | {shares} |"


def main() -> None:
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.steps",
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    options.add_argument("methods", nargs="*", default=METHODS, help="which")
    options.add_argument("--steps", type=int, default=6, help="profiled of each; VA-GAN trains its map in every sixth")
    options.add_argument("--whole", action="store_true", help="at the size of the method's own config")
    given = options.parse_args()
    cores.use(1)
    keep_freed_memory()
    rate = matrix_rate()
    print(f"One thread; a large matrix product reaches {rate / 1e9:.0f} GMAC/s.\n")
    print(f"| method | slices a step | ms CPU a step | floor, ms | {' | '.join(COLUMNS)} |")
    print("|---" * (4 + len(COLUMNS)) + "|")
    with tempfile.TemporaryDirectory() as folder:
        data = phantom(Path(folder) / "phantom")
        for name in given.methods:
            found = measure(name, settings_for(name, small=not given.whole), data, given.steps, rate)
            print(line(name, found), flush=True)


if __name__ == "__main__":
    main()

"""What the suite measures, row by row."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.rounds import ROOT, in_turns, run, worker
from benchmarks.task import CUT, OURS, TEXTBOOK

SMALL, MIDDLE, FULL = ([width * 2**level for level in range(5)] for width in (8, 16, 64))
"""Features of the paper's network: an eighth and a quarter of its width, and all of it."""

SIZES = {192: [96, 128], 256: [128, 176], 384: [192, 256]}
"""Pixels of a frame's side, and what of it the network is shown by us: rows and columns."""

PHANTOM = ROOT / "build" / "benchmarks" / "phantom"
"""Slices drawn for the suite."""

ALL_THREE = (TEXTBOOK, CUT, OURS)


class Plan(NamedTuple):
    """How the suite is run."""

    device: str
    threads: int
    rounds: int
    quick: bool
    wide: bool
    volume: Path | None


class Row(NamedTuple):
    """One line of the table, yet to be measured."""

    group: str
    name: str
    measure: Callable[[], dict[str, Any]]


def rows(plan: Plan) -> Iterator[Row]:
    """Everything there is to measure."""
    on_cpu = plan.device == "cpu"
    sizes = [(SMALL, 256)] if plan.quick else [(SMALL, 192), (SMALL, 256), (SMALL, 384), (MIDDLE, 256)]
    for channels, frame in sizes:
        yield _compared(plan, "step", _size(channels, frame), steps=1 if plan.quick else 2)
    yield _compared(plan, "epoch", {**_size(SMALL, 256), "data": str(PHANTOM)}, name=f"{_width(SMALL)}, from PNG files")
    for channels in [SMALL] if plan.quick else [SMALL, MIDDLE]:
        yield _compared(plan, "predict", _size(channels, 256), slices=16 if plan.quick else 48)
    packaged = {**_size(None, 256), "slices": 16 if plan.quick else 48}
    yield _compared(plan, "predict", packaged)
    if on_cpu and find_spec("onnxruntime"):
        yield _compared(plan, "predict", {**packaged, "engine": "onnx"}, name="the package's weights, --engine onnx")
    if on_cpu:
        for channels in (SMALL, None):
            yield Row("difference", _width(channels), partial(_differences, plan, _size(channels, 256)))
        yield _compared(
            plan, "evaluate", {"data": str(PHANTOM), "slices": 500}, ways=(TEXTBOOK, OURS), name="500 slices"
        )
        yield from _commands(plan)
    if plan.volume is not None:
        yield Row("volume", plan.volume.name, partial(_volume, plan.volume, plan.rounds))
    if plan.wide or not on_cpu:  # on the CPU, a step is all that can be waited for
        wide = plan._replace(rounds=1) if on_cpu else plan
        row = _compared(wide, "step", _size(FULL, 256), steps=1, warmup_steps=not on_cpu, ways=(TEXTBOOK, OURS))
        yield row._replace(group="wide")


def _width(channels: list[int] | None) -> str:
    return "the package's weights" if channels is None else f"{channels[0]} to {channels[-1]} channels"


def _size(channels: list[int] | None, frame: int) -> dict[str, Any]:
    return {"channels": channels, "frame": frame, "canvas": SIZES[frame]}


def _compared(
    plan: Plan,
    task: str,
    options: dict[str, Any],
    *,
    ways: tuple[str, ...] = ALL_THREE,
    name: str | None = None,
    **more: Any,
) -> Row:
    """A row that has the textbook beside us."""
    options = {**options, **more, "device": plan.device, "threads": plan.threads}
    if task == "epoch":
        ways = (TEXTBOOK, OURS)
    if name is None:
        name = f"{_width(options['channels'])}, frame {options['frame']}"

    def measure_way(way: str, number: int) -> dict[str, Any]:
        return worker(task, way, {**options, "count": number == 0}, environment(plan.threads))

    return Row(task, name, lambda: in_turns(ways, plan.rounds, measure_way))


def environment(threads: int) -> dict[str, str]:
    """So that every library uses as many threads as torch."""
    return {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def _differences(plan: Plan, size: dict[str, Any]) -> dict[str, Any]:
    options = {**size, "device": "cpu", "threads": plan.threads}
    return {"apart": {way: worker("difference", way, options, environment(plan.threads)) for way in (CUT, TEXTBOOK)}}


def _commands(plan: Plan) -> Iterator[Row]:
    """Commands, by the clock."""
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "import lesionsplit": [sys.executable, "-c", "import lesionsplit"],
        "lesionsplit --help": [Path(sys.executable).with_name("lesionsplit"), "--help"],
        "import torch": [sys.executable, "-c", "import torch"],
    }
    for name, command in commands.items():
        yield Row("start", name, partial(_clocked, command, 2 * plan.rounds + 1))


def _clocked(command: Sequence[object], times: int) -> dict[str, Any]:
    ran = sorted(run(command) for _ in range(times))
    return {"seconds": ran[times // 2].seconds, "peak_mib": max(one.peak_mib for one in ran)}


def _volume(volume: Path, repeats: int) -> dict[str, Any]:
    command = [sys.executable, "benchmarks/volume.py", volume.resolve(), "--repeats", repeats, "--json"]
    measured: dict[str, Any] = json.loads(run(command).output)
    return measured

"""Processes that are measured: each way to do some work in a process of its own, in turns."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
MIB = 1 << 20


class Ran(NamedTuple):
    """What a process took."""

    seconds: float
    peak_mib: float
    output: str
    cpu_seconds: float


def run(command: Sequence[object], **options: Any) -> Ran:
    """Run a command at the repository's root and wait for it; what it prints is kept.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    start = time.perf_counter()
    words = [str(word) for word in command]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT, **options) as process:
        output = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)  # the peak of this child alone
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return Ran(seconds, usage.ru_maxrss / 1024, output, usage.ru_utime + usage.ru_stime)


def measure(work: Callable[[], object], slices: int, *, warmup_steps: bool = True, **facts: object) -> None:
    """In a process of its own: do the work once to warm up and once for the clock, and print what it took."""
    print(json.dumps(measured(work, slices, warmup_steps=warmup_steps) | facts))


def measured(
    work: Callable[[], object], slices: int, *, warmup_steps: bool = True, wait: Callable[[], object] = lambda: None
) -> dict[str, float]:
    """What `measure` prints: slices a second by the clock, CPU seconds a slice, and this process' peak memory."""
    if warmup_steps:
        work()
        wait()
    start, used = time.perf_counter(), time.process_time()
    work()
    wait()
    seconds, used = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"slices_per_second": slices / seconds, "cpu_seconds_a_slice": used / slices, "peak_mib": peak}


def in_turns(ways: Sequence[str], rounds: int, measure_way: Callable[[str, int], dict[str, Any]]) -> dict[str, Any]:
    """Measure every way once a round, forwards and backwards in turns, so that a slow minute falls on all alike.

    Args:
        ways: the yardstick first, ours last.
        rounds: how many.
        measure_way: of a way and a round's number, at least ``slices_per_second`` and ``peak_mib``.

    Returns:
        For each way the middle of what was measured, and how many times the others' speed ours is: the middle, the
        lowest and the highest of the rounds' own ratios.
    """
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways if number % 2 == 0 else ways[::-1]:
            found[way].append(measure_way(way, number))
    ratios = {}
    for way in ways[:-1]:
        each = sorted(
            ours["slices_per_second"] / theirs["slices_per_second"]
            for ours, theirs in zip(found[ways[-1]], found[way], strict=True)
        )
        ratios[way] = {"median": statistics.median(each), "lowest": each[0], "highest": each[-1]}
    return {
        "ways": {way: {**several[0], **_medians(several)} for way, several in found.items()},
        "ratios": ratios,
        "rounds": rounds,
    }


def _medians(several: list[dict[str, Any]]) -> dict[str, float]:
    names = ("slices_per_second", "cpu_seconds_a_slice", "peak_mib")
    return {name: statistics.median(one[name] for one in several) for name in names if name in several[0]}


def worker(task: str, way: str, options: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """Measure a task of `benchmarks.tasks` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.tasks", task, way, json.dumps(options)]
    measured: dict[str, Any] = json.loads(run(command, env={**os.environ, **environment}).output.splitlines()[-1])
    return measured

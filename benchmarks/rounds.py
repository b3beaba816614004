"""Two ways to do the same work, measured in turns, each in a process of its own."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

WAYS = ("textbook", "lesionsplit")


def parser(description: str, **defaults: int) -> argparse.ArgumentParser:
    """Options that every benchmark has; `--way` is for its own subprocesses."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    options.add_argument("--config", default="small", help="settings, as for `lesionsplit train`")
    options.add_argument("--rounds", type=int, default=5, help="how often each way is measured, in turns")
    options.add_argument("--threads", type=int, default=2)
    for name, value in defaults.items():
        options.add_argument(f"--{name}", type=int, default=value)
    options.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    return options


def measure(work: Callable[[], object], slices: int, **facts: object) -> None:
    """In a subprocess: do the work once to warm up and once for the clock, and print what it took."""
    work()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"slices_per_second": slices / seconds, "peak_mib": peak, **facts}))


def compare(script: str, rounds: int) -> None:
    """In the parent: run both ways in turns, and print the middle of each and of the ratios."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS if number % 2 == 0 else WAYS[::-1]:
            done = subprocess.run(
                [sys.executable, script, *sys.argv[1:], "--way", way], stdout=subprocess.PIPE, text=True, check=True
            )
            found[way].append(json.loads(done.stdout))
    for way, results in found.items():
        speed, peak = (statistics.median(one[key] for one in results) for key in ("slices_per_second", "peak_mib"))
        print(f"{way:12} {speed:7.2f} slices/s   peak {peak:6.0f} MiB")
    pairs = zip(found["lesionsplit"], found["textbook"], strict=True)
    ratios = sorted(ours["slices_per_second"] / theirs["slices_per_second"] for ours, theirs in pairs)
    print(f"ratio        {statistics.median(ratios):7.2f} x, {ratios[0]:.2f} to {ratios[-1]:.2f} over {rounds} rounds")
    for key in found["textbook"][0].keys() - {"slices_per_second", "peak_mib"}:
        values = [found[way][0][key] for way in WAYS]
        print(f"{key}: textbook {values[0]}, lesionsplit {values[1]}")

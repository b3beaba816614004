"""Engines for prediction: slices per second from arrays to results, each engine in turns in a process of its own.

Slices are phantom's, 512 x 512. Weights are converted first, which is timed too; with --data also to 8-bit integers,
and `lesionsplit export` then says what that does to average precision on val.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rounds import measure

from lesionsplit.data.lungs import LungSlice, find_lungs
from lesionsplit.memory import keep_freed_memory
from lesionsplit.phantom.study import PhantomSettings, draw_series
from lesionsplit.predictor import Predictor

PACKAGES = {"onnx": ("onnxruntime", "onnxscript"), "openvino": ("openvino",)}
SUFFIX = {"onnx": ".onnx", "openvino": ".xml"}


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    options.add_argument("--weights", default="default", help="a weights file")
    options.add_argument("--data", type=Path, help="data set to calibrate int8 on and to measure it on")
    options.add_argument("--rounds", type=int, default=5, help="how often each engine is measured, in turns")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--slices", type=int, default=48)
    options.add_argument("--way", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.way is not None:
        torch.set_num_threads(chosen.threads)
        keep_freed_memory()
        run(chosen.way, chosen.slices)
        return
    with TemporaryDirectory() as folder:
        compare(chosen, Path(folder))


def run(way: str, count: int) -> None:
    """In a subprocess: an engine's speed, and its mean score, by which one sees that it does the same."""
    settings = PhantomSettings(size=512)
    drawn = [one.image for number in range(4) for one in draw_series("lesion", number, settings)]
    slices = [LungSlice(grey, find_lungs(grey)) for grey in drawn]
    start = time.perf_counter()
    predictor = Predictor.load(None if way == "default" else Path(way), device="cpu")
    loaded = time.perf_counter() - start
    scores: list[float] = []

    def work() -> None:
        stream = predictor.predict_stream(slices[number % len(slices)] for number in range(count))
        scores.append(sum(float(one.score.mean()) for one in stream) / count)

    work()
    measure(work, count, load_seconds=loaded, mean_score=scores[0])


def compare(chosen: argparse.Namespace, folder: Path) -> None:
    """In the parent: convert, then measure in turns and print a table."""
    ways = {"torch": chosen.weights}
    for kind, packages in PACKAGES.items():
        if not all(map(find_spec, packages)):
            print(f"{kind}: not installed, left out")
            continue
        for precision in ("fp32", "int8"):
            if precision == "int8" and (chosen.data is None or find_spec("nncf") is None):
                continue
            path = folder / f"{precision}{SUFFIX[kind]}"
            more = ["--int8", "--data", str(chosen.data), "--allow-loss"] if precision == "int8" else []
            command = ["export", chosen.weights, "--format", kind, "-o", str(path), *more]
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "lesionsplit", *command], text=True, capture_output=True, check=False
            )
            print(f"{kind} {precision}: {time.perf_counter() - start:.1f} s to export")
            print("  " + "\n  ".join((done.stdout + done.stderr).strip().splitlines()))
            if done.returncode == 0:
                ways[f"{kind} {precision}"] = str(path)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    settings = ["--threads", str(chosen.threads), "--slices", str(chosen.slices)]
    for number in range(chosen.rounds):
        for name in list(ways)[:: 1 if number % 2 == 0 else -1]:
            done = subprocess.run(
                [sys.executable, __file__, *settings, "--way", ways[name]],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            found[name].append(json.loads(done.stdout))
    print("| engine | slices/s | times torch (lowest to highest) | peak MiB | seconds to load | mean score |")
    print("|---|---|---|---|---|---|")
    for name, results in found.items():
        speed, peak, loaded, score = (
            statistics.median(one[key] for one in results)
            for key in ("slices_per_second", "peak_mib", "load_seconds", "mean_score")
        )
        ratios = sorted(
            one["slices_per_second"] / other["slices_per_second"]
            for one, other in zip(results, found["torch"], strict=True)
        )
        middle = statistics.median(ratios)
        print(
            f"| {name} | {speed:.2f} | {middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) | {peak:.0f} "
            f"| {loaded:.1f} | {score:.6f} |"
        )


if __name__ == "__main__":
    main()

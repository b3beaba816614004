"""Engines for prediction: slices a second from arrays to results, PyTorch and ONNX Runtime, interleaved.

Slices are those of the phantom, 512 x 512. Each engine runs in processes of its own. Weights are exported first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rounds import in_turns, measure, run

from lesionsplit.data.lung_slice import LungSlice, find_lungs
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.memory import keep_freed_memory
from lesionsplit.phantom.dataset import PhantomSettings, draw_series


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    options.add_argument("--weights", default="default", help="a weights file")
    options.add_argument("--rounds", type=int, default=5, help="how often each engine is measured")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--slices", type=int, default=48)
    options.add_argument("--measure", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.measure is not None:
        torch.set_num_threads(chosen.threads)
        keep_freed_memory()
        measure_engine(chosen.measure, chosen.slices)
        return
    with TemporaryDirectory() as folder:
        compare(chosen, Path(folder) / "weights.onnx")


def measure_engine(weights: str, count: int) -> None:
    """In a subprocess: the speed of an engine, and its mean score, which shows that engines agree."""
    settings = PhantomSettings(size=512)
    images = [one.image for number in range(4) for one in draw_series("lesion", number, settings)]
    slices = [LungSlice(grey, find_lungs(grey)) for grey in images]
    start = time.perf_counter()
    predictor = SlicePredictor.load(None if weights == "default" else Path(weights), device="cpu")
    loaded = time.perf_counter() - start

    def work() -> float:
        stream = predictor.predict_stream(slices[number % len(slices)] for number in range(count))
        return sum(float(one.score.mean()) for one in stream) / count

    measure(work, count, warmup_steps=False, load_seconds=loaded, mean_score=work())


def compare(chosen: argparse.Namespace, exported: Path) -> None:
    """In the parent: export, then measure the engines in turns and print a table."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "lesionsplit", "export", chosen.weights, "-o", exported], check=True)
    print(f"{time.perf_counter() - start:.1f} s to export")
    files = {"PyTorch": chosen.weights, "ONNX Runtime": exported}
    command = [sys.executable, Path(__file__), "--threads", chosen.threads, "--slices", chosen.slices, "--measure"]

    def measure_way(way: str, _: int) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(run([*command, files[way]]).output)
        return result

    found = in_turns(list(files), chosen.rounds, measure_way)
    print("| engine | slices/s | peak MiB | seconds to load | mean score |")
    print("|---|---|---|---|---|")
    for name, one in found["ways"].items():
        print(
            f"| {name} | {one['slices_per_second']:.2f} | {one['peak_mib']:.0f} | {one['load_seconds']:.1f} "
            f"| {one['mean_score']:.6f} |"
        )
    ratio = found["ratios"]["PyTorch"]
    print(
        f"ONNX Runtime, times PyTorch: {ratio['median']:.2f} (lowest {ratio['lowest']:.2f}, "
        f"highest {ratio['highest']:.2f})"
    )


if __name__ == "__main__":
    main()

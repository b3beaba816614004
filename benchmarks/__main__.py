"""The benchmark suite: `python -m benchmarks`, at the repository's root; a quarter of an hour on two quiet cores.

Prints a table and writes it, as Markdown and as JSON, to build/benchmarks/. Numbers of other people's machines are of
little use: run it on yours, and while it runs nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.rounds import ROOT, worker
from benchmarks.suite import PHANTOM, Plan, environment, rows
from benchmarks.table import markdown, put_between


def main() -> None:
    options = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    options.add_argument("--rounds", type=int, default=3, help="how often each way is measured, in turns")
    options.add_argument("--threads", type=int, default=os.cpu_count(), help="of the CPU")
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options.add_argument(
        "--only", nargs="+", metavar="GROUP", help="step, epoch, predict, difference, evaluate, start, volume, wide"
    )
    options.add_argument("--quick", action="store_true", help="fewer and smaller, to see that it runs")
    options.add_argument(
        "--wide", action="store_true", help="on a CPU, too, a step at the paper's full width: 11 GB, minutes"
    )
    options.add_argument("--volume", type=Path, help="a chest CT for `lesionsplit predict`, its files or their folder")
    options.add_argument("--engines", action="store_true", help="benchmarks/engines.py, too")
    options.add_argument("--out", type=Path, default=ROOT / "build" / "benchmarks")
    options.add_argument("--docs", type=Path, help="a document between whose marks the table is put")
    given = options.parse_args()
    plan = Plan(given.device, given.threads, given.rounds, given.quick, given.wide, given.volume)
    given.out.mkdir(parents=True, exist_ok=True)
    gpu = has_gpu()
    if plan.device == "cuda" and not gpu:
        sys.exit("device cuda: not measured: no GPU")
    draw_slices()
    results: dict[str, Any] = {
        "machine": machine(plan),
        "rates": worker("rates", "", {"device": plan.device, "threads": plan.threads}, environment(plan.threads)),
        "gpu": "python -m benchmarks --device cuda" if gpu else "not measured: no GPU",
        "rows": [],
    }
    for row in rows(plan):
        if given.only and row.group not in given.only:
            continue
        print(f"{row.group}: {row.name}", file=sys.stderr)
        results["rows"].append({"group": row.group, "name": row.name, **row.measure()})
        (given.out / "results.json").write_text(json.dumps(results, indent=1))  # as far as it got
    text = markdown(results)
    if given.engines:
        text += "\n\n" + engines(plan)
    (given.out / "results.md").write_text(text + "\n")
    if given.docs is not None:
        given.docs.write_text(put_between(given.docs.read_text(), text))
    print(text)


def machine(plan: Plan) -> dict[str, Any]:
    """Where and with what this was measured."""
    return {
        "processor": processor(),
        "device": plan.device,
        "threads": plan.threads,
        "rounds": plan.rounds,
        "python": platform.python_version(),
        "date": datetime.now(timezone.utc).date().isoformat(),
        **{name: version(name) for name in ("torch", "numpy", "lesionsplit")},
    }


def processor() -> str:
    """The processor's name, where the system says it."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def has_gpu() -> bool:
    """Asked in a process of its own: torch is large, and this one waits."""
    command = [sys.executable, "-c", "import torch; print(torch.cuda.is_available())"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip() == "True"


def draw_slices() -> None:
    """The phantom's slices, once."""
    if not PHANTOM.is_dir():
        command = [sys.executable, "-m", "lesionsplit", "phantom", PHANTOM, "--normal", "32", "--lesion", "32"]
        subprocess.run([*command, "--size", "512"], check=True)


def engines(plan: Plan) -> str:
    """The table that `benchmarks/engines.py` prints, and the ratio below it."""
    command = [sys.executable, ROOT / "benchmarks" / "engines.py", "--threads", str(plan.threads)]
    done = subprocess.run([*command, "--rounds", str(plan.rounds)], stdout=subprocess.PIPE, text=True, check=True)
    return "\n".join(line for line in done.stdout.splitlines() if line.startswith(("|", "ONNX")))


if __name__ == "__main__":
    main()

"""`python -m benchmarks.tasks TASK WAY OPTIONS`: one way's measurement, in this process; prints JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from benchmarks.rounds import measured
from benchmarks.task import OURS, Task

from benchmarks import floors, prediction, scoring, training
from lesionsplit.memory import keep_freed_memory

TASKS: dict[str, Callable[[str, dict[str, Any]], Task]] = {
    "step": training.step,
    "epoch": training.epoch,
    "predict": prediction.predict,
    "evaluate": scoring.evaluation,
}


def main(name: str, way: str, options: dict[str, Any]) -> dict[str, Any]:
    """Measure; count the work there is, too, if asked to."""
    torch.set_num_threads(options["threads"])
    device = options["device"]
    if name == "rates":
        return floors.measure_rates(device, torch.bfloat16 if device == "cuda" else torch.float32)._asdict()
    if name == "difference":
        return prediction.difference(way, options)
    if way == OURS:
        keep_freed_memory()  # as every command of the package does
    task = TASKS[name](way, options)
    found: dict[str, Any] = measured(
        task.run, task.slices, warmup_steps=task.warmup_steps, wait=partial(floors.synchronise, device)
    )
    if device == "cuda":
        found["peak_mib"] = torch.cuda.max_memory_allocated() / (1 << 20)
    found["facts"] = task.facts()
    if options.get("count") and task.work is not None:
        found["work"] = task.work()._asdict()
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))))

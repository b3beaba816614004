"""Evaluation of heat maps: every pixel given to scikit-learn, and ours, which counts them by level."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.task import OURS, Task, Work
from sklearn.metrics import average_precision_score, precision_recall_curve

from lesionsplit.data.lung_slice import read_slice
from lesionsplit.data.table import Table, read_table
from lesionsplit.evaluation.accumulators import Scored
from lesionsplit.evaluation.protocol import RESOLUTION, evaluate, read_mask, to_grid

THRESHOLD = 0.35


def heat_maps(table: Table) -> dict[Path, Scored]:
    """One for each file: 0 outside the lungs, and noise in them."""
    rng = np.random.default_rng(0)
    maps = {}
    for row in table:
        grey, lungs = read_slice(row)
        noise = np.clip(rng.normal(0.1, 0.12, grey.shape), 0, 1)
        maps[row.image] = Scored(np.where(lungs, noise, 0).astype(np.float32), lungs)
    return maps


def repeated(table: Table, slices: int) -> Table:
    """A table of so many slices, made of the same files in series of their own."""
    rows = [replace(row, series=f"{row.series}-{again}") for again in range(slices // len(table) + 1) for row in table]
    return Table(root=table.root, slices=tuple(rows[:slices]))


def evaluation(way: str, options: dict[str, Any]) -> Task:
    """A split of heat maps against three annotators; ours with intervals, the textbook without."""
    drawn = read_table(Path(options["data"]))
    table, maps = repeated(drawn, options["slices"]), heat_maps(drawn)
    numbers: dict[str, float] = {}
    if way == OURS:

        def run() -> None:
            found, _ = evaluate(table, {"m": (maps[row.image] for row in table)}, {"m": THRESHOLD})
            numbers.update({name: one["average_precision"].value or 0 for name, one in found.methods["m"].items()})

    else:

        def run() -> None:
            numbers.update(by_scikit_learn(table, maps))

    pixels = options["slices"] * RESOLUTION * RESOLUTION

    def work() -> Work:
        return Work(0, pixels * (4 + len(table.annotators)) / options["slices"])  # a score, and a mask each, read once

    return Task(run, options["slices"], work, lambda: {"average precision": numbers}, warmup_steps=False)


def by_scikit_learn(table: Table, maps: dict[Path, Scored]) -> dict[str, float]:
    """Average precision, pooled and of each slice, in the lungs too, and the best Dice, by annotator; the first."""
    lesion = table.labelled("lesion")
    on_grid = [to_grid(maps[row.image], RESOLUTION) for row in lesion]
    scores = np.stack([np.rint(one.score * np.float64(65535)) for one in on_grid]).astype(np.uint16)
    lungs = np.stack([one.lungs for one in on_grid])
    found = {}
    for name in table.annotators:
        truths = np.stack([read_mask(row, name, RESOLUTION) for row in lesion])
        found[name] = float(average_precision_score(truths.ravel(), scores.ravel()))
        average_precision_score(truths[lungs], scores[lungs])
        precision, recall, _ = precision_recall_curve(truths.ravel(), scores.ravel())
        (2 * precision * recall / np.maximum(precision + recall, 1e-12)).max()
        for truth, score in zip(truths, scores, strict=True):
            if truth.any():
                average_precision_score(truth.ravel(), score.ravel())
    return found

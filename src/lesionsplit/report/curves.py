"""Precision over recall (Figure 2), Dice over the threshold (Figure 3) and what a score means, as PNG and SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lesionsplit.evaluation.counts import average_precision, dice, precision_recall
from lesionsplit.evaluation.protocol import Evaluation
from lesionsplit.evaluation.tally import MethodTally
from lesionsplit.images import write_bytes

POINTS = 2000
"""Of a drawn curve: more than can be seen."""

BELOW: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14), "fontsize": 8, "title_fontsize": 8}
"""Where the legend hides no curve."""

# Okabe and Ito's colours, told apart in any kind of colour blindness
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def write_curves(folder: Path, evaluation: Evaluation, tallies: Mapping[str, MethodTally]) -> list[Path]:
    """Write the figures, a panel for each annotator; returns the files."""
    annotators = list(evaluation.chance)
    written = []
    for name, draw in {"precision-recall": _precision_recall, "dice": _dice, "reliability": _reliability}.items():
        figure = Figure(figsize=(4.4 * len(annotators), 5.2), layout="constrained")
        for axes, annotator in zip(np.atleast_1d(figure.subplots(1, len(annotators))), annotators, strict=True):
            draw(axes, annotator, evaluation, tallies)
        facts = evaluation.conventions
        figure.suptitle(
            f"{facts['data']}, {facts['split']}: pooled over {facts['lesion slices']} lesion slices", size=10
        )
        written += save_figure(figure, folder / name)
    return written


def _precision_recall(axes: Axes, annotator: str, evaluation: Evaluation, tallies: Mapping[str, MethodTally]) -> None:
    for colour, (method, tally) in zip(COLOURS, tallies.items(), strict=False):
        counts = tally.annotators[annotator].whole.total
        precision, recall = precision_recall(counts)
        chosen = thinned(len(recall))
        label = f"{method} ({float(average_precision(counts)):.3f})"
        axes.plot(recall[chosen], precision[chosen], color=colour, label=label, drawstyle="steps-pre")
    for other, agreement in evaluation.annotators[annotator].items():
        if agreement.recall.value is not None and agreement.precision.value is not None:
            axes.plot(agreement.recall.value, agreement.precision.value, "k*", markersize=9)
            axes.annotate(
                other, (agreement.recall.value, agreement.precision.value), xytext=(5, 4), textcoords="offset points"
            )
    chance = evaluation.chance[annotator].average_precision.value or 0.0
    axes.axhline(chance, color="0.5", linestyle=":", label=f"chance ({chance:.3f})")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1), title=f"against annotator {annotator}")
    axes.legend(**BELOW, title="average precision, whole image", ncols=2)


def _dice(axes: Axes, annotator: str, evaluation: Evaluation, tallies: Mapping[str, MethodTally]) -> None:
    for colour, (method, tally) in zip(COLOURS, tallies.items(), strict=False):
        overlap = dice(tally.annotators[annotator].whole.total)[1:]
        threshold = np.linspace(0, 1, len(overlap) + 1)[1:]
        chosen = thinned(len(overlap))
        axes.plot(threshold[chosen], overlap[chosen], color=colour, label=method)
        if tally.threshold is not None:
            axes.axvline(tally.threshold, color=colour, linestyle=":", linewidth=1)
    for style, (other, agreement) in zip(("--", "-."), evaluation.annotators[annotator].items(), strict=False):
        if agreement.dice.value is not None:
            axes.axhline(agreement.dice.value, color="0.4", linestyle=style, linewidth=1, label=f"annotator {other}")
    axes.set(xlabel="threshold", ylabel="Dice", xlim=(0, 1), ylim=(0, 1), title=f"against annotator {annotator}")
    axes.legend(**BELOW, title="dotted: the stored threshold", ncols=2)


def _reliability(axes: Axes, annotator: str, evaluation: Evaluation, tallies: Mapping[str, MethodTally]) -> None:
    axes.plot([0, 1], [0, 1], color="0.5", linestyle=":", label="the score is the chance")
    for colour, method in zip(COLOURS, tallies, strict=False):
        one = evaluation.reliability[method][annotator]
        known = [pair for pair in zip(one.score, one.outlined, strict=True) if None not in pair]
        axes.plot(*zip(*known, strict=True), color=colour, marker="o", markersize=4, label=method)
    axes.set(xlabel="mean score of a tenth of the scale", ylabel="share of its pixels that is outlined")
    axes.set(xlim=(0, 1), ylim=(0, 1), title=f"against annotator {annotator}")
    axes.legend(**BELOW, title="pixels in the lungs", ncols=2)


def thinned(length: int, points: int = POINTS) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Places of a curve of so many points that are enough to draw it, first and last among them."""
    return np.unique(np.linspace(0, length - 1, min(length, points)).round().astype(int))


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PNG and SVG; returns both."""
    paths = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    for path in paths:
        write_bytes(path, encoded(figure, path.suffix[1:]))
    return paths


def encoded(figure: Figure, kind: str) -> bytes:
    """A figure as a ``png`` or ``svg`` file: the same figure, the same bytes."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "lesionsplit"}):
        figure.savefig(buffer, format=kind, dpi=130, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()

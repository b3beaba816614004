"""Curves: precision over recall, Dice over the threshold, and calibration, with a panel for each annotator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lesionsplit.comparison.result import Comparison, Entry
from lesionsplit.evaluation.score_histogram import (
    average_precision,
    binary_precision,
    binary_recall,
    dice,
    dice_at,
    precision_recall,
)
from lesionsplit.report.comparison.names import LINES, Style, styles

PANEL = (4.7, 4.2)
"""Width and height in inches of the axes and their title."""

POINTS = 500
"""Points of a curve, more than can be seen."""

LINE_OF_LEGEND = 0.165
"""Height in inches."""

Draw = Callable[[Axes, Comparison, Sequence[Entry], str], None]
"""Draws a panel of some entries against an annotator."""


def curves_figure(comparison: Comparison, figure: str = "methods", *, stacked: bool = False) -> Figure:
    """Precision over recall of the ``methods`` or the ``ablations``.

    Args:
        comparison: with at least one annotator.
        figure: which entries are shown.
        stacked: panels one below the other, for a narrow screen.
    """
    title = "Precision over recall; markers are at the stored threshold"
    return _panels(comparison, _precision_recall, title, figure, stacked=stacked)


def dice_figure(comparison: Comparison, *, stacked: bool = False) -> Figure:
    """Dice over the threshold for every method."""
    return _panels(comparison, _dice, "Dice over the threshold; markers are at the stored threshold", stacked=stacked)


def reliability_figure(comparison: Comparison) -> Figure:
    """Outlined fraction of pixels over their mean score for every method."""
    return _panels(comparison, _reliability, "Outlined fraction of pixels over their score")


def _panels(
    comparison: Comparison, draw: Draw, title: str, figure: str = "methods", *, stacked: bool = False
) -> Figure:
    annotators, shown = list(comparison.evaluation.chance), comparison.shown(figure)
    rows, columns = (len(annotators), 1) if stacked else (1, len(annotators))
    size = (PANEL[0] * columns, (PANEL[1] + LINE_OF_LEGEND * (len(shown) + 4) + 0.3) * rows + 0.5)
    drawn = Figure(figsize=size, layout="constrained")
    for axes, annotator in zip(np.ravel(drawn.subplots(rows, columns)), annotators, strict=True):
        draw(axes, comparison, shown, annotator)
        axes.set_title(f"against annotator {annotator}", size=10)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.grid(color="0.92", linewidth=0.8)
        axes.set_axisbelow(True)
    facts = comparison.evaluation.conventions
    drawn.suptitle(
        f"{title}\n{facts['data']}, split {facts['split']}: pooled over {facts['lesion slices']} lesion slices,\n"
        f"whole image at {facts['resolution']} pixels",
        size=9,
    )
    return drawn


def _precision_recall(axes: Axes, comparison: Comparison, shown: Sequence[Entry], annotator: str) -> None:
    known = styles(comparison)
    for one in shown:
        accumulator, style = comparison.accumulators[one.label].annotators[annotator], known[one.label]
        precision, recall = precision_recall(accumulator.whole.total)
        kept = np.unique(np.searchsorted(recall, np.linspace(recall[0], recall[-1], POINTS)).clip(max=len(recall) - 1))
        axes.plot(recall[kept], precision[kept], **_line(style))
        words = f"{style.name}  {float(average_precision(accumulator.whole.total)):.3f}"
        found = accumulator.found.total
        stored = (float(binary_recall(found)), float(binary_precision(found))) if accumulator.found.by_series else None
        _handle(axes, style, words, stored)
    for other, agreement in comparison.evaluation.annotators[annotator].items():
        recall_of, precision_of = agreement["recall"].value, agreement["precision"].value
        if recall_of is not None and precision_of is not None:
            label = f"annotator {other} (a mask, so a point)"
            axes.plot(recall_of, precision_of, "k*", markersize=11, zorder=6, label=label)
            axes.annotate(other, (recall_of, precision_of), xytext=(6, 5), textcoords="offset points", weight="bold")
    chance = comparison.evaluation.chance[annotator]["average_precision"].value or 0.0
    axes.axhline(chance, color="0.4", linestyle=":", linewidth=1.4, label=f"chance  {chance:.3f}")
    axes.set(xlabel="recall", ylabel="precision")
    _legend(axes, "\n".join(("average precision, whole image", *LINES)))


def _dice(axes: Axes, comparison: Comparison, shown: Sequence[Entry], annotator: str) -> None:
    known = styles(comparison)
    for one in shown:
        style, counts = known[one.label], comparison.accumulators[one.label].annotators[annotator].whole.total
        overlap = dice(counts)[1:]
        thresholds = np.linspace(0, 1, len(overlap) + 1)[1:]
        kept = np.unique(np.linspace(0, len(overlap) - 1, POINTS).round().astype(int))
        axes.plot(thresholds[kept], overlap[kept], **_line(style))
        threshold = comparison.accumulators[one.label].threshold
        stored = None if threshold is None else (threshold, float(dice_at(counts, threshold)))
        _handle(axes, style, style.name, stored)
    for line, (other, agreement) in zip(
        (":", (0, (1, 3))), comparison.evaluation.annotators[annotator].items(), strict=False
    ):
        if (overlap_of := agreement["dice"].value) is not None:
            words = f"annotator {other}  {overlap_of:.3f}"
            axes.axhline(overlap_of, color="black", linestyle=line, linewidth=1.4, label=words)
    axes.set(xlabel="threshold", ylabel="Dice")
    _legend(axes, "\n".join(LINES))


def _reliability(axes: Axes, comparison: Comparison, shown: Sequence[Entry], annotator: str) -> None:
    known = styles(comparison)
    for one in shown:
        style, numbers = known[one.label], comparison.evaluation.reliability[one.label][annotator]
        tenths = [pair for pair in zip(numbers.score, numbers.outlined, strict=True) if None not in pair]
        axes.plot(*zip(*tenths, strict=True), marker=style.marker, markersize=5, label=style.name, **_line(style))
    axes.plot([0, 1], [0, 1], color="0.4", linestyle=":", linewidth=1.4, label="score = probability")
    axes.set(xlabel="mean score of a tenth of the scale", ylabel="outlined fraction of its pixels")
    _legend(axes, "\n".join((f"pixels in the {comparison.config.noun}s", *LINES)))


def _line(style: Style) -> dict[str, Any]:
    """The line of a style; upper bounds are drawn below the others."""
    order = 2 if style.upper_bound else 4 if style.width > 2 else 3
    return {"color": style.colour, "linestyle": style.line, "linewidth": style.width, "zorder": order}


def _handle(axes: Axes, style: Style, words: str, at: tuple[float, float] | None) -> None:
    """The marker, where its position is known, and the entry in the legend."""
    drawn: dict[str, Any] = {"color": style.colour, "marker": style.marker, "markersize": 7, "markeredgecolor": "white"}
    if at is not None and np.isfinite(at).all():
        axes.plot(*at, zorder=5, **drawn)
    axes.plot([], [], linestyle=style.line, linewidth=style.width, label=words, **drawn)


def _legend(axes: Axes, title: str) -> None:
    legend = axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, -0.14),  # below the axes, where it hides no curve
        title=title,
        fontsize=8,
        title_fontsize=8,
        alignment="left",
        handlelength=3.2,
        frameon=False,
    )
    for text in legend.get_texts():
        if "(upper bound" in text.get_text():
            text.set_fontstyle("italic")

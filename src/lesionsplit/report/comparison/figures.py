"""Figures 2 to 4: precision over recall and Dice over the threshold, a panel for each annotator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lesionsplit.evaluation.counts import (
    Counts,
    average_precision,
    binary_precision,
    binary_recall,
    dice,
    dice_at,
    precision_recall,
)
from lesionsplit.report.comparison.names import LINES, Style, styles
from lesionsplit.report.curves import thinned
from lesionsplit.study.comparison import Comparison, Contestant

PANEL = (4.7, 4.2)
"""Inches across and down, of the axes and their title."""

POINTS = 500
"""Of a curve: steps between them are finer than what is drawn."""

LINE_OF_LEGEND = 0.165
"""Inches down."""

Draw = Callable[[Axes, str], None]
"""Draws a panel against an annotator."""


def curves_figure(comparison: Comparison, figure: str, *, stacked: bool = False) -> Figure:
    """Precision over recall of the ``methods`` or the ``ablations``.

    Args:
        comparison: with at least one annotator.
        figure: which entries.
        stacked: panels one below the other, for a narrow screen.
    """
    shown = comparison.shown(figure)

    def draw(axes: Axes, annotator: str) -> None:
        _precision_recall(axes, comparison, shown, annotator)

    title = "Precision over recall; a marker is where the stored threshold lies"
    return _panels(comparison, draw, title, len(shown) + 4, stacked)


def dice_figure(comparison: Comparison, *, stacked: bool = False) -> Figure:
    """Dice over the threshold of every method on one axis."""
    shown = comparison.shown("methods")

    def draw(axes: Axes, annotator: str) -> None:
        _dice(axes, comparison, shown, annotator)

    return _panels(comparison, draw, "Dice over the threshold; a marker is at the stored one", len(shown) + 4, stacked)


def _panels(comparison: Comparison, draw: Draw, title: str, lines: int, stacked: bool) -> Figure:
    annotators = list(comparison.evaluation.chance)
    rows, columns = (len(annotators), 1) if stacked else (1, len(annotators))
    size = (PANEL[0] * columns, (PANEL[1] + LINE_OF_LEGEND * lines + 0.3) * rows + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    for axes, annotator in zip(np.ravel(figure.subplots(rows, columns)), annotators, strict=True):
        draw(axes, annotator)
        axes.set_title(f"against annotator {annotator}", size=10)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.grid(color="0.92", linewidth=0.8)
        axes.set_axisbelow(True)
    facts = comparison.evaluation.conventions
    figure.suptitle(
        f"{title}\n{facts['data']}, split {facts['split']}: pooled over {facts['lesion slices']} lesion slices,\n"
        f"whole image at {facts['resolution']} pixels",
        size=9,
    )
    return figure


def _precision_recall(axes: Axes, comparison: Comparison, shown: Sequence[Contestant], annotator: str) -> None:
    known = styles(comparison)
    for one in shown:
        tally, style = comparison.tallies[one.label].annotators[annotator], known[one.label]
        precision, recall = precision_recall(tally.whole.total)
        kept = np.unique(np.searchsorted(recall, np.linspace(recall[0], recall[-1], POINTS)).clip(max=len(recall) - 1))
        axes.plot(recall[kept], precision[kept], **_line(style))
        words = f"{style.name}  {float(average_precision(tally.whole.total)):.3f}"
        found = tally.found.total
        stored = (float(binary_recall(found)), float(binary_precision(found))) if tally.found.by_series else None
        _handle(axes, style, words, stored)
    for other, agreement in comparison.evaluation.annotators[annotator].items():
        recall_of, precision_of = agreement.recall.value, agreement.precision.value
        if recall_of is not None and precision_of is not None:
            label = f"annotator {other} (a mask, so a point)"
            axes.plot(recall_of, precision_of, "k*", markersize=11, zorder=6, label=label)
            axes.annotate(other, (recall_of, precision_of), xytext=(6, 5), textcoords="offset points", weight="bold")
    chance = comparison.evaluation.chance[annotator].average_precision.value or 0.0
    axes.axhline(chance, color="0.4", linestyle=":", linewidth=1.4, label=f"chance  {chance:.3f}")
    axes.set(xlabel="recall", ylabel="precision")
    _legend(axes, "\n".join(("average precision, whole image", *LINES)))


def _dice(axes: Axes, comparison: Comparison, shown: Sequence[Contestant], annotator: str) -> None:
    known = styles(comparison)
    for one in shown:
        style, counts = known[one.label], comparison.tallies[one.label].annotators[annotator].whole.total
        overlap = dice(counts)[1:]
        thresholds = np.linspace(0, 1, len(overlap) + 1)[1:]
        kept = thinned(len(overlap), POINTS)
        axes.plot(thresholds[kept], overlap[kept], **_line(style))
        _handle(axes, style, style.name, _stored_dice(comparison.tallies[one.label].threshold, counts))
    for line, (other, agreement) in zip(
        (":", (0, (1, 3))), comparison.evaluation.annotators[annotator].items(), strict=False
    ):
        if agreement.dice.value is not None:
            words = f"annotator {other}  {agreement.dice.value:.3f}"
            axes.axhline(agreement.dice.value, color="black", linestyle=line, linewidth=1.4, label=words)
    axes.set(xlabel="threshold", ylabel="Dice")
    _legend(axes, "\n".join(LINES))


def _stored_dice(threshold: float | None, counts: Counts) -> tuple[float, float] | None:
    return None if threshold is None else (threshold, float(dice_at(counts, threshold)))


def _line(style: Style) -> dict[str, Any]:
    """Upper bounds lie below the others: they are no rivals."""
    order = 2 if style.upper_bound else 4 if style.width > 2 else 3
    return {"color": style.colour, "linestyle": style.line, "linewidth": style.width, "zorder": order}


def _handle(axes: Axes, style: Style, words: str, at: tuple[float, float] | None) -> None:
    """The marker, where there is a place for it, and the entry in the legend."""
    drawn: dict[str, Any] = {"color": style.colour, "marker": style.marker, "markersize": 7, "markeredgecolor": "white"}
    if at is not None and np.isfinite(at).all():
        axes.plot(*at, zorder=5, **drawn)
    axes.plot([], [], linestyle=style.line, linewidth=style.width, label=words, **drawn)


def _legend(axes: Axes, title: str) -> None:
    legend = axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, -0.14),  # where it hides no curve
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

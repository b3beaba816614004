"""Dots with intervals: average precision by judge, and differences to the reference (a forest plot)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lesionsplit.comparison.result import Comparison
from lesionsplit.evaluation.bootstrap import Estimate
from lesionsplit.evaluation.result import CHANCE
from lesionsplit.report.comparison.differences import compared, precision_differences, reference_name
from lesionsplit.report.comparison.names import COLOURS, MARKERS, Style, judge_words, styles

ROW = 0.17
"""Height in inches of a dot with its interval."""


def unbiased_figure(comparison: Comparison, *, stacked: bool = False) -> Figure:
    """Average precision of every entry against each annotator, and where two annotators agree, with intervals.

    Args:
        comparison: with at least one annotator.
        stacked: for a narrow screen.
    """
    shown, evaluation = comparison.shown(), comparison.evaluation
    known, found = styles(comparison), evaluation.judges
    figure = Figure(
        figsize=(4.8 if stacked else 8.2, ROW * (len(found) + 0.8) * len(shown) + 1.7), layout="constrained"
    )
    axes = figure.subplots()
    handles = []
    for number, judge in enumerate(found):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        for place, one in enumerate(shown):
            estimate = evaluation.against(one.label, judge)["average_precision"]
            style = replace(known[one.label], colour=colour, marker=marker)
            height = place + (number - (len(found) - 1) / 2) / (
                len(found) + 0.8
            )  # in its entry's row, from the top down
            _dot(axes, estimate, height, style)
        chance = evaluation.against(CHANCE, judge)["average_precision"].value
        words = judge_words(evaluation, judge) + ("" if chance is None else f" (chance {chance:.3f})")
        handles.append(Line2D([], [], color=colour, marker=marker, label=words))
    _rows(axes, [known[one.label] for one in shown])
    axes.set(xlabel="average precision, pooled, whole image;\n95 % interval over series", xlim=(0, 1))
    bounds = Line2D([], [], color="0.4", linestyle="--", label="supervised upper bound")
    handles += [bounds] if any(known[one.label].upper_bound for one in shown) else []
    figure.legend(handles=handles, loc="outside lower center", fontsize=8, ncols=1 if stacked else 2, frameon=False)
    facts = evaluation.conventions
    axes.set_title(f"{facts['data']}, split {facts['split']}, {facts['lesion slices']} lesion slices", size=9)
    return figure


def differences_figure(comparison: Comparison, *, stacked: bool = False) -> Figure:
    """Average precision less that of the reference, by judge; filled where the interval excludes 0."""
    shown, known = compared(comparison), styles(comparison)
    found = [judge for judge in comparison.evaluation.judges if precision_differences(comparison, judge)]
    rows, columns = (len(found), 1) if stacked else (1, len(found))
    down = (2 * ROW * len(shown) + 1.0) * rows + 0.8
    figure = Figure(figsize=(4.8 if stacked else 3.0 + 3.1 * columns, down), layout="constrained")
    panels = np.ravel(figure.subplots(rows, columns, sharex=True, sharey=not stacked))
    for panel, judge in zip(panels, found, strict=True):
        estimates = precision_differences(comparison, judge)
        for place, one in enumerate(shown):
            if one.label in estimates:
                style, estimate = known[one.label], estimates[one.label]
                _dot(panel, estimate, place, style, hollow=estimate.excludes_zero is not True)
        panel.axvline(0, color="black", linewidth=1)
        panel.set_title(judge_words(comparison.evaluation, judge), size=10)
        _rows(panel, [known[one.label] for one in shown], names=stacked or panel is panels[0])
    facts = comparison.evaluation.conventions
    lines = (
        f"Average precision less that of {reference_name(comparison)},",
        "pooled, whole image, 95 % interval over the same resamples of series;",
        "filled: the interval excludes 0; dashed: supervised upper bound.",
        f"{facts['data']}, split {facts['split']}",
    )
    figure.suptitle("\n".join(lines), size=8 if stacked else 9)
    return figure


def _dot(axes: Axes, estimate: Estimate, height: float, style: Style, *, hollow: bool = False) -> None:
    if estimate.value is None:
        return
    if estimate.low is not None and estimate.high is not None:
        line = "--" if style.upper_bound else "-"
        axes.plot([estimate.low, estimate.high], [height] * 2, color=style.colour, linestyle=line, linewidth=1.5)
    size = 8 if style.width > 2 else 6.5
    face = "white" if hollow else style.colour
    axes.plot(estimate.value, height, style.marker, color=style.colour, markerfacecolor=face, markersize=size)


def _rows(axes: Axes, shown: Sequence[Style], *, names: bool = True) -> None:
    """Rows of entries from the top down; the reference's name is bold, names of upper bounds are slanted."""
    axes.set_yticks(range(len(shown)), [style.name.replace(" (upper", "\n(upper") for style in shown])
    axes.tick_params(axis="y", length=0, labelleft=names, labelsize=8)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    labels = axes.get_yticklabels() if names else []
    for text, style in zip(labels, shown, strict=False):
        text.set_fontstyle("italic" if style.upper_bound else "normal")
        text.set_fontweight("bold" if style.width > 2 else "normal")
    for place in range(1, len(shown)):
        axes.axhline(place - 0.5, color="0.88", linewidth=0.8)
    axes.grid(axis="x", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)

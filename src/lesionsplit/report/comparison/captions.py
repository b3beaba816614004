"""Captions and conventions of a report, in sentences."""

from __future__ import annotations

from lesionsplit.comparison.result import Comparison, Entry
from lesionsplit.report.comparison.cells import grouped
from lesionsplit.report.comparison.differences import reference_name
from lesionsplit.report.comparison.names import LINES, is_upper_bound, shown_name

BOUNDS = (
    "Entries labelled “upper bound” were trained on an annotator's masks. They show what is possible with masks and do "
    "not compete with the others. They are slanted in tables and dashed in figures."
)


def scope(comparison: Comparison) -> str:
    """Data, slices and annotators."""
    facts = comparison.evaluation.conventions
    annotators = list(comparison.evaluation.chance)
    masks = f"masks of annotator{'s' * (len(annotators) > 1)} {_listed(annotators)}" if annotators else "without masks"
    return (
        f"{facts['data']}, split {facts['split']}: {facts['lesion slices']} lesion slices of {facts['lesion series']} "
        f"series, {facts['normal slices']} normal slices of {facts['normal series']} series, {masks}. No series is in "
        "two splits."
    )


def conventions(comparison: Comparison) -> str:
    """How the numbers were measured."""
    facts, noun = comparison.evaluation.conventions, comparison.config.noun
    inside = "" if comparison.config.region == "whole" else f" unless the column says “in {noun}”"
    return (
        f"Scores and masks are compared at {facts['resolution']} pixels on the frame's longer side. Pooled: over all "
        f"pixels of the lesion slices, on the whole image{inside}. Per image: the mean over "
        "slices of each slice's own value. Average precision is the sum of precision times the step in recall, of raw "
        f"16-bit scores that are never scaled per image. In brackets: interval, {facts['interval']}. The stored "
        "threshold was set on normal slices, without masks. Dice at the best threshold is an oracle."
    )


def trainings(comparison: Comparison) -> str:
    """Size and length of the trainings."""
    placement, training = comparison.config.shared.placement, comparison.config.shared.training
    parts = []
    if "rows" in placement and "columns" in placement:
        frame = f", the frame at {placement['frame']}" if "frame" in placement else ""
        parts.append(f"canvas of {placement['rows']} × {placement['columns']} pixels{frame}")
    if "steps" in training:
        parts.append(f"{grouped(training['steps'])} steps")
    for name, found in (
        ("slices seen", [one.cost.slices_seen for one in comparison.entries]),
        ("parameters", [one.cost.parameters for one in comparison.entries]),
    ):
        known = sorted({value for value in found if value is not None})
        if known:
            low, high = grouped(known[0]), grouped(known[-1])
            parts.append(f"{low} {name}" if low == high else f"{low} to {high} {name}")
    if not parts:
        return "Trainings: none, or not described in the shared settings."
    return f"Trainings: {', '.join(parts)}; the table of costs has each entry's own numbers."


def slices_caption(comparison: Comparison, figure: str, count: int) -> str:
    """Caption of a figure of slices."""
    stored = comparison.accumulators[comparison.reference].threshold
    edge = "" if comparison.config.region == "whole" else f"Grey line: the edge of the {comparison.config.noun}s. "
    last = (
        "No last column: there is no stored threshold, because there was no normal slice to set one on."
        if stored is None
        else f"Last column, red: lesion found by {reference_name(comparison)} at its stored threshold of {stored:.3g}."
    )
    return (
        f"{count} lesion slices of {_where(comparison)}, from the least to the most outlined, each of another series "
        "while there are enough. They were chosen by the extent of the outlines, not by any result. Heat maps are raw. "
        "For each method the colours mean the same in all slices: dark is 0, bright is the 99.9th percentile of the "
        "scores of the split's lesion slices, which is printed over the column. "
        f"{edge}{last} {bounds(comparison.shown(figure))}"
    ).strip()


def curves_caption(comparison: Comparison, figure: str) -> str:
    """Caption of precision-recall curves."""
    return (
        f"{_pooled(comparison)} In the legend: average precision. Star: the masks of another annotator. "
        f"Dotted: chance, the fraction of lesion pixels. Lines: {' '.join(LINES)}; thick: the reference. "
        f"{bounds(comparison.shown(figure))}"
    ).strip()


def dice_caption(comparison: Comparison) -> str:
    """Caption of Dice over the threshold."""
    return (
        f"{_pooled(comparison)} Black and dotted: the masks of another annotator. Lines: {' '.join(LINES)}; thick: the "
        f"reference. {bounds(comparison.shown('methods'))}"
    ).strip()


def unbiased_caption(comparison: Comparison) -> str:
    """Caption of the average precision by annotator."""
    agreed = (
        " Where two agree: pixels that only one of them outlined are left out, so the fraction of lesion is lower."
        if comparison.evaluation.agreed
        else ""
    )
    return f"{_pooled(comparison)} Lines: 95 % intervals over series.{agreed} {bounds(comparison.shown())}".strip()


def forest_caption(comparison: Comparison) -> str:
    """Caption of the forest plot."""
    return (
        f"{_pooled(comparison)} Average precision less that of {reference_name(comparison)}, 95 % interval of the "
        "difference over the same resamples of series; filled where it excludes 0. The intervals are not corrected for "
        f"multiple comparisons: of many, some exclude 0 by chance. {bounds(comparison.shown())}"
    ).strip()


def bounds(shown: tuple[Entry, ...]) -> str:
    """The upper bounds among the entries; empty where there are none."""
    names = [shown_name(one) for one in shown if is_upper_bound(one)]
    return f"Trained on masks: {_listed(names)}." if names else ""


def _where(comparison: Comparison) -> str:
    facts = comparison.evaluation.conventions
    return f"{facts['data']}, split {facts['split']}"


def _pooled(comparison: Comparison) -> str:
    facts = comparison.evaluation.conventions
    return (
        f"{_where(comparison)}: pooled over all pixels of {facts['lesion slices']} lesion slices of "
        f"{facts['lesion series']} series, whole image at {facts['resolution']} pixels on its longer side; first seed. "
        f"{trainings(comparison)}"
    )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""

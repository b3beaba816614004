"""What the numbers of a report are of, in sentences."""

from __future__ import annotations

from lesionsplit.report.comparison.cells import grouped
from lesionsplit.report.comparison.differences import reference_name
from lesionsplit.report.comparison.names import LINES, is_upper_bound, shown_name
from lesionsplit.study.comparison import Comparison, Contestant

BOUNDS = (
    "Entries labelled “upper bound” were trained on an annotator's masks: they bound what can be hoped for and are no "
    "rivals. They are slanted in tables and dashed in figures."
)


def scope(comparison: Comparison) -> str:
    """Which slices, judged by whom."""
    facts = comparison.evaluation.conventions
    annotators = list(comparison.evaluation.chance)
    judged = (
        f"judged by annotator{'s' * (len(annotators) > 1)} {_listed(annotators)}" if annotators else "without masks"
    )
    return (
        f"{facts['data']}, split {facts['split']}: {facts['lesion slices']} slices with lesion of "
        f"{facts['lesion series']} series, {facts['normal slices']} normal slices of {facts['normal series']}, "
        f"{judged}. No series is in two splits."
    )


def conventions(comparison: Comparison) -> str:
    """How is measured."""
    facts = comparison.evaluation.conventions
    return (
        f"Scores and masks meet at {facts['resolution']} pixels on the frame's longer side. Pooled: over all pixels of "
        f"the slices with lesion, on the whole image unless “in lung” is said; per image: the mean of each slice's "
        "own. Average precision is the sum of precision times the step in recall of 16-bit scores, raw and never "
        f"scaled per image. [In brackets]: interval, {facts['interval']}. The stored "
        "threshold was set on normal slices, without masks; Dice at the best threshold is an oracle's, for comparison "
        "only."
    )


def trainings(comparison: Comparison) -> str:
    """At which size and how long."""
    placement, training = comparison.study.shared.placement, comparison.study.shared.training
    parts = []
    if "rows" in placement and "columns" in placement:
        frame = f", the frame at {placement['frame']}" if "frame" in placement else ""
        parts.append(f"canvas of {placement['rows']} × {placement['columns']} pixels{frame}")
    if "steps" in training:
        parts.append(f"{grouped(training['steps'])} steps")
    for name, found in (
        ("slices seen", [one.cost.slices_seen for one in comparison.contestants]),
        ("parameters", [one.cost.parameters for one in comparison.contestants]),
    ):
        known = sorted({value for value in found if value is not None})
        if known:
            low, high = grouped(known[0]), grouped(known[-1])
            parts.append(f"{low} {name}" if low == high else f"{low} to {high} {name}")
    if not parts:
        return "Trainings: nothing was trained here, or what was does not say how."
    return f"Trainings: {', '.join(parts)}; each entry's own are under what it takes."


def slices_caption(comparison: Comparison, figure: str, count: int) -> str:
    """Under a picture of slices."""
    stored = comparison.tallies[comparison.reference].threshold
    last = (
        "No last column: no threshold is stored, for there was no normal slice to set one on."
        if stored is None
        else f"Last, in red, what {reference_name(comparison)} finds at its stored threshold of {stored:.3g}."
    )
    return (
        f"{count} slices with lesion of {_where(comparison)}, from the least outlined to the most, each of another "
        "series while there are enough; chosen by the annotators' extent, not by any result. Heat maps are raw; the "
        "colours of a method mean the same in all slices, dark for 0 and bright for the score that all but 0.1 % of "
        f"the pixels of the split's slices with lesion stay below, which is over its column; grey: the lungs' edge. "
        f"{last} {bounds(comparison.shown(figure))}"
    ).strip()


def curves_caption(comparison: Comparison, figure: str) -> str:
    """Under precision-recall curves."""
    return (
        f"{_pooled(comparison)} In the legend: average precision. Star: another annotator's mask taken as a method's. "
        f"Dotted: chance, the share of lesion pixels. Lines: {' '.join(LINES)}; thick: the reference. "
        f"{bounds(comparison.shown(figure))}"
    ).strip()


def dice_caption(comparison: Comparison) -> str:
    """Under Dice over the threshold."""
    return (
        f"{_pooled(comparison)} Black and dotted: another annotator's mask. Lines: {' '.join(LINES)}; thick: the "
        f"reference. {bounds(comparison.shown('methods'))}"
    ).strip()


def unbiased_caption(comparison: Comparison) -> str:
    """Under the dots by judge."""
    agreed = (
        " Where two agree: pixels that only one of them outlined are left out, so the share of lesion is lower there."
        if comparison.evaluation.agreed
        else ""
    )
    return f"{_pooled(comparison)} Lines: 95 % intervals over series.{agreed} {bounds(comparison.shown())}".strip()


def forest_caption(comparison: Comparison) -> str:
    """Under the forest plot."""
    return (
        f"{_pooled(comparison)} Average precision less that of {reference_name(comparison)}, 95 % interval of the "
        "difference over the same resamples of series; filled where it excludes 0. Each interval is for itself: of "
        f"many, some exclude 0 by chance. {bounds(comparison.shown())}"
    ).strip()


def bounds(shown: tuple[Contestant, ...]) -> str:
    """Which of the entries are upper bounds; nothing where none is."""
    names = [shown_name(one) for one in shown if is_upper_bound(one)]
    return f"No rivals, but trained on masks: {_listed(names)}." if names else ""


def _where(comparison: Comparison) -> str:
    facts = comparison.evaluation.conventions
    return f"{facts['data']}, split {facts['split']}"


def _pooled(comparison: Comparison) -> str:
    facts = comparison.evaluation.conventions
    return (
        f"{_where(comparison)}: pooled over all pixels of {facts['lesion slices']} slices with lesion of "
        f"{facts['lesion series']} series, whole image at {facts['resolution']} pixels on its longer side; first seed. "
        f"{trainings(comparison)}"
    )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""

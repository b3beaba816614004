"""The paired differences to the reference, as tables and in words."""

from __future__ import annotations

from lesionsplit.comparison.result import Comparison, Entry
from lesionsplit.evaluation import differences
from lesionsplit.evaluation.bootstrap import Estimates
from lesionsplit.report.comparison.cells import (
    DIGITS,
    NumberTable,
    compact,
    difference_cell,
    difference_words,
    row_of,
)
from lesionsplit.report.comparison.names import judge_words, shown_name
from lesionsplit.report.comparison.tables import AGAINST, SLICES, columns

MARKED = "Bold: the interval excludes 0."

VERDICTS = {
    1: "Interval above 0, so the entry is higher",
    -1: "Interval below 0, so the entry is lower",
    0: "Interval includes 0, so these slices do not show a difference",
    None: "No interval, because there are too few series",
}
"""By the side of 0 on which the interval lies."""


def differences_table(comparison: Comparison, *, agreed: bool = False) -> NumberTable | None:
    """Each entry less the reference, against each annotator; None where there is nothing to compare.

    Args:
        comparison: the comparison.
        agreed: on the pixels on which two annotators agree, instead.
    """
    evaluation = comparison.evaluation
    shown = {name: words for name, words in columns(AGAINST, comparison).items() if name in differences.AGAINST}
    blocks = {}
    for judge in evaluation.agreed if agreed else evaluation.chance:
        found = [(one, comparison.differences[one.label].against[judge]) for one in compared(comparison)]
        blocks[judge_words(evaluation, judge)] = [
            row_of(comparison, one, [difference_cell(numbers[name]) for name in shown]) for one, numbers in found
        ]
    against = "where annotators agree" if agreed else "against annotators"
    caption = f"Entry less {reference_name(comparison)}, {against}; above 0, the entry is higher. {MARKED}"
    key = "differences-agreed" if agreed else "differences"
    return compact(key, caption, shown.values(), blocks, name_left=not agreed)


def slices_differences_table(comparison: Comparison) -> NumberTable | None:
    """The same on whole slices."""
    rows = []
    for one in compared(comparison):
        numbers = comparison.differences[one.label].slices
        cells = [difference_cell(numbers[name], DIGITS.get(name, 3)) for name in differences.ON_SLICES]
        rows.append(row_of(comparison, one, cells))
    caption = f"Entry less {reference_name(comparison)}, on whole slices. {MARKED}"
    shown = columns(SLICES, comparison)
    return compact("differences-slices", caption, [shown[name] for name in differences.ON_SLICES], {"": rows})


def compared(comparison: Comparison) -> list[Entry]:
    """First seeds of the entries that have a difference to the reference, in the comparison's order."""
    return [one for one in comparison.shown() if one.label in comparison.differences]


def precision_differences(comparison: Comparison, judge: str) -> Estimates:
    """By label, of `compared`: the difference of pooled average precision, where it is known."""
    found = {
        one.label: comparison.differences[one.label].against[judge]["average_precision"] for one in compared(comparison)
    }
    return {label: estimate for label, estimate in found.items() if estimate.value is not None}


def verdicts(comparison: Comparison) -> list[str]:
    """A sentence for each judge: the entries whose interval of average precision is above 0, below 0, or includes 0."""
    sentences = []
    names = {one.label: shown_name(one) for one in comparison.shown()}
    for judge in comparison.evaluation.judges:
        groups: dict[int | None, list[str]] = {side: [] for side in VERDICTS}
        for label, estimate in precision_differences(comparison, judge).items():
            away, value = estimate.excludes_zero, estimate.value or 0.0
            side = None if away is None else away * (1 if value > 0 else -1)
            groups[side].append(f"{names[label]} {difference_words(estimate)}")
        parts = [f"{VERDICTS[side]}: {'; '.join(group)}." for side, group in groups.items() if group]
        if parts:
            start = f"Average precision {judge_words(comparison.evaluation, judge)}, less {reference_name(comparison)}"
            sentences.append(" ".join([f"{start}.", *parts]))
    return sentences


def reference_name(comparison: Comparison) -> str:
    """The reference's name in tables."""
    return next(shown_name(one) for one in comparison.entries if one.label == comparison.reference)

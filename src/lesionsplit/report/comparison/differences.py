"""What is better than what: the paired differences as tables and in words."""

from __future__ import annotations

from lesionsplit.evaluation.bootstrap import Estimate
from lesionsplit.report.comparison.cells import Block, NumberTable, compact, difference_cell, interval, row_of, signed
from lesionsplit.report.comparison.names import judge_words, judges, shown_name
from lesionsplit.report.comparison.numbers import excludes_zero, fields
from lesionsplit.report.comparison.tables import AGAINST
from lesionsplit.study.comparison import Comparison, Contestant

MEASURES = tuple(name for name in AGAINST if name != "dice_fixed")
ON_SLICES = {"share_of_lung_fired": "normal lung fired, percentage points", "auroc": "AUROC of slices"}
MARKED = "Bold: the interval excludes 0."

ABOVE = "Interval above 0, so the entry has more"
BELOW = "Interval below 0, so the entry has less"
BOTH = "Interval includes 0, so these slices do not tell which has more"
UNKNOWN = "No interval, for there are too few series"
READINGS = (ABOVE, BELOW, BOTH, UNKNOWN)


def differences_table(comparison: Comparison, *, agreed: bool = False) -> NumberTable | None:
    """Each entry less the reference, against each annotator; None where there is nothing to compare.

    Args:
        comparison: whose differences they are.
        agreed: against what two annotators agree on, instead.
    """
    evaluation, blocks = comparison.evaluation, []
    for judge in evaluation.agreed if agreed else evaluation.chance:
        rows = []
        for one in compared(comparison):
            numbers = dict(fields(comparison.differences[one.label].against[judge]))
            rows.append(row_of(comparison, one, tuple(difference_cell(numbers[name]) for name in MEASURES)))
        blocks.append(Block(heading=judge_words(evaluation, judge), rows=tuple(rows)))
    against = "where annotators agree" if agreed else "against annotators"
    caption = f"Entry less {reference_name(comparison)}, {against}; above 0, the entry has more. {MARKED}"
    key = "differences-agreed" if agreed else "differences"
    return compact(key, caption, tuple(AGAINST[name] for name in MEASURES), blocks, say_left=not agreed)


def slices_differences_table(comparison: Comparison) -> NumberTable | None:
    """The same on slices as a whole."""
    rows = []
    for one in compared(comparison):
        numbers = dict(fields(comparison.differences[one.label].slices))
        cells = tuple(difference_cell(numbers[name], percent=name == "share_of_lung_fired") for name in ON_SLICES)
        rows.append(row_of(comparison, one, cells))
    caption = f"Entry less {reference_name(comparison)}, on slices as a whole. {MARKED}"
    blocks = [Block(heading="", rows=tuple(rows))]
    return compact("differences-slices", caption, tuple(ON_SLICES.values()), blocks)


def compared(comparison: Comparison) -> list[Contestant]:
    """The entries that have a difference to the reference, first seeds, in the study's order."""
    return [one for one in comparison.shown() if one.label in comparison.differences]


def precision_differences(comparison: Comparison, judge: str) -> dict[str, Estimate]:
    """By label, of `compared`: the difference of pooled average precision; without those that have none."""
    found = {
        one.label: comparison.differences[one.label].against[judge].average_precision for one in compared(comparison)
    }
    return {label: estimate for label, estimate in found.items() if estimate.value is not None}


def verdicts(comparison: Comparison) -> list[str]:
    """A sentence for each judge: whose interval of average precision lies above 0, below, and on both sides."""
    sentences = []
    names = {one.label: shown_name(one) for one in comparison.shown()}
    for judge in judges(comparison.evaluation):
        groups: dict[str, list[str]] = {words: [] for words in READINGS}
        for label, estimate in precision_differences(comparison, judge).items():
            said = f"{names[label]} {signed(estimate.value or 0.0, 3)} {interval(estimate, plus=True)}".rstrip()
            groups[_reading(estimate)].append(said)
        parts = [f"{words}: {'; '.join(group)}." for words, group in groups.items() if group]
        if parts:
            start = f"Average precision {judge_words(comparison.evaluation, judge)}, less {reference_name(comparison)}"
            sentences.append(" ".join([f"{start}.", *parts]))
    return sentences


def _reading(estimate: Estimate) -> str:
    away = excludes_zero(estimate)
    if away is None:
        return UNKNOWN
    return BOTH if not away else ABOVE if (estimate.value or 0.0) > 0 else BELOW


def reference_name(comparison: Comparison) -> str:
    """The reference as tables call it."""
    return next(shown_name(one) for one in comparison.contestants if one.label == comparison.reference)

"""Names, colours and markers of entries in all figures and tables of a report."""

from __future__ import annotations

from dataclasses import dataclass

from lesionsplit.comparison.result import Comparison, Entry
from lesionsplit.evaluation.result import Evaluation

# Okabe and Ito's colours, which are distinct in any kind of colour blindness, without yellow, which is faint on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5A5A5A")

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "d", "p")
"""Twelve, so that with seven colours the same pair is repeated only after 84 entries."""

SEES_MASKS = "--"
NOT_TRAINED = "-."
SEES_LABELS = "-"

LINES = ("solid: no masks; dash-dotted: no training;", "dashed: supervised upper bound")
"""Meaning of the line styles, in two lines for legends."""


def is_upper_bound(one: Entry) -> bool:
    """Whether it was trained on masks, which makes it an upper bound for weak supervision."""
    return one.annotator is not None


def bound_suffix(one: Entry) -> str:
    """Suffix to the name of an upper bound; empty for others."""
    return f" (upper bound: masks of {one.annotator})" if is_upper_bound(one) else ""


def shown_name(one: Entry) -> str:
    """The label, with a suffix for upper bounds."""
    return one.label + bound_suffix(one)


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Appearance of an entry in every figure."""

    name: str
    """As `shown_name`."""

    colour: str
    marker: str
    line: str
    """By supervision: `SEES_LABELS`, `NOT_TRAINED` or `SEES_MASKS`."""

    width: float
    upper_bound: bool


def styles(comparison: Comparison) -> dict[str, Style]:
    """Style of each entry's first seed by label, in the comparison's order; the reference has a thick line."""
    found = {}
    for number, one in enumerate(comparison.shown()):
        untrained = one.settings.untrained is not None
        found[one.label] = Style(
            name=shown_name(one),
            colour=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            line=SEES_MASKS if is_upper_bound(one) else NOT_TRAINED if untrained else SEES_LABELS,
            width=2.8 if one.label == comparison.reference else 1.4,
            upper_bound=is_upper_bound(one),
        )
    return found


def judge_words(evaluation: Evaluation, judge: str) -> str:
    """``against annotator a``, ``where a and b agree``."""
    return f"where {judge} agree" if judge in evaluation.agreed else f"against annotator {judge}"

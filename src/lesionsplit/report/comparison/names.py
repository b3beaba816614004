"""By which names and colours entries appear in all figures and tables of a report."""

from __future__ import annotations

from dataclasses import dataclass

from lesionsplit.evaluation.protocol import Evaluation
from lesionsplit.study.comparison import Comparison, Contestant

# Okabe and Ito's colours, told apart in any kind of colour blindness; yellow is too faint on white, so there are seven
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5A5A5A")

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "d", "p")
"""As many as colours do not divide, so that the same pair comes back only after 84 entries."""

SEES_MASKS = "--"
NOT_TRAINED = "-."
SEES_LABELS = "-"

LINES = ("solid: no masks; dash-dotted: no training;", "dashed: supervised upper bound")
"""What the kind of a line says, in two lines for legends."""


def is_upper_bound(one: Contestant) -> bool:
    """Whether it was trained on masks: what comes of that is a bound, not a rival."""
    return one.annotator is not None


def bound_suffix(one: Contestant) -> str:
    """What stands behind the name of an upper bound wherever it appears; nothing behind others'."""
    return f" (upper bound: masks of {one.annotator})" if is_upper_bound(one) else ""


def shown_name(one: Contestant) -> str:
    """The label, and what says that it is an upper bound."""
    return one.label + bound_suffix(one)


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How an entry is drawn in every figure."""

    name: str
    """As `shown_name`."""

    colour: str
    marker: str
    line: str
    """By what it was told: `SEES_LABELS`, `NOT_TRAINED` or `SEES_MASKS`."""

    width: float
    upper_bound: bool


def styles(comparison: Comparison) -> dict[str, Style]:
    """By label: of each entry's first seed, in the study's order; the reference is drawn thick."""
    found = {}
    for number, one in enumerate(comparison.shown()):
        untrained = one.entry.untrained is not None
        found[one.label] = Style(
            name=shown_name(one),
            colour=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            line=SEES_MASKS if is_upper_bound(one) else NOT_TRAINED if untrained else SEES_LABELS,
            width=2.8 if one.label == comparison.reference else 1.4,
            upper_bound=is_upper_bound(one),
        )
    return found


def judges(evaluation: Evaluation) -> list[str]:
    """Who heat maps are judged by: the annotators, then the pair of what two of them agree on, if there is one."""
    return [*evaluation.chance, *evaluation.agreed]


def judge_words(evaluation: Evaluation, judge: str) -> str:
    """``against annotator a``, ``where a and b agree``."""
    return f"where {judge} agree" if judge in evaluation.agreed else f"against annotator {judge}"

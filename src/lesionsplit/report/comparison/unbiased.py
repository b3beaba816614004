"""Is a method closer to one annotator than to another? What these slices can say of it, and what not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lesionsplit.evaluation.bootstrap import Estimate
from lesionsplit.evaluation.differences import cross_annotator_drop
from lesionsplit.evaluation.tally import MISSING, MethodTally
from lesionsplit.report.comparison.cells import (
    Block,
    Cell,
    NumberTable,
    Row,
    compact,
    difference_cell,
    estimate_cell,
    interval,
    row_of,
    signed,
)
from lesionsplit.report.comparison.names import is_upper_bound, judge_words, judges, shown_name
from lesionsplit.report.comparison.numbers import excludes_zero
from lesionsplit.report.comparison.tables import CHANCE, judged_by
from lesionsplit.study.comparison import Comparison, Contestant

OWN = "Bold: against the annotator whose masks it was trained on."


def cross_table(comparison: Comparison) -> NumberTable | None:
    """Average precision of networks trained on masks, beside those that saw none, by every judge."""
    found = judges(comparison.evaluation)
    seen = {True: "trained on masks", False: "saw no mask"}
    chances = [
        comparison.evaluation.agreed[judge]["chance"]
        if judge in comparison.evaluation.agreed
        else comparison.evaluation.chance[judge]
        for judge in found
    ]
    chance = Row(name=CHANCE, cells=tuple(estimate_cell(one.average_precision) for one in chances))
    blocks = [Block(heading="", rows=(chance,))]
    for bound, heading in seen.items():
        rows = []
        for one in comparison.shown():
            if is_upper_bound(one) is bound:
                numbers = [judged_by(comparison, one.label, judge).average_precision for judge in found]
                cells = tuple(
                    Cell(cell.text, cell.more, mark=judge == one.annotator)
                    for judge, cell in zip(found, map(estimate_cell, numbers), strict=True)
                )
                rows.append(row_of(comparison, one, cells))
        blocks.append(Block(heading=heading, rows=tuple(rows)))
    columns = tuple(judge_words(comparison.evaluation, judge) for judge in found)
    caption = f"Average precision, pooled, whole image, by who judges. {OWN}"
    return compact("cross", caption, columns, blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """What a network trained on masks loses when another annotator judges it: own less other."""

    one: Contestant
    other: str
    alone: Estimate
    beside: Estimate
    """Less the same of the reference; missing where that saw masks itself."""


def drops(comparison: Comparison) -> list[Drop]:
    """Of each entry that was trained on masks, against each other annotator."""
    unseeing = unseeing_reference(comparison)
    return [
        Drop(one=one, other=other, alone=alone, beside=beside[other])
        for one in supervised(comparison)
        for alones, beside in [_drops(comparison, one, unseeing)]
        for other, alone in alones.items()
    ]


def drops_table(comparison: Comparison, found: Sequence[Drop]) -> NumberTable | None:
    """The same as a table."""
    unseeing = unseeing_reference(comparison)
    rows = []
    for drop in found:
        row = row_of(comparison, drop.one, (difference_cell(drop.alone), difference_cell(drop.beside)))
        rows.append(Block(heading=f"{drop.one.annotator}, its own, less {drop.other}", rows=(row,)))
    more = f"more than {unseeing.label} does" if unseeing else "more than the reference does"
    caption = (
        "Average precision against a network's own annotator less that against another, over the same resamples of "
        "series. Bold: the interval excludes 0."
    )
    return compact("drops", caption, ("own less other", more), rows)


def sentences(comparison: Comparison, found: Sequence[Drop]) -> list[str]:
    """What the intervals allow to say, and what not; from the numbers alone."""
    annotators = list(comparison.evaluation.chance)
    if len(annotators) < 2:
        return [
            f"Masks of {len(annotators)} annotator{'s' * (len(annotators) != 1)} only: whether a method is closer to "
            "one annotator than to another cannot be asked of them."
        ]
    trained = supervised(comparison)
    if not trained:
        return [
            "No entry of this study was trained on an annotator's masks, so what such a network loses when another "
            "judges it is not measured here.",
            _limits(comparison),
        ]
    unseeing = unseeing_reference(comparison)
    leanings = [_leaning(one, [drop for drop in found if drop.one is one], unseeing) for one in trained]
    others: list[str] = []
    if unseeing:
        others = [words for one in trained for words in _by_others(comparison, one, unseeing)]
    return [*filter(None, leanings), *others, _limits(comparison)]


def supervised(comparison: Comparison) -> list[Contestant]:
    """First seeds of entries that were trained on masks of one who judges here."""
    return [one for one in comparison.shown() if one.annotator in comparison.evaluation.chance]


def unseeing_reference(comparison: Comparison) -> Contestant | None:
    """The reference, if it saw no mask."""
    (reference,) = (one for one in comparison.contestants if one.label == comparison.reference)
    return None if is_upper_bound(reference) else reference


def _leaning(one: Contestant, found: Sequence[Drop], unseeing: Contestant | None) -> str:
    """Whether a network loses against other annotators than its own, more than one that saw none does."""
    beside = "" if unseeing is None else f", less the same of {unseeing.label}, which saw no mask"
    more = "" if unseeing is None else f" more than {unseeing.label} does"
    parts = []
    for one_drop in found:
        drop = one_drop.alone if unseeing is None else one_drop.beside
        if drop.value is not None:
            words = {
                True: f"it leans towards {'its own' if drop.value > 0 else 'the other'}{more}",
                False: "the interval includes 0, so no leaning is shown, and none is ruled out inside it",
                None: "without an interval, so nothing follows",
            }[excludes_zero(drop)]
            parts.append(f"{said(drop)} for {one_drop.other} ({words})")
    if not parts:
        return ""
    start = f"{shown_name(one)}: average precision against its own annotator less against another{beside}: "
    return start + "; ".join(parts) + "."


def _by_others(comparison: Comparison, one: Contestant, unseeing: Contestant) -> list[str]:
    """How it compares with a network without masks where neither's training knew the judge."""
    found = []
    for judge, numbers in comparison.differences[one.label].against.items():
        difference = numbers.average_precision
        if judge in comparison.evaluation.chance and judge != one.annotator and difference.value is not None:
            better = shown_name(one) if difference.value > 0 else unseeing.label
            words = {
                True: f"{better} has more",
                False: "the interval includes 0, so which has more is not told",
                None: "without an interval, so nothing follows",
            }[excludes_zero(difference)]
            found.append(f"Judged by {judge}, {shown_name(one)} less {unseeing.label} is {said(difference)}: {words}.")
    return found


def said(estimate: Estimate) -> str:
    """A difference with its interval, in a sentence."""
    return f"{signed(estimate.value or 0.0, 3)} {interval(estimate, plus=True)}".rstrip()


def _limits(comparison: Comparison) -> str:
    facts = comparison.evaluation.conventions
    seeds = [len(comparison.seeds_of(one.entry.name)) for one in comparison.shown() if one.entry.trained]
    if not seeds:
        trainings = "no entry was trained here"
    elif min(seeds) == max(seeds):
        trainings = f"each entry was trained {'once' if seeds[0] == 1 else f'{seeds[0]} times'}"
    else:
        trainings = f"entries were trained {min(seeds)} to {max(seeds)} times"
    chances = ", ".join(
        f"{name} {chance.average_precision.value:.3f}"
        for name, chance in comparison.evaluation.chance.items()
        if chance.average_precision.value is not None
    )
    return (
        f"What this cannot say: intervals resample the {facts['lesion series']} series of this split, not annotators "
        f"and not trainings ({trainings}); whose outlines take more of the image, against that one a score tends to "
        f"have more average precision, chance too (share of lesion pixels: {chances}), so a gap alone is no bias."
    )


def _drops(
    comparison: Comparison, one: Contestant, unseeing: Contestant | None
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """By the other annotator: own less other, and the same less that of a network that saw no mask."""
    own, tally = one.annotator or "", comparison.tallies[one.label]

    def found(reference: MethodTally | None) -> dict[str, Estimate]:
        gaps = cross_annotator_drop(tally, own, reference)
        return {name.removeprefix(f"{own} - "): gap.average_precision for name, gap in gaps.items()}

    alone = found(None)
    if unseeing is None:
        return alone, dict.fromkeys(alone, MISSING)
    return alone, found(comparison.tallies[unseeing.label])

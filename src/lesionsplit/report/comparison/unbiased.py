"""Whether a method matches one annotator better than another, as far as these slices show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lesionsplit.comparison.result import Comparison, Entry
from lesionsplit.evaluation import result
from lesionsplit.evaluation.bootstrap import MISSING, Estimate
from lesionsplit.evaluation.differences import cross_annotator_drop
from lesionsplit.report.comparison.cells import (
    Blocks,
    NumberTable,
    Row,
    compact,
    difference_cell,
    difference_words,
    estimate_cell,
    row_of,
)
from lesionsplit.report.comparison.names import is_upper_bound, judge_words, shown_name
from lesionsplit.report.comparison.tables import CHANCE

OWN = "Bold: against the annotator whose masks it was trained on."


def cross_table(comparison: Comparison) -> NumberTable | None:
    """Average precision against every annotator, of networks trained on masks and of all others."""
    evaluation = comparison.evaluation

    def row(one: Entry) -> Row:
        found = {judge: evaluation.against(one.label, judge)["average_precision"] for judge in evaluation.judges}
        cells = [replace(estimate_cell(number), mark=judge == one.annotator) for judge, number in found.items()]
        return row_of(comparison, one, cells)

    chance = [evaluation.against(result.CHANCE, judge)["average_precision"] for judge in evaluation.judges]
    blocks: Blocks = {
        "": [Row(name=CHANCE, cells=list(map(estimate_cell, chance)))],
        "trained on masks": [row(one) for one in comparison.shown() if is_upper_bound(one)],
        "trained without masks": [row(one) for one in comparison.shown() if not is_upper_bound(one)],
    }
    columns = [judge_words(evaluation, judge) for judge in evaluation.judges]
    caption = "Average precision, pooled, whole image, by annotator." + f" {OWN}" * bool(supervised(comparison))
    return compact("cross", caption, columns, blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """The loss of a network trained on masks against another annotator: own less other."""

    one: Entry
    other: str
    alone: Estimate
    beside: Estimate
    """Less the same loss of the reference; missing where the reference was trained on masks."""


def drops(comparison: Comparison) -> list[Drop]:
    """The loss of each entry trained on masks, against each other annotator, in average precision."""
    maskless, found = maskless_reference(comparison), []
    for one in supervised(comparison):
        accumulator, own = comparison.accumulators[one.label], one.annotator or ""
        beside = cross_annotator_drop(accumulator, own, comparison.accumulators[maskless.label]) if maskless else {}
        for other, alone in cross_annotator_drop(accumulator, own).items():
            less = beside[other]["average_precision"] if beside else MISSING
            found.append(Drop(one=one, other=other, alone=alone["average_precision"], beside=less))
    return found


def drops_table(comparison: Comparison, found: Sequence[Drop]) -> NumberTable | None:
    """The same losses as a table."""
    maskless = maskless_reference(comparison)
    blocks: dict[str, list[Row]] = {}
    for drop in found:
        row = row_of(comparison, drop.one, [difference_cell(drop.alone), difference_cell(drop.beside)])
        blocks.setdefault(f"own annotator {drop.one.annotator} less {drop.other}", []).append(row)
    more = f"more than {maskless.label if maskless else 'the reference'}"
    caption = (
        "Average precision against a network's own annotator less that against another annotator, over the same "
        "resamples of series. Bold: the interval excludes 0."
    )
    return compact("drops", caption, ("own less other", more), blocks)


def sentences(comparison: Comparison, found: Sequence[Drop]) -> list[str]:
    """What the intervals show and what they do not show, in sentences."""
    annotators = list(comparison.evaluation.chance)
    if len(annotators) < 2:
        return [
            f"Masks of {len(annotators)} annotator{'s' * (len(annotators) != 1)} only: they cannot show whether a "
            "method matches one annotator better than another."
        ]
    trained = supervised(comparison)
    if not trained:
        return [
            "No entry of this comparison was trained on an annotator's masks, so the loss of such a network against "
            "another annotator is not measured.",
            _limits(comparison),
        ]
    maskless = maskless_reference(comparison)
    leanings = [_leaning(one, [drop for drop in found if drop.one is one], maskless) for one in trained]
    others: list[str] = []
    if maskless:
        others = [words for one in trained for words in _by_others(comparison, one, maskless)]
    return [*filter(None, leanings), *others, _limits(comparison)]


def supervised(comparison: Comparison) -> list[Entry]:
    """First seeds of entries that were trained on masks of an annotator of this split."""
    return [one for one in comparison.shown() if one.annotator in comparison.evaluation.chance]


def maskless_reference(comparison: Comparison) -> Entry | None:
    """The reference, if it was trained without masks."""
    (reference,) = (one for one in comparison.entries if one.label == comparison.reference)
    return None if is_upper_bound(reference) else reference


def _leaning(one: Entry, found: Sequence[Drop], maskless: Entry | None) -> str:
    """Whether a network matches its own annotator better than others, compared with one trained without masks."""
    beside = "" if maskless is None else f", less the same of {maskless.label}, which was trained without masks"
    more = "" if maskless is None else f" more than {maskless.label}"
    parts = []
    for one_drop in found:
        drop = one_drop.alone if maskless is None else one_drop.beside
        if drop.value is not None:
            words = {
                True: f"it favours {'its own annotator' if drop.value > 0 else 'the other annotator'}{more}",
                False: "the interval includes 0: no bias is shown, and a bias within the interval is not excluded",
                None: "no interval, so no conclusion",
            }[drop.excludes_zero]
            parts.append(f"{difference_words(drop)} for {one_drop.other} ({words})")
    if not parts:
        return ""
    start = f"{shown_name(one)}: average precision against its own annotator less that against another{beside}: "
    return start + "; ".join(parts) + "."


def _by_others(comparison: Comparison, one: Entry, maskless: Entry) -> list[str]:
    """How it compares with a network trained without masks, on masks that neither was trained on."""
    found = []
    for judge, numbers in comparison.differences[one.label].against.items():
        difference = numbers["average_precision"]
        if judge in comparison.evaluation.chance and judge != one.annotator and difference.value is not None:
            better = shown_name(one) if difference.value > 0 else maskless.label
            words = {
                True: f"{better} is better",
                False: "the interval includes 0, so no difference is shown",
                None: "no interval, so no conclusion",
            }[difference.excludes_zero]
            found.append(
                f"Against annotator {judge}, whose masks neither was trained on, {shown_name(one)} less "
                f"{maskless.label} is {difference_words(difference)}: {words}."
            )
    return found


def _limits(comparison: Comparison) -> str:
    facts = comparison.evaluation.conventions
    seeds = [len(comparison.seeds_of(one.settings.name)) for one in comparison.shown() if one.settings.trained]
    if not seeds:
        trainings = "no entry was trained"
    elif min(seeds) == max(seeds):
        trainings = f"each entry was trained {'once' if seeds[0] == 1 else f'{seeds[0]} times'}"
    else:
        trainings = f"entries were trained {min(seeds)} to {max(seeds)} times"
    chances = ", ".join(
        f"{name} {chance['average_precision'].value:.3f}"
        for name, chance in comparison.evaluation.chance.items()
        if chance["average_precision"].value is not None
    )
    return (
        f"Limits: intervals resample the {facts['lesion series']} series of this split, neither annotators nor "
        f"trainings ({trainings}). Average precision tends to be higher against an annotator who outlines more of the "
        f"image; this holds for chance too (fraction of lesion pixels: {chances}). So a gap alone shows no bias."
    )

"""The tables of numbers: against annotators, on slices, over seeds, and what each entry takes."""

from __future__ import annotations

from dataclasses import replace

from lesionsplit.evaluation.differences import Spread, spread
from lesionsplit.evaluation.tally import FIXED_THRESHOLD, AgainstAgreed, AgainstAnnotator
from lesionsplit.report.comparison.cells import (
    Block,
    Cell,
    NumberTable,
    Row,
    cells_of,
    compact,
    duration,
    estimate_cell,
    grouped,
    row_of,
)
from lesionsplit.report.comparison.names import judge_words, shown_name
from lesionsplit.report.comparison.numbers import fields
from lesionsplit.report.tables import MISSING
from lesionsplit.study.comparison import Comparison

AGAINST = {
    "average_precision": "AP, whole image",
    "average_precision_in_lung": "AP, in lung",
    "average_precision_per_image": "AP, per image",
    "dice_best": "best Dice (oracle)",
    "dice_fixed": f"Dice at {FIXED_THRESHOLD}",
    "dice_stored": "Dice, stored threshold",
}
"""Measures against an annotator, by the evaluation's name."""

CHANCE = "chance (share of lesion pixels)"
CLASSIFIER = "AUROC, the classifier's own"

SLICES = {
    "share_of_lung_fired": "normal lung fired, %",
    "auroc": "AUROC of slices",
    CLASSIFIER: CLASSIFIER,
    "specificity": "specificity",
    "sensitivity": "sensitivity",
}


def against_table(comparison: Comparison) -> NumberTable | None:
    """Every entry against every annotator; None where nobody outlined anything."""
    evaluation, blocks = comparison.evaluation, []
    for judge, chance in evaluation.chance.items():
        rows = [Row(name=CHANCE, cells=cells_of(dict(fields(chance)), AGAINST))]
        for one in comparison.shown():
            numbers = dict(fields(evaluation.methods[one.label][judge]))
            rows.append(row_of(comparison, one, cells_of(numbers, AGAINST)))
        for other, agreement in evaluation.annotators.get(judge, {}).items():
            # one mask has one Dice, whatever the threshold; it stands where methods are measured as masks too
            cells = tuple(estimate_cell(agreement.dice) if name == "dice_stored" else Cell() for name in AGAINST)
            rows.append(Row(name=f"annotator {other}", cells=cells))
        blocks.append(Block(heading=judge_words(evaluation, judge), rows=tuple(rows)))
    caption = "Heat maps against what annotators outlined. AP: average precision."
    return compact("against", caption, tuple(AGAINST.values()), blocks)


def slices_table(comparison: Comparison) -> NumberTable | None:
    """What fires in normal slices, and whether slices can be told apart; None where neither can be measured."""
    rows = []
    for one in comparison.shown():
        numbers = dict(fields(comparison.evaluation.slices[one.label]))
        if one.label in comparison.classifier_auroc:
            numbers[CLASSIFIER] = comparison.classifier_auroc[one.label]
        threshold = comparison.tallies[one.label].threshold
        stored = Cell() if threshold is None else Cell(f"{threshold:.3f}")
        rows.append(row_of(comparison, one, (stored, *cells_of(numbers, SLICES))))
    caption = (
        "Slices as a whole: what fires where nothing is, and whether slices with lesion are told from normal ones."
    )
    return compact("slices", caption, ("stored threshold", *SLICES.values()), [Block(heading="", rows=tuple(rows))])


def costs_table(comparison: Comparison) -> NumberTable:
    """What each entry is told and what it takes."""
    rows = []
    for one in comparison.shown():
        cost = one.cost
        cells = (
            Cell(one.supervision),
            Cell(MISSING if cost.training_seconds is None else duration(cost.training_seconds)),
            Cell(MISSING if cost.threads is None else str(cost.threads)),
            Cell(MISSING if cost.slices_seen is None else grouped(cost.slices_seen)),
            Cell(MISSING if cost.parameters is None else grouped(cost.parameters)),
            Cell(f"{cost.slices_per_second:.3g}"),
        )
        rows.append(row_of(comparison, one, cells))
    columns = ("supervision", "training", "threads", "slices seen", "parameters", "slices per second")
    return NumberTable(
        key="costs",
        caption="What each entry is told, and what it takes.",
        columns=columns,
        blocks=(Block(heading="", rows=tuple(rows)),),
        notes=tuple(f"{shown_name(one)}: {one.entry.note}" for one in comparison.shown() if one.entry.note),
        numeric=False,
    )


def seeds_table(comparison: Comparison) -> NumberTable | None:
    """Mean and range over seeds; None where every entry has one only."""
    evaluation, blocks = comparison.evaluation, []
    several = [one for one in comparison.shown() if len(comparison.seeds_of(one.entry.name)) > 1]
    for judge in evaluation.chance:
        rows = []
        for one in several:
            labels = [seed.label for seed in comparison.seeds_of(one.entry.name)]
            found = [dict(fields(judged_by(comparison, label, judge))) for label in labels]
            spreads = {name: spread(one[name].value for one in found) for name in found[0]}
            row = row_of(comparison, one, tuple(_spread_cell(spreads.get(name)) for name in AGAINST))
            rows.append(replace(row, name=f"{row.name}, {len(labels)} seeds"))
        blocks.append(Block(heading=judge_words(evaluation, judge), rows=tuple(rows)))
    return compact("seeds", "Mean over seeds, and the lowest to the highest.", tuple(AGAINST.values()), blocks)


def judged_by(comparison: Comparison, label: str, judge: str) -> AgainstAnnotator | AgainstAgreed:
    """An entry's numbers against an annotator, or against what two agree on."""
    evaluation = comparison.evaluation
    return evaluation.agreed[judge][label] if judge in evaluation.agreed else evaluation.methods[label][judge]


def _spread_cell(found: Spread | None) -> Cell:
    if found is None or found.mean is None:
        return Cell()
    return Cell(f"{found.mean:.3f}", f"{found.min:.3f} to {found.max:.3f}")

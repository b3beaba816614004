"""The tables of numbers: against annotators, on slices, over seeds, and costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from lesionsplit.comparison.result import Comparison
from lesionsplit.evaluation.bootstrap import Estimates
from lesionsplit.evaluation.result import BETWEEN_ANNOTATORS, FIXED_THRESHOLD, HIGHEST, LOWEST
from lesionsplit.report.comparison.cells import (
    MISSING,
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

AGAINST = {
    "average_precision": "AP, whole image",
    "average_precision_in_lung": "AP, in {region}",
    "average_precision_per_image": "AP, per image",
    "dice_oracle": "best Dice (oracle)",
    "dice_fixed": f"Dice at {FIXED_THRESHOLD}",
    "dice_stored": "Dice, stored threshold",
    f"dice_lowest_{LOWEST}_to_{HIGHEST}": f"lowest Dice from {LOWEST} to {HIGHEST} / best",
}
"""Columns of measures against an annotator; see `columns`."""

CHANCE = "chance (fraction of lesion pixels)"
CLASSIFIER = "AUROC of the classifier"

SLICES = {
    "false_positive_fraction": "false positive fraction of normal {region}",
    "normal_series_marked": "normal series with more than 1 % of {region} marked",
    "worst_normal_series": "the worst normal series",
    "score_of_normal": "mean score, normal slices",
    "score_of_lesion": "mean score, lesion slices",
    "specificity": "specificity",
    "sensitivity": "sensitivity",
    "auroc": "AUROC of slices",
    CLASSIFIER: CLASSIFIER,
}

ANNOTATORS = ("Dice", "precision", "recall")
"""Columns of `BETWEEN_ANNOTATORS`."""

HEALTHY = {
    "error_of_slice": "error of the slice",
    "error_of_healthy": "error of the healthy version",
    "closer": "fraction of slices with a smaller error",
}

REMOVAL = {
    "removed": "removed of what lesions add",
    "removed_dense": "the same, densest third",
    "changed_elsewhere": "change away from lesions / deviation",
    "changed_normal": "change of normal slices / deviation",
    "texture": "texture / that of spared lung",
}


def columns(known: Mapping[str, str], comparison: Comparison) -> dict[str, str]:
    """Columns by name of the measure, with the region named; in whole images nothing is measured in the region only."""
    whole = comparison.config.region == "whole"
    return {
        name: words.format(region=comparison.config.noun)
        for name, words in known.items()
        if not (whole and name.endswith("_in_lung"))
    }


def against_table(comparison: Comparison) -> NumberTable | None:
    """Every entry against every annotator; None without masks."""
    evaluation, blocks, against = comparison.evaluation, {}, columns(AGAINST, comparison)
    for judge, chance in evaluation.chance.items():
        rows = [Row(name=CHANCE, cells=cells_of(chance, against))]
        rows += [
            row_of(comparison, one, cells_of(evaluation.methods[one.label][judge], against))
            for one in comparison.shown()
        ]
        for other, agreement in evaluation.annotators.get(judge, {}).items():
            # a mask has one Dice for all thresholds; it is in the column in which methods are masks too
            cells = [estimate_cell(agreement["dice"]) if name == "dice_stored" else Cell() for name in against]
            rows.append(Row(name=f"annotator {other}", cells=cells))
        blocks[judge_words(evaluation, judge)] = rows
    caption = "Heat maps against the masks of annotators. AP: average precision."
    return compact("against", caption, against.values(), blocks)


def annotators_table(comparison: Comparison) -> NumberTable | None:
    """Every annotator's masks against every other annotator's; None with fewer than two annotators."""
    blocks = {
        judge_words(comparison.evaluation, judge): [
            Row(name=f"annotator {other}", cells=cells_of(agreement, BETWEEN_ANNOTATORS))
            for other, agreement in others.items()
        ]
        for judge, others in comparison.evaluation.annotators.items()
    }
    return compact("annotators", "Masks of annotators against each other.", ANNOTATORS, blocks)


def reliability_table(comparison: Comparison) -> NumberTable | None:
    """The outlined fraction of pixels by score, for calibration; None without masks."""
    blocks = {}
    for judge in comparison.evaluation.chance:
        rows = []
        for one in comparison.shown():
            outlined = comparison.evaluation.reliability[one.label][judge].outlined
            cells = [Cell() if fraction is None else Cell(f"{fraction:.2f}") for fraction in outlined]
            rows.append(row_of(comparison, one, cells))
        blocks[judge_words(comparison.evaluation, judge)] = rows
    caption = (
        f"Outlined fraction of the pixels in the {comparison.config.noun}s of lesion slices, by tenth of the scale of "
        "scores. A score that is the probability of being outlined has about the middle of each tenth."
    )
    columns = [f"{tenth / 10:.1f} to {(tenth + 1) / 10:.1f}" for tenth in range(10)]
    return compact("reliability", caption, columns, blocks)


def healthy_table(comparison: Comparison) -> NumberTable | None:
    """Errors of healthy versions; None where the true healthy slices are not known."""
    caption = "Mean |difference| to the true healthy slice in the lungs of lesion slices; 1 is full scale."
    return _healthy_versions("healthy", caption, HEALTHY, comparison, comparison.evaluation.healthy)


def removal_table(comparison: Comparison) -> NumberTable | None:
    """What healthy versions take off lesions and change elsewhere; None where no method makes any."""
    caption = (
        "Healthy versions: the fraction removed of what lesions add to the median of spared lung, where the first two "
        "annotators both outlined; mean |change| of the lungs elsewhere, as a fraction of their standard deviation."
    )
    return _healthy_versions("removal", caption, REMOVAL, comparison, comparison.evaluation.removal)


def _healthy_versions(
    key: str, caption: str, columns: Mapping[str, str], comparison: Comparison, known: Mapping[str, Estimates]
) -> NumberTable | None:
    rows = [
        row_of(comparison, one, cells_of(known[one.label], columns)) for one in comparison.shown() if one.label in known
    ]
    return compact(key, caption, columns.values(), {"": rows})


def slices_table(comparison: Comparison) -> NumberTable | None:
    """False positives in normal slices, and the separation of slices; None where neither can be measured."""
    rows = []
    for one in comparison.shown():
        numbers = dict(comparison.evaluation.slices[one.label])
        if one.label in comparison.classifier_auroc:
            numbers[CLASSIFIER] = comparison.classifier_auroc[one.label]
        threshold = comparison.accumulators[one.label].threshold
        stored = Cell() if threshold is None else Cell(f"{threshold:.3f}")
        rows.append(row_of(comparison, one, [stored, *cells_of(numbers, SLICES)]))
    caption = "Whole slices: false positives in normal slices, and lesion slices against normal ones."
    return compact("slices", caption, ["stored threshold", *columns(SLICES, comparison).values()], {"": rows})


def costs_table(comparison: Comparison) -> NumberTable:
    """Supervision and cost of each entry."""
    rows = []
    for one in comparison.shown():
        cost = one.cost
        cells = [
            Cell(one.supervision),
            Cell(MISSING if cost.training_seconds is None else duration(cost.training_seconds)),
            Cell(MISSING if cost.threads is None else str(cost.threads)),
            Cell(MISSING if cost.slices_seen is None else grouped(cost.slices_seen)),
            Cell(MISSING if cost.parameters is None else grouped(cost.parameters)),
            Cell(MISSING if cost.slices_per_second is None else f"{cost.slices_per_second:.3g}"),
        ]
        rows.append(row_of(comparison, one, cells))
    return NumberTable(
        key="costs",
        caption="Supervision and cost of each entry.",
        columns=("supervision", "training", "threads", "slices seen", "parameters", "slices per second"),
        blocks={"": rows},
        notes=[f"{shown_name(one)}: {one.settings.note}" for one in comparison.shown() if one.settings.note],
        numeric=False,
    )


def seeds_table(comparison: Comparison) -> NumberTable | None:
    """Mean and range over seeds; None where every entry has only one."""
    evaluation, blocks, against = comparison.evaluation, {}, columns(AGAINST, comparison)
    several = [one for one in comparison.shown() if len(comparison.seeds_of(one.settings.name)) > 1]
    for judge in evaluation.chance:
        rows = []
        for one in several:
            found = [evaluation.methods[seed.label][judge] for seed in comparison.seeds_of(one.settings.name)]
            row = row_of(comparison, one, [spread_cell(seed[name].value for seed in found) for name in against])
            rows.append(replace(row, name=f"{row.name}, {len(found)} seeds"))
        blocks[judge_words(evaluation, judge)] = rows
    return compact("seeds", "Mean over seeds; below it, lowest to highest.", against.values(), blocks)


def spread_cell(values: Iterable[float | None]) -> Cell:
    """Mean and range of the known values."""
    known = [value for value in values if value is not None]
    return Cell(f"{np.mean(known):.3f}", f"{min(known):.3f} to {max(known):.3f}") if known else Cell()

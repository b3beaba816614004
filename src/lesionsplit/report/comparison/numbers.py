"""Every number of a comparison as CSV."""

from __future__ import annotations

from collections.abc import Iterator

from lesionsplit.comparison.result import Comparison, Entry
from lesionsplit.csvtext import csv_text, decimals
from lesionsplit.evaluation.bootstrap import Estimate, Estimates
from lesionsplit.evaluation.result import CHANCE

COLUMNS = ("method", "seed", "annotator", "measure", "value", "low", "high", "supervised_by")
DIFFERENCE_COLUMNS = (
    *("method", "seed", "reference", "annotator", "measure", "value", "low", "high"),
    *("interval_excludes_0", "supervised_by"),
)


def to_csv(comparison: Comparison) -> str:
    """A row for each number, with six decimals; empty where it cannot be measured."""
    return named(csv_text(COLUMNS, _numbers(comparison)), comparison)


def named(text: str, comparison: Comparison) -> str:
    """Text in which the names of measures are those of lungs, with the region of the comparison instead."""
    return text if comparison.config.region == "lungs" else text.replace("_lung", "_region")


def differences_to_csv(comparison: Comparison) -> str:
    """A row for each difference, method less reference; the last question is empty without an interval."""
    rows = [
        {
            **_named(one),
            "reference": comparison.reference,
            "annotator": judge,
            "measure": measure,
            **_decimals(estimate),
            "interval_excludes_0": {True: "yes", False: "no", None: ""}[estimate.excludes_zero],
        }
        for one in comparison.entries
        if (found := comparison.differences.get(one.label))
        for judge, group in {**found.against, "": found.slices}.items()
        for measure, estimate in group.items()
        if estimate.value is not None
    ]
    return named(csv_text(DIFFERENCE_COLUMNS, rows), comparison)


def _numbers(comparison: Comparison) -> Iterator[dict[str, str]]:
    """All numbers: of chance, of annotators, of each entry and seed, and their costs."""
    evaluation = comparison.evaluation
    for judge in evaluation.chance:
        yield from _rows({"method": CHANCE}, judge, evaluation.chance[judge])
    for name, others in evaluation.annotators.items():
        for other, agreement in others.items():
            yield from _rows({"method": f"annotator {other}"}, name, agreement)
    for pair, methods in evaluation.agreed.items():
        yield from _rows({"method": CHANCE}, pair, methods[CHANCE])
    for one in comparison.entries:
        for judge in evaluation.judges:
            yield from _rows(_named(one), judge, evaluation.against(one.label, judge))
        numbers = evaluation.slices[one.label] | evaluation.healthy.get(one.label, {})
        numbers |= evaluation.removal.get(one.label, {})
        if one.label in comparison.classifier_auroc:
            numbers["auroc_of_classifier"] = comparison.classifier_auroc[one.label]
        numbers["stored_threshold"] = Estimate(comparison.accumulators[one.label].threshold)
        numbers |= {name: Estimate(getattr(one.cost, name)) for name in one.cost.__dataclass_fields__}
        yield from _rows(_named(one), "", numbers)


def _rows(named: dict[str, str], annotator: str, numbers: Estimates) -> Iterator[dict[str, str]]:
    """``annotator``: an annotator or a pair of annotators; empty for measures without masks."""
    for measure, estimate in numbers.items():
        yield {**named, "annotator": annotator, "measure": measure, **_decimals(estimate)}


def _named(one: Entry) -> dict[str, str]:
    """The entry's name, the same for all of its seeds, and the annotator on whose masks it was trained, if any."""
    seed = "" if one.seed is None else str(one.seed)
    return {"method": one.settings.name, "seed": seed, "supervised_by": one.annotator or ""}


def _decimals(estimate: Estimate) -> dict[str, str]:
    return {"value": decimals(estimate.value), "low": decimals(estimate.low), "high": decimals(estimate.high)}

"""Every number of a comparison as rows of a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from lesionsplit.evaluation.bootstrap import Estimate
from lesionsplit.study.comparison import Comparison, Contestant

COLUMNS = ("method", "seed", "annotator", "measure", "value", "low", "high", "supervised_by")
DIFFERENCE_COLUMNS = (
    *("method", "seed", "reference", "annotator", "measure", "value", "low", "high"),
    *("interval_excludes_0", "supervised_by"),
)


class Number(NamedTuple):
    """One number of one entry, or of chance or an annotator."""

    method: str
    """The entry's name, the same for all of its seeds."""

    seed: str
    annotator: str
    """Or a pair of annotators; empty where masks have no part in it."""

    measure: str
    estimate: Estimate
    supervised_by: str
    """The annotator whose masks it was trained on; empty where none."""


def numbers(comparison: Comparison) -> Iterator[Number]:
    """All numbers: of chance, of annotators, of each entry and seed against each, and what they cost."""
    evaluation = comparison.evaluation
    for name, chance in evaluation.chance.items():
        yield from (Number("chance", "", name, *one, "") for one in fields(chance))
    for name, others in evaluation.annotators.items():
        for other, agreement in others.items():
            yield from (Number(f"annotator {other}", "", name, *one, "") for one in fields(agreement))
    for pair, methods in evaluation.agreed.items():
        yield from (Number("chance", "", pair, *one, "") for one in fields(methods["chance"]))
    for one in comparison.contestants:
        yield from _of(comparison, one)


def to_csv(comparison: Comparison) -> str:
    """One row a number; six decimals; what cannot be measured is empty."""
    return _written(COLUMNS, ((*one[:4], *_three(one.estimate), one.supervised_by) for one in numbers(comparison)))


def differences_to_csv(comparison: Comparison) -> str:
    """One row a difference: the method less the reference, and whether its interval excludes 0 (or is missing)."""
    return _written(DIFFERENCE_COLUMNS, _difference_rows(comparison))


def _difference_rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    for one in comparison.contestants:
        if one.label not in comparison.differences:
            continue
        found = comparison.differences[one.label]
        groups = [*found.against.items(), ("", found.slices)]
        for judge, group in groups:
            for measure, estimate in fields(group):
                if estimate.value is not None:
                    verdict = "" if (away := excludes_zero(estimate)) is None else "yes" if away else "no"
                    yield (
                        *(one.entry.name, _seed(one), comparison.reference, judge, measure),
                        *(*_three(estimate), verdict, one.annotator or ""),
                    )


def excludes_zero(estimate: Estimate) -> bool | None:
    """Whether a difference's interval lies on one side of 0; None where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return None
    return estimate.low > 0 or estimate.high < 0


def fields(numbers: msgspec.Struct) -> Iterator[tuple[str, Estimate]]:
    """The estimates of a struct under the names that files give them."""
    names = zip(numbers.__struct_encode_fields__, numbers.__struct_fields__, strict=True)
    return ((name, getattr(numbers, attribute)) for name, attribute in names)


def _of(comparison: Comparison, one: Contestant) -> Iterator[Number]:
    evaluation, label = comparison.evaluation, one.label

    def number(annotator: str, measure: str, estimate: Estimate) -> Number:
        return Number(one.entry.name, _seed(one), annotator, measure, estimate, one.annotator or "")

    for annotator, against in evaluation.methods[label].items():
        yield from (number(annotator, *estimate) for estimate in fields(against))
    for pair, methods in evaluation.agreed.items():
        yield from (number(pair, *estimate) for estimate in fields(methods[label]))
    yield from (number("", *estimate) for estimate in fields(evaluation.slices[label]))
    if label in comparison.classifier_auroc:
        yield number("", "auroc_of_classifier", comparison.classifier_auroc[label])
    threshold = comparison.tallies[label].threshold
    yield number("", "stored_threshold", Estimate(threshold))
    for name in one.cost.__dataclass_fields__:
        cost = getattr(one.cost, name)
        yield number("", name, Estimate(None if cost is None else float(cost)))


def _seed(one: Contestant) -> str:
    return "" if one.seed is None else str(one.seed)


def _three(estimate: Estimate) -> tuple[str, str, str]:
    value, low, high = ("" if n is None else f"{n:.6f}" for n in (estimate.value, estimate.low, estimate.high))
    return value, low, high


def _written(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()

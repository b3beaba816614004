from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest
from sklearn.metrics import average_precision_score

from lesionsplit.comparison.result import Comparison
from lesionsplit.data.masks import read_mask
from lesionsplit.data.table import Table
from lesionsplit.evaluation.bootstrap import Estimate
from lesionsplit.report.comparison.cells import Cell
from lesionsplit.report.comparison.numbers import differences_to_csv, to_csv
from lesionsplit.report.comparison.tables import spread_cell


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def found(text: str, **wanted: str) -> dict[str, str]:
    (one,) = [row for row in rows(text) if wanted.items() <= row.items()]
    return one


def test_a_number_is_the_evaluations(comparison: Comparison) -> None:
    one = found(
        to_csv(comparison), method="cam", seed="0", annotator="b", measure="average_precision_in_lung", supervised_by=""
    )
    expected = comparison.evaluation.methods["cam"]["b"]["average_precision_in_lung"]
    assert [one["value"], one["low"], one["high"]] == [
        f"{number:.6f}" for number in (expected.value, expected.low, expected.high) if number is not None
    ]


def test_every_number_of_the_evaluation_is_there(comparison: Comparison) -> None:
    evaluation = comparison.evaluation
    entries = 7
    count = (
        2 * 3  # chance
        + 2 * 3  # annotators against each other
        + (1 + entries)  # where they agree, chance among them
        + entries * (2 * 10 + 8 + 1 + 5)  # against each, on slices, threshold, cost
        + 1  # the classifier's own
    )
    assert len(evaluation.methods) == entries
    assert len(rows(to_csv(comparison))) == count


def test_seeds_are_told_apart(comparison: Comparison) -> None:
    text = to_csv(comparison)
    first, second = (
        found(text, method="decomposition", seed=seed, annotator="a", measure="average_precision")["value"]
        for seed in ("0", "1")
    )
    assert first == f"{comparison.evaluation.methods['decomposition']['a']['average_precision'].value:.6f}"
    assert second == f"{comparison.evaluation.methods['decomposition, seed 1']['a']['average_precision'].value:.6f}"


def test_average_precision_is_scikit_learns(comparison: Comparison, slices: Table) -> None:
    """At the mask's own resolution, which is no grid's: only roughly the same."""
    (one,) = [one for one in comparison.entries if one.label == "cam"]
    lesion = slices.labelled("lesion")
    scores, truths = [], []
    for row, scored in zip(lesion, one.heat_maps(lesion), strict=True):
        scores.append(scored.score.ravel())
        truths.append(read_mask(row, "b").ravel())
    reference = average_precision_score([v for t in truths for v in t], [v for s in scores for v in s])
    value = float(found(to_csv(comparison), method="cam", annotator="b", measure="average_precision")["value"])
    assert value == pytest.approx(reference, abs=0.15)


def test_what_was_trained_on_masks_says_so_in_every_row(comparison: Comparison) -> None:
    for text in (to_csv(comparison), differences_to_csv(comparison)):
        for row in rows(text):
            expected = row["method"].removeprefix("supervised-") if row["method"].startswith("supervised-") else ""
            assert row["supervised_by"] == expected


def test_costs_are_empty_where_nothing_was_trained(comparison: Comparison) -> None:
    text = to_csv(comparison)
    assert found(text, method="opening", measure="training_seconds")["value"] == ""
    assert found(text, method="opening", measure="slices_per_second")["value"] == "20.000000"
    assert found(text, method="cam", measure="training_seconds")["value"] == "1380.000000"


def test_differences_are_those_measured(comparison: Comparison) -> None:
    text = differences_to_csv(comparison)
    one = found(text, method="cam", annotator="a and b", measure="average_precision")
    expected = comparison.differences["cam"].against["a and b"]["average_precision"]
    assert one["value"] == f"{expected.value:.6f}"
    assert one["reference"] == "decomposition"
    assert one["interval_excludes_0"] == ("yes" if expected.excludes_zero else "no")
    assert not [row for row in rows(text) if row["value"] == ""]
    assert {row["method"] for row in rows(text) if row["seed"] == "1"} == {"decomposition"}


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (Estimate(0.1, 0.01, 0.2), True),
        (Estimate(-0.1, -0.2, -0.01), True),
        (Estimate(0.1, -0.01, 0.2), False),
        (Estimate(0.0, 0.0, 0.0), False),
        (Estimate(0.1), None),
        (Estimate(None), None),
    ],
)
def test_whether_an_interval_excludes_0(estimate: Estimate, expected: bool | None) -> None:
    assert estimate.excludes_zero is expected


def test_no_difference_is_a_header_alone(
    slices: Table, make_comparison: Callable[..., Comparison], make_entry: Callable[..., object]
) -> None:
    alone = make_comparison(slices, (make_entry("cam"),), reference="cam", seeds=False)
    assert differences_to_csv(alone).count("\n") == 1


def test_the_spread_over_seeds() -> None:
    assert spread_cell([0.41, None, 0.47, 0.44]) == Cell("0.440", "0.410 to 0.470")
    assert spread_cell([0.5]) == Cell("0.500", "0.500 to 0.500")
    assert spread_cell([None]) == Cell()

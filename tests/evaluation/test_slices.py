from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from lesionsplit.data.table import Label, Slice
from lesionsplit.evaluation.slices import AgainstOutline, SliceNumbers, against_outline, worst
from lesionsplit.evaluation.sorted_scores import SortedScores

LUNGS = np.zeros((8, 10), dtype=bool)
LUNGS[2:7, 1:9] = True  # 40 pixels


def numbers(name: str, series: str, wrong: float, label: Label = "lesion") -> SliceNumbers:
    row = Slice(image=Path(f"{name}.png"), label=label, split="val", series=series, place=name)
    outline = AgainstOutline(0.5, 0.5, 0.5, 0.5, wrong / 4, wrong * 3 / 4)
    lesion = label == "lesion"
    return SliceNumbers(row, 0.5, 0.9 if lesion else wrong, 0.1, {"a": outline} if lesion else {})


def test_the_numbers_of_a_slice_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    score = np.where(LUNGS, rng.random(LUNGS.shape), 0).astype(np.float32)
    truth = LUNGS & (rng.random(LUNGS.shape) < 0.4)
    ours = against_outline(SortedScores.of(score), LUNGS, truth, 0.6)
    found, flat = (score >= 0.6).ravel(), truth.ravel()
    assert ours.average_precision == pytest.approx(average_precision_score(flat, score.ravel()), abs=1e-6)
    assert ours.dice == pytest.approx(f1_score(flat, found))
    assert ours.missed == pytest.approx(1 - recall_score(flat, found))
    assert ours.false == pytest.approx(1 - precision_score(flat, found))
    assert ours.wrong == pytest.approx(np.count_nonzero(found != flat) / 40)


def test_by_hand() -> None:
    score = np.zeros(LUNGS.shape, dtype=np.float32)
    truth = score.astype(bool)
    score[3, 1:5] = 1  # four pixels fire
    truth[3, 4:9] = True  # five are outlined, one of the four among them
    ours = against_outline(SortedScores.of(score), LUNGS, truth, 0.5)
    assert ours[1:] == pytest.approx((2 / 9, 4 / 5, 3 / 4, 4 / 40, 3 / 40, 5 / 80))
    assert ours.wrong == pytest.approx(7 / 40)


def test_where_nothing_is_outlined_or_fires_there_is_nothing_to_divide_by() -> None:
    nothing, mask = np.zeros(LUNGS.shape, dtype=np.float32), np.zeros_like(LUNGS)
    empty = against_outline(SortedScores.of(LUNGS.astype(np.float32)), LUNGS, mask, 0.5)
    assert np.isnan(empty[:3]).all()
    assert empty[3:] == (1.0, 0.0, 1.0, 0.0)
    silent = against_outline(SortedScores.of(nothing), LUNGS, LUNGS, 0.5)
    assert (silent.dice, silent.missed, silent.missed_of_lung, silent.false_of_lung) == (0, 1, 1, 0)
    assert np.isnan(silent.false)


def test_without_a_threshold_only_what_needs_none_is_a_number() -> None:
    rng = np.random.default_rng(0)
    score = np.where(LUNGS, rng.random(LUNGS.shape), 0).astype(np.float32)
    ours = against_outline(SortedScores.of(score), LUNGS, LUNGS & (score > 0.3), None)
    assert (ours.average_precision, ours.outlined) == (1, np.mean(LUNGS & (score > 0.3)))
    assert np.isnan([*ours[1:-1], ours.wrong]).all()


def test_without_a_threshold_the_lowest_average_precision_is_the_worst() -> None:
    nan = float("nan")
    slices = [
        numbers(name, "x", nan, label)._replace(lesion_fraction=nan)
        for name, label in (("1", "normal"), ("2", "lesion"), ("3", "lesion"))
    ]
    slices[2] = slices[2]._replace(against={"a": AgainstOutline(0.2, nan, nan, nan, nan, nan)})
    assert [one.row.place for one in worst(slices, "a", 20, 20)] == ["3", "2", "1"]


def test_the_worst_come_first_and_no_series_fills_the_page() -> None:
    slices = [
        numbers("1", "x", 0.3),
        numbers("2", "x", 0.5),
        numbers("3", "x", 0.4),
        numbers("4", "y", 0.1),
        numbers("5", "z", 0.45, "normal"),
        numbers("6", "y", 0.2),
    ]
    assert [one.row.place for one in worst(slices, "a", 20, 2)] == ["2", "5", "3", "6", "4"]
    assert [one.row.place for one in worst(slices, "a", 3, 1)] == ["2", "5", "6"]
    assert [one.row.place for one in worst(slices, "a", 2, 1)] == ["2", "5"]
    assert worst([], "a", 20, 2) == []


def test_a_normal_slice_is_not_worse_or_better_than_a_perfect_one() -> None:
    perfect = numbers("2", "x", 0)._replace(against={"a": AgainstOutline(1, 1, 0, 0, 0, 0)})
    slices = [perfect._replace(row=numbers("1", "x", 0).row), numbers("3", "x", 0, "normal"), perfect]
    for order in (slices, slices[::-1]):
        assert worst(order, "a", 20, 20) == order


def test_in_a_normal_slice_all_that_fires_is_wrong() -> None:
    assert numbers("1", "x", 0.04, "normal").wrong("a") == 0.04

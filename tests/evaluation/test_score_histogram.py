"""Counted pixels against scikit-learn on the same pixels, and against values worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve

from lesionsplit.evaluation.score_histogram import (
    STARTS,
    ScoreHistogram,
    average_precision,
    best_dice,
    binary_dice,
    binary_precision,
    binary_recall,
    dice,
    dice_at,
    level_of,
    lowest_dice,
    precision_recall,
    prevalence,
    reliability,
)
from lesionsplit.scores import LEVELS, to_levels


def pixels(seed: int, size: int = 20000) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many zeros and ties, as heat maps have, and a truth that goes with them."""
    rng = np.random.default_rng(seed)
    truth = rng.random(size) < 0.03
    score = np.clip(rng.normal(0.05 + 0.25 * truth, 0.12), 0, 1).astype(np.float32)
    score[rng.random(size) < 0.6] = 0
    return score, truth


def counted(score: np.ndarray, truth: np.ndarray, series: str = "s") -> ScoreHistogram:
    counts = ScoreHistogram()
    counts.add(series, score, truth)
    return counts


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_scikit_learns(seed: int) -> None:
    score, truth = pixels(seed)
    sixteen_bit = np.rint(score * 65535) / 65535
    ours = average_precision(counted(score, truth).total)
    assert ours == pytest.approx(average_precision_score(truth, sixteen_bit), abs=1e-12)
    assert ours == pytest.approx(average_precision_score(truth, score), abs=1e-5)  # of the unrounded scores


@pytest.mark.parametrize("seed", range(3))
def test_reliability_is_scikit_learns(seed: int) -> None:
    score, truth = pixels(seed)
    sixteen_bit = np.rint(score.astype(np.float64) * 65535) / 65535
    sixteen_bit[:50] = 13107 / 65535  # between two tenths, where it matters to which it counts
    share, mean = calibration_curve(truth, sixteen_bit, n_bins=10)
    found, outlined = reliability(counted(sixteen_bit, truth).total)
    known = np.isfinite(found)
    assert 4 <= known.sum() <= 10
    np.testing.assert_allclose(found[known], mean, atol=1e-12)
    np.testing.assert_allclose(outlined[known], share, atol=1e-12)


def test_counting_in_parts_is_counting_at_once() -> None:
    score, truth = pixels(0)
    parts = ScoreHistogram()
    for number, piece in enumerate(np.array_split(np.arange(len(score)), 7)):
        parts.add(f"s{number % 3}", score[piece], truth[piece])
    np.testing.assert_array_equal(parts.total, counted(score, truth).total)
    assert sorted(parts.by_series) == ["s0", "s1", "s2"]
    assert sum(parts.by_series.values()).sum() == len(score)


SPREADS = {"uniform": lambda u: u, "mostly below 0.02": lambda u: 0.05 * u**6, "skewed": lambda u: u**6}


def by_bin(spread: str) -> tuple[np.ndarray, np.ndarray, ScoreHistogram]:
    """Pixels of six series, of which few are lesion; lesion scores somewhat higher."""
    rng = np.random.default_rng(5)
    truth = rng.random((6, 30000)) < 0.05
    uniform = np.where(truth, rng.random(truth.shape) ** 0.7, rng.random(truth.shape) ** 4)
    score = SPREADS[spread](uniform).astype(np.float32)
    counts = ScoreHistogram()
    for number in range(6):
        counts.add(f"s{number}", score[number], truth[number])
    return score, truth, counts


@pytest.mark.parametrize("spread", SPREADS)
def test_counts_by_series_serve_wherever_scores_lie(spread: str) -> None:
    score, truth, counts = by_bin(spread)
    bins = sum(counts.by_series.values())
    exact = average_precision_score(truth.ravel(), to_levels(score).ravel())
    assert average_precision(bins) == pytest.approx(exact, abs=2e-3)
    assert best_dice(bins) == pytest.approx(best_dice(counts.total), abs=2e-3)
    for threshold in (0.01, 0.1, 0.29, 0.4, 0.6, 1.0):
        expected = f1_score(truth.ravel(), (to_levels(score) >= level_of(threshold)).ravel())
        assert dice_at(bins, threshold) == pytest.approx(expected, abs=1e-12)
    share = lowest_dice(counts.total, 0.1, 0.6)
    assert lowest_dice(bins, 0.1, 0.6) == pytest.approx(share, abs=2e-3)


def test_bins_know_no_threshold_within_one() -> None:
    bins = next(iter(counted(*pixels(0)).by_series.values()))
    with pytest.raises(ValueError, match=r"no bin starts at 0\.3501; count the pixels that reach it as a mask"):
        dice_at(bins, 0.3501)


def test_bins_are_few() -> None:
    assert len(STARTS) < 2200


def test_by_hand() -> None:
    """Scores 1, .5, .5, 0 of which the first and third are lesion."""
    score = np.float32([1.0, 0.5, 0.5, 0.0])
    counts = counted(score, np.array([True, False, True, False])).total
    assert average_precision(counts) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert dice_at(counts, 0.5) == pytest.approx(2 * 2 / (3 + 2))
    assert dice_at(counts, 0.7) == pytest.approx(2 * 1 / (1 + 2))
    assert best_dice(counts) == pytest.approx(0.8)
    assert prevalence(counts) == 0.5
    precision, recall = precision_recall(counts)
    np.testing.assert_allclose(precision, [1, 2 / 3, 0.5])
    np.testing.assert_allclose(recall, [0.5, 1, 1])


def test_the_lowest_dice_by_hand() -> None:
    """Dice is 3/5 up to 0.05, 2/3 up to 0.3, 3/4, the best, up to 0.5, 1/3 up to 0.7, and 0 above."""
    score = np.float32([0.7, 0.7, 0.7, 0.5, 0.5, 0.3, 0.05])
    truth = np.array([True, False, False, True, True, False, False])
    counts = counted(score, truth).total
    assert lowest_dice(counts, 0.1, 0.6) == pytest.approx((1 / 3) / (3 / 4))
    assert lowest_dice(counts, 0.1, 0.49) == pytest.approx((2 / 3) / (3 / 4))
    assert lowest_dice(counts, 0.01, 0.49) == pytest.approx((3 / 5) / (3 / 4))
    assert lowest_dice(counts, 0.4, 0.49) == 1
    assert lowest_dice(counts, 0.4, 0.8) == 0


def test_the_lowest_dice_is_from_the_first_level_to_the_last() -> None:
    """0.1 is between levels 6553 and 6554; 0.6 is level 39321."""
    last = np.array([39320, 39321, 39322]) / 65535  # dice is 1, then 4/5, then 1/2
    counts = counted(last, np.ones(3, dtype=bool)).total
    assert lowest_dice(counts, 0.1, 0.6) == pytest.approx(4 / 5)
    first = np.array([6553, 6554, 39321]) / 65535  # 1/2, then 2/3, then 1
    counts = counted(first, np.array([False, False, True])).total
    assert lowest_dice(counts, 0.1, 0.6) == pytest.approx(2 / 3)


def test_the_best_dice_may_be_at_the_lowest_level_above_0() -> None:
    counts = counted(np.array([1, 0]) / 65535, np.array([True, False])).total
    assert best_dice(counts) == 1
    assert lowest_dice(counts, 0.1, 0.6) == 0
    counts = counted(np.array([1, 2, 0]) / 65535, np.array([True, True, False])).total
    assert lowest_dice(counts, 2 / 65535, 2 / 65535) == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(3))
def test_the_lowest_dice_is_that_of_every_threshold_tried(seed: int) -> None:
    score, truth = pixels(seed, 500)
    levels = to_levels(score)
    dices = [f1_score(truth, levels >= level) for level in np.unique(levels[levels > 0])]
    # between two scores that occur, the higher one decides
    tried = [f1_score(truth, levels >= level) for level in np.unique(levels) if 6554 <= level <= 39321]
    ours = lowest_dice(counted(score, truth).total, 0.1, 0.6)
    last = f1_score(truth, levels >= 39321)
    assert ours == pytest.approx(min(*tried, last) / max(dices), abs=1e-12)


@pytest.mark.parametrize("threshold", [0.01, 0.2, 0.4, 0.99])
def test_dice_is_scikit_learns_f1(threshold: float) -> None:
    score, truth = pixels(1)
    levels = to_levels(score)
    expected = f1_score(truth, levels >= level_of(threshold))
    assert dice_at(counted(score, truth).total, threshold) == pytest.approx(expected, abs=1e-12)


def test_the_curve_is_scikit_learns() -> None:
    score, truth = pixels(2)
    precision, recall = precision_recall(counted(score, truth).total)
    theirs = precision_recall_curve(truth, to_levels(score))
    np.testing.assert_allclose(precision, theirs[0][:-1][::-1])
    np.testing.assert_allclose(recall, theirs[1][:-1][::-1])


def test_a_level_reaches_itself_and_what_is_above_the_one_below() -> None:
    levels = [1, 2, 3, *range(5, 65535, 97), 65534, 65535]
    assert [level_of(level / 65535) for level in levels] == levels
    assert [level_of((level - 0.999) / 65535) for level in levels] == levels
    assert level_of(1.1) == 65535


def test_a_score_of_zero_is_never_lesion() -> None:
    assert level_of(0.0) == level_of(1e-9) == 1
    assert level_of(1.0) == LEVELS - 1
    counts = counted(np.zeros(4, dtype=np.float32), np.array([True, True, True, False])).total
    assert best_dice(counts) == 0
    assert np.isnan(lowest_dice(counts, 0.1, 0.6))


def test_without_lesion_there_is_no_number() -> None:
    counts = counted(np.float32([0.1, 0.9]), np.array([False, False])).total
    assert np.isnan(average_precision(counts))
    assert np.isnan(dice(counts)).all()
    assert np.isnan([dice_at(counts, 0.4), lowest_dice(counts, 0.1, 0.6), binary_dice(counts)]).all()
    assert np.isnan(binary_recall(counts))
    assert binary_precision(counted(np.float32([1.0]), np.array([False])).total) == 0


def test_an_empty_mask_has_no_precision() -> None:
    counts = counted(np.zeros(3, dtype=np.float32), np.array([True, False, False])).total
    assert np.isnan(binary_precision(counts))
    assert binary_recall(counts) == binary_dice(counts) == 0


def test_a_mask_as_a_score() -> None:
    mask = np.array([True, True, True, False, False])
    truth = np.array([True, False, True, True, False])
    counts = counted(mask.astype(np.float32), truth).total
    assert binary_precision(counts) == pytest.approx(2 / 3)
    assert binary_recall(counts) == pytest.approx(2 / 3)
    assert binary_dice(counts) == pytest.approx(2 / 3)


def test_many_counts_at_once() -> None:
    drawn = [pixels(seed) for seed in (3, 4)]
    one, two = (counted(np.where(score > 0.3, 1, score), truth).total for score, truth in drawn)
    both = np.stack([one, two])
    measures: list[Callable[[np.ndarray], np.ndarray]] = [average_precision, best_dice, prevalence, binary_dice]
    measures += [binary_precision, binary_recall, dice, partial(dice_at, threshold=0.4)]
    measures += [partial(lowest_dice, low=0.1, high=0.6)]
    for measure in measures:
        expected = [measure(one), measure(two)]
        assert (expected[0] != expected[1]).any()
        np.testing.assert_allclose(measure(both), expected)


@pytest.mark.parametrize("parts", [2, 10, 16])
def test_reliability_by_hand(parts: int) -> None:
    """One pixel of lesion and one of none at each border of the parts: it belongs to the lower part."""
    score = np.repeat([0, *(np.ceil(np.arange(1, parts) / parts * 65535) / 65535)], 2)
    counts = counted(score, np.arange(len(score)) % 2 == 0).total
    found, outlined = reliability(counts, parts)
    assert found.shape == outlined.shape == (parts,)
    at = np.array([next(k for k in range(parts) if one <= (k + 1) / parts) for one in score])
    expected = [score[at == k].mean() if (at == k).any() else np.nan for k in range(parts)]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_array_equal(outlined, np.where(np.isnan(expected), np.nan, 0.5))

"""Sorted pixels against scikit-learn, and against counting every pixel at every level."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from lesionsplit.errors import DataError
from lesionsplit.evaluation.score_histogram import (
    STARTS,
    MaskHistogram,
    ScoreHistogram,
    binary_dice,
    binary_precision,
    binary_recall,
)
from lesionsplit.evaluation.sorted_scores import SortedScores
from lesionsplit.scores import LEVELS, to_levels

KINDS = {
    "a heat map": lambda rng, shape: np.where(rng.random(shape) < 0.8, 0, rng.random(shape) ** 3),
    "nothing at 0": lambda rng, shape: 0.01 + 0.99 * rng.random(shape),
    "all at 0": lambda _, shape: np.zeros(shape),
    "all the same": lambda _, shape: np.full(shape, 0.3),
    "out of range, or rounded to 0": lambda rng, shape: rng.choice([-0.5, 0, 1e-6, 0.5, 1, 1.5], shape),
}


@pytest.fixture(params=KINDS)
def score(request: pytest.FixtureRequest) -> np.ndarray:
    return KINDS[request.param](np.random.default_rng(3), (48, 64)).astype(np.float32)


def masks(seed: int, *shares: float) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.random((48, 64)) < share for share in shares]


def test_pixels_are_in_the_order_of_their_levels(score: np.ndarray) -> None:
    sorted_scores, levels = SortedScores.of(score), to_levels(score)
    assert sorted(sorted_scores.order) == np.flatnonzero(levels).tolist()
    runs = np.diff(sorted_scores.starts, append=len(sorted_scores.order))
    np.testing.assert_array_equal(np.repeat(sorted_scores.levels, runs), levels.ravel()[sorted_scores.order])
    np.testing.assert_array_equal(sorted_scores.levels, np.unique(levels[levels > 0])[::-1])
    assert sorted_scores.size == score.size


@pytest.mark.parametrize("share", [0, 0.05, 1])
def test_average_precision_is_scikit_learns(score: np.ndarray, share: float) -> None:
    (truth,) = masks(1, share)
    ours, levels = SortedScores.of(score).average_precision(truth), to_levels(score)
    if not share:
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(average_precision_score(truth.ravel(), levels.ravel()), abs=1e-12)


@pytest.mark.parametrize("level", [1, 19661, 40000, LEVELS - 1])
def test_what_reaches_a_level_is_a_mask(score: np.ndarray, level: int) -> None:
    found = to_levels(score) >= level
    mask, expected = SortedScores.of(score).reaching(level), SortedScores.of(found.astype(np.float32))
    assert sorted(mask.order) == sorted(expected.order)
    np.testing.assert_array_equal(mask.levels, expected.levels)
    np.testing.assert_array_equal(mask.starts, expected.starts)
    assert mask.size == expected.size


def test_counting_is_counting_every_pixel_at_every_level(score: np.ndarray) -> None:
    truth, within = masks(2, 0.1, 0.6)
    counts, levels = ScoreHistogram(), to_levels(score)
    counts.add("one", score, truth)
    counts.add_sorted("two", SortedScores.of(score), truth, within=within)
    counts.add("two", score[truth], truth[truth])
    by_series = {
        "one": [np.bincount(levels[mask], minlength=LEVELS) for mask in (truth, ~truth)],
        "two": [
            np.bincount(levels[truth & within], minlength=LEVELS) + np.bincount(levels[truth], minlength=LEVELS),
            np.bincount(levels[~truth & within], minlength=LEVELS),
        ],
    }
    assert list(counts.by_series) == ["one", "two"]
    for name, expected in by_series.items():
        np.testing.assert_array_equal(counts.by_series[name], np.add.reduceat(expected, STARTS, axis=1))
    np.testing.assert_array_equal(counts.total, np.add(*by_series.values()))


def test_masks_are_counted_as_scores_of_0_and_1_in_fewer_bins() -> None:
    mask, truth = masks(4, 0.2, 0.3)
    mask |= truth & masks(5, 0.7)[0]
    counts, scores = MaskHistogram(), ScoreHistogram()
    counts.add_mask("s", mask, truth)
    scores.add("s", mask.astype(np.float32), truth)
    np.testing.assert_array_equal(counts.total, scores.total)
    hit = np.count_nonzero(mask & truth)
    assert counts.by_series["s"].tolist() == [
        [np.count_nonzero(truth & ~mask), hit],
        [np.count_nonzero(~truth & ~mask), np.count_nonzero(mask & ~truth)],
    ]
    for measure in (binary_dice, binary_precision, binary_recall):
        assert measure(counts.by_series["s"]) == measure(scores.by_series["s"]) == measure(counts.total)


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(DataError, match=r"^a heat map has pixels that are NaN; fix the method that made it$"):
        SortedScores.of(np.float32([0.1, np.nan, 0.3]))

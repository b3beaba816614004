from __future__ import annotations

import numpy as np
import pytest

from lesionsplit.evaluation.bootstrap import RESAMPLES, Bootstrap, Estimate
from lesionsplit.evaluation.counts import PixelCounts


def test_series_are_drawn_whole() -> None:
    bootstrap = Bootstrap(["a", "b", "a", "c"])
    weights = bootstrap.weights(["a", "b", "a", "c"])
    assert weights.shape == (RESAMPLES, 4)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(bootstrap.times.sum(axis=1), 3)


def test_the_interval_of_a_mean_is_about_what_theory_says() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(5, 2, 400)
    estimate = Bootstrap([str(i) for i in range(400)]).mean(values.tolist(), [str(i) for i in range(400)])
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - 1.96 * 0.1, abs=0.03)
    assert estimate.high == pytest.approx(values.mean() + 1.96 * 0.1, abs=0.03)


def test_near_duplicates_do_not_narrow_it() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1, 30)
    names = [str(i) for i in range(30)]
    once = Bootstrap(names).mean(values.tolist(), names)
    tenfold = Bootstrap(names).mean(np.repeat(values, 10).tolist(), np.repeat(names, 10).tolist())
    assert (once.low, once.high) == pytest.approx((tenfold.low, tenfold.high))


def test_pooled_counts_are_resampled_by_series() -> None:
    by_series = {name: np.array([[0.0, lesion], [0.0, 10.0 - lesion]]) for name, lesion in (("a", 2.0), ("b", 8.0))}

    def share(counts: np.ndarray) -> np.ndarray:
        return counts[..., 0, :].sum(axis=-1) / counts.sum(axis=(-2, -1))

    estimate = Bootstrap(["a", "b"]).pooled(share, PixelCounts(sum(by_series.values()), by_series))
    assert estimate == Estimate(0.5, 0.2, 0.8)


def test_one_series_has_no_interval_and_nothing_has_no_number() -> None:
    assert Bootstrap(["a", "a"]).mean([1.0, 3.0], ["a", "a"]) == Estimate(2.0)
    assert Bootstrap(["a", "b"]).mean([], []) == Estimate(None)
    assert Estimate.of(float("nan"), np.zeros(0)) == Estimate(None)


def test_the_same_series_give_the_same_interval() -> None:
    names = [str(i) for i in range(20)]
    one, two = (Bootstrap(order).mean(list(range(20)), names) for order in (names, names[::-1]))
    assert one == two

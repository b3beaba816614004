from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lesionsplit.evaluation.bootstrap import RESAMPLES, Bootstrap, Estimate, Resampled, auroc, estimates
from lesionsplit.evaluation.score_histogram import ScoreHistogram, binary_dice, binary_precision


def test_series_are_drawn_whole() -> None:
    bootstrap = Bootstrap(["a", "b", "a", "c"])
    weights = bootstrap.weights(["a", "b", "a", "c"])
    assert weights.shape == (RESAMPLES, 4)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(bootstrap.times.sum(axis=1), 3)


def test_the_interval_of_a_mean_is_about_what_theory_says() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(5, 2, 400)
    estimate = Bootstrap([str(i) for i in range(400)]).mean(values.tolist(), [str(i) for i in range(400)]).estimate()
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - 1.96 * 0.1, abs=0.03)
    assert estimate.high == pytest.approx(values.mean() + 1.96 * 0.1, abs=0.03)


def test_near_duplicates_do_not_narrow_it() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1, 30)
    names = [str(i) for i in range(30)]
    once = Bootstrap(names).mean(values.tolist(), names).estimate()
    tenfold = Bootstrap(names).mean(np.repeat(values, 10).tolist(), np.repeat(names, 10).tolist()).estimate()
    assert (once.low, once.high) == pytest.approx((tenfold.low, tenfold.high))


def test_pooled_counts_are_resampled_by_series() -> None:
    by_series = {name: np.array([[0.0, lesion], [0.0, 10.0 - lesion]]) for name, lesion in (("a", 2.0), ("b", 8.0))}

    def share(counts: np.ndarray) -> np.ndarray:
        return counts[..., 0, :].sum(axis=-1) / counts.sum(axis=(-2, -1))

    pixels = ScoreHistogram(sum(by_series.values()), by_series)
    found = Bootstrap(["a", "b"]).pooled(pixels, share=share, double=lambda counts: 2 * share(counts))
    assert {name: one.estimate() for name, one in found.items()} == {
        "share": Estimate(0.5, 0.2, 0.8),
        "double": Estimate(1.0, 0.4, 1.6),
    }
    assert Bootstrap(["a", "b"]).pooled(ScoreHistogram(), share=share) == {}


def test_one_series_has_no_interval_and_nothing_has_no_number() -> None:
    assert Bootstrap(["a", "a"]).mean([1.0, 3.0], ["a", "a"]).estimate() == Estimate(2.0)
    assert Bootstrap(["a", "b"]).mean([], []).estimate() == Estimate(None)
    assert Resampled(float("nan"), np.zeros(0)).estimate() == Estimate(None)


@pytest.mark.parametrize(
    ("known", "interval"),
    [(RESAMPLES // 2 - 1, False), (RESAMPLES // 2, True), (RESAMPLES, True)],
    ids=["fewer than half", "half", "all"],
)
def test_the_interval_is_from_percentiles_of_at_least_half_of_the_resamples(known: int, interval: bool) -> None:
    """Of whole numbers from 0 to k - 1 the q-th percentile is q % of k - 1."""
    resamples = np.random.default_rng(0).permutation(RESAMPLES).astype(float)
    resamples[resamples >= known] = np.inf
    resamples[np.isinf(resamples) & (np.arange(RESAMPLES) % 2 == 0)] = np.nan
    estimate = Resampled(3.0, resamples).estimate()
    if interval:
        assert estimate == Estimate(3.0, pytest.approx(0.025 * (known - 1)), pytest.approx(0.975 * (known - 1)))
    else:
        assert estimate == Estimate(3.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_a_number_that_cannot_be_computed_has_no_interval_either(value: float) -> None:
    assert Resampled(value, np.arange(RESAMPLES, dtype=float)).estimate() == Estimate(None)


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (Estimate(0.2, 0.1, 0.3), True),
        (Estimate(-0.2, -0.3, -0.1), True),
        (Estimate(0.2, -0.1, 0.3), False),
        (Estimate(0.2, 0.0, 0.3), False),
        (Estimate(-0.2, -0.3, 0.0), False),
        (Estimate(0.2), None),
    ],
    ids=["above", "below", "around", "from 0", "to 0", "no interval"],
)
def test_an_interval_on_one_side_of_0_excludes_it(estimate: Estimate, expected: bool | None) -> None:
    assert estimate.excludes_zero is expected


def test_a_difference_is_taken_resample_by_resample() -> None:
    one, other = Resampled(3.0, np.array([1.0, 5.0])), Resampled(1.0, np.array([2.0, np.nan]))
    value, resamples = one.less(other)
    assert value == 2
    np.testing.assert_array_equal(resamples, [-1, np.nan])


def test_names_without_a_number_are_missing() -> None:
    numbers = {"b": Resampled(2.0, np.zeros(0)), "c": Resampled(3.0, np.zeros(0))}
    found = estimates(["a", "b"], numbers)
    assert found == {"a": Estimate(None), "b": Estimate(2.0)}
    assert list(found) == ["a", "b"]


@pytest.mark.parametrize(("options", "seed"), [({}, 0), ({"seed": 5}, 5)], ids=["by default", "of another seed"])
def test_draws_are_numpys_for_a_seed(options: dict[str, int], seed: int) -> None:
    """Published intervals are found again only if the draws stay."""
    drawn = np.random.default_rng(seed).multinomial(3, [1 / 3] * 3, RESAMPLES)
    bootstrap = Bootstrap(["c", "a", "b", "a"], **options)
    assert bootstrap.names == ["a", "b", "c"]
    np.testing.assert_array_equal(bootstrap.times, drawn)
    np.testing.assert_array_equal(bootstrap.weights(["b", "a", "b"]), drawn[:, [1, 0, 1]])


def test_a_single_series_is_not_resampled() -> None:
    assert Bootstrap(["a", "a"]).times.shape == (0, 1)


def test_a_mean_counts_slices_as_often_as_their_series_is_drawn() -> None:
    bootstrap, names, values = Bootstrap(["a", "b", "c"]), ["a", "b", "b"], [1.0, 2.0, 6.0]
    found = bootstrap.mean(values, names)
    assert found.value == 3
    drawn = [np.repeat(values, [times[0], times[1], times[1]]) for times in bootstrap.times.astype(int)]
    expected = [each.mean() if len(each) else np.nan for each in drawn]
    assert np.isnan(expected).any()  # c alone
    np.testing.assert_allclose(found.resamples, expected, rtol=1e-12)


def test_auroc_is_resampled_by_series() -> None:
    names, scores = ["a", "b", "b", "c"], [0.1, 0.7, 0.3, 0.3]
    truths = [False, True, False, True]
    bootstrap = Bootstrap(names)
    found = bootstrap.auroc(scores, truths, names)
    assert found.value == roc_auc_score(truths, scores)
    for times, resampled in zip(bootstrap.times[:50].astype(int), found.resamples, strict=False):
        repeats = times[[0, 1, 1, 2]]
        drawn = np.repeat(truths, repeats)
        if len(set(drawn)) < 2:
            assert np.isnan(resampled)
        else:
            assert resampled == pytest.approx(roc_auc_score(drawn, np.repeat(scores, repeats)))


def test_pixels_of_a_resample_are_those_of_the_series_that_it_draws() -> None:
    """Series b has no pixel; a resample of b alone has no number."""
    rng = np.random.default_rng(3)
    by_series = {name: rng.integers(1, 9, (2, 4)).astype(float) for name in "ca"}
    bootstrap, total = Bootstrap(["a", "b", "c"]), by_series["a"] + by_series["c"]
    counts = [times[0] * by_series["a"] + times[2] * by_series["c"] for times in bootstrap.times]
    found = bootstrap.pooled(ScoreHistogram(total, by_series), precision=binary_precision, dice=binary_dice)
    assert list(found) == ["precision", "dice"]
    for name, measure in (("precision", binary_precision), ("dice", binary_dice)):
        expected = [measure(one) for one in counts]
        assert np.isnan(expected).any()
        assert found[name].value == measure(total)
        np.testing.assert_allclose(found[name].resamples, expected, rtol=1e-12)


def test_the_same_series_give_the_same_interval() -> None:
    names = [str(i) for i in range(20)]
    one, two = (Bootstrap(order).mean(list(range(20)), names).estimate() for order in (names, names[::-1]))
    assert one == two


@pytest.mark.parametrize("seed", range(5))
def test_auroc_is_scikit_learns_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random(300) < 0.2
    score = np.round(rng.normal(truth, 1.0), 1)
    assert auroc(score, truth) == pytest.approx(roc_auc_score(truth, score), abs=1e-12)


def test_weights_are_repeats() -> None:
    rng = np.random.default_rng(0)
    truth, score = rng.random(40) < 0.5, np.round(rng.random(40), 1)
    times = rng.integers(0, 4, (6, 40))
    expected = [roc_auc_score(np.repeat(truth, t), np.repeat(score, t)) for t in times]
    np.testing.assert_allclose(auroc(score, truth, times), expected)


def test_truth_may_be_0_and_1() -> None:
    assert auroc([0.1, 0.4, 0.3, 0.3], [0, 1, 1, 0]) == roc_auc_score([0, 1, 1, 0], [0.1, 0.4, 0.3, 0.3])


def test_one_class_has_no_number() -> None:
    assert np.isnan(auroc([0.1, 0.2], [True, True]))

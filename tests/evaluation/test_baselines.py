from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from lesionsplit.evaluation.baselines import BRIGHTEST, BROADLY, UNTRAINED, deviation, opening, smoothing


def lung() -> tuple[np.ndarray, np.ndarray]:
    grey = np.zeros((64, 64), dtype=np.float32)
    lungs = np.zeros((64, 64), dtype=bool)
    lungs[8:56, 8:56] = True
    grey[lungs] = 0.4
    return grey, lungs


def test_each_has_the_name_that_tables_give_it() -> None:
    assert {"opening": opening, "smoothing": smoothing, "deviation": deviation} == UNTRAINED


@pytest.mark.parametrize("name", UNTRAINED)
def test_flat_lung_scores_nothing(name: str) -> None:
    score = UNTRAINED[name](*lung())
    assert score.dtype == np.float32
    assert (score == 0).all()


def test_a_vessel_is_opened_away_and_a_lesion_stays() -> None:
    grey, lungs = lung()
    grey[20:23, 10:50] = 0.9  # three pixels thin
    grey[34:48, 30:44] = 0.7  # fourteen wide
    score = opening(grey, lungs)
    assert score[10:26].max() < 1e-6
    assert abs(score[41, 37] - 0.3) < 0.01


def test_the_middle_lung_is_the_zero_and_darker_is_no_lesion() -> None:
    grey, lungs = lung()
    grey[30:50, 30:50] = 0.1
    assert (opening(grey, lungs) == 0).all()


def test_the_rim_is_not_pulled_down_by_the_outside() -> None:
    grey, lungs = lung()
    grey[8:22, 8:56] = 0.8
    score = opening(grey, lungs)
    assert score[12, 30] > 0.38
    assert (score[~lungs] == 0).all()


def test_opening_is_what_it_says_window_by_window() -> None:
    """With nothing of scipy: erosion, dilation and both Gaussian sums over windows of a frame mirrored at its edges."""
    rng = np.random.default_rng(4)
    grey = np.kron(rng.random((5, 6)), np.ones((9, 8))).astype(np.float32)
    grey[::5, ::7] = 1  # thin
    lungs = rng.random(grey.shape) < 0.6

    def windows(image: np.ndarray, width: int) -> np.ndarray:
        padded = np.pad(image.astype(np.float64), width // 2, mode="symmetric")
        return np.lib.stride_tricks.sliding_window_view(padded, (width, width))

    opened = windows(windows(grey, 7).min(axis=(2, 3)), 7).max(axis=(2, 3))
    brighter = np.where(lungs, np.maximum(opened - np.median(grey[lungs]), 0), 0)
    weights = np.exp(-(np.arange(-8, 9) ** 2) / (2 * 2.0**2))  # four sigma to each side
    total, inside = (np.einsum("ijkl,k,l->ij", windows(one, 17), weights, weights) for one in (brighter, lungs))
    expected = np.where(lungs, total / inside, 0)
    assert (brighter[lungs] == 0).any()
    assert expected.max() > 0.1
    np.testing.assert_allclose(opening(grey, lungs), expected, atol=1e-6)


def test_smoothing_is_the_gaussian_mean_over_the_lung_around() -> None:
    """Pixel by pixel, in plain loops; no pixel is beyond the filter's reach."""
    rng = np.random.default_rng(2)
    grey = (0.4 * rng.random((11, 8)) + np.linspace(0, 0.5, 11)[:, None]).astype(np.float32)
    lungs = rng.random((11, 8)) < 0.7
    inside = [(int(row), int(column)) for row, column in np.argwhere(lungs)]
    middle = np.median([grey[place] for place in inside])
    expected = np.zeros((11, 8))
    for row, column in inside:
        total = weights = 0.0
        for other in inside:
            weight = np.exp(-((row - other[0]) ** 2 + (column - other[1]) ** 2) / (2 * 4.5**2))
            total += weight * min(grey[other] - middle, 90 / 255)
            weights += weight
        expected[row, column] = max(0, total / weights / (90 / 255))
    assert (expected[lungs] == 0).any()
    assert expected.max() > 0.1
    np.testing.assert_allclose(smoothing(grey, lungs), expected, atol=1e-6)


def test_smoothing_of_an_edge_is_the_integral_of_a_gaussian() -> None:
    grey = np.full((80, 100), 0.4, dtype=np.float32)
    grey[:, 60:] += 0.2
    score = smoothing(grey, np.ones_like(grey, dtype=bool))
    columns = np.arange(100)
    share = norm.cdf((columns - 59.5) / BROADLY)
    np.testing.assert_allclose(score[40, :90], (0.2 / BRIGHTEST * share)[:90], atol=1e-3)
    assert score[40, 99] == score[0, 99] == pytest.approx(0.2 / BRIGHTEST)  # the frame's edge pulls nothing down


def test_smoothing_is_1_where_all_around_is_as_bright_as_counts() -> None:
    grey = np.full((80, 100), 0.1, dtype=np.float32)
    grey[:, 60:] = 0.1 + BRIGHTEST + 0.3
    score = smoothing(grey, np.ones_like(grey, dtype=bool))
    assert score[40, 85] == 1
    assert score.max() == 1


def test_what_smoothing_says_of_a_lesion_does_not_hang_on_the_rest_of_the_slice() -> None:
    grey, lungs = lung()
    grey[10:20, 10:20] = 0.55
    shifted = grey + np.float32(0.25)  # a brighter window
    np.testing.assert_allclose(smoothing(shifted, lungs), smoothing(grey, lungs), atol=1e-6)
    other = grey.copy()
    other[44:54, 44:54] = 1
    before, after = smoothing(grey, lungs), smoothing(other, lungs)
    assert after.max() > 2 * before.max()
    np.testing.assert_array_equal(after[8:22, 8:22], before[8:22, 8:22])


def test_smoothing_hardly_sees_a_vessel_and_stays_in_the_lungs() -> None:
    grey, lungs = lung()
    grey[20:22, 10:50] = 0.9  # two pixels thin
    grey[32:52, 30:50] = 0.7  # twenty wide
    score = smoothing(grey, lungs)
    assert score[21, 15] < 0.25
    assert score[42, 40] > 0.75
    assert (score[~lungs] == 0).all()


def test_deviation_is_the_distance_from_the_median_of_the_image() -> None:
    grey, region = np.full((64, 64), 0.4, dtype=np.float32), np.ones((64, 64), dtype=bool)
    grey[20:40, 20:40] = 0.1
    score = deviation(grey, region)
    assert score[30, 30] == pytest.approx(0.3, abs=0.01)
    assert score[0, 0] == pytest.approx(0.0, abs=0.01)

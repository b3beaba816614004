"""Edges above and below: against scipy's opening, and lesions of known height by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lesionsplit.inference.partial_volume import lower_at_edges, slices_blurred

FULL = 65535


def lowered(score: np.ndarray, lungs: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores after, and where the slices that were named say that they are lower."""
    after, where = score.copy(), np.zeros(score.shape, dtype=bool)
    for at, mask in lower_at_edges(after, lungs, reach):
        where[at] |= mask
    return after, where


def column(*values: int) -> np.ndarray:
    return np.array(values, np.uint16).reshape(-1, 1, 1)


@pytest.mark.parametrize(
    ("between", "count", "slices"),
    [(2.5, 133, 2), (1.0, 300, 5), (0.625, 500, 8), (4.0, 80, 1), (5.0, 60, 1), (5.1, 60, 0), (2.5, 1, 0)],
)
def test_how_many_slices_an_edge_blurs(between: float, count: int, slices: int) -> None:
    assert slices_blurred(between, count) == slices


@pytest.mark.parametrize("reach", [1, 2, 5])
def test_an_edge_gets_the_opening_along_the_column(reach: int) -> None:
    rng = np.random.default_rng(reach)
    shape = (19, 7, 9)
    lungs = ndimage.gaussian_filter(rng.standard_normal(shape), (2, 1, 1)) > -0.15
    score = np.where(lungs, rng.integers(0, FULL, shape), 0).astype(np.uint16)
    after, where = lowered(score, lungs.astype(np.uint8), reach)

    padded = np.pad(score, ((2 * reach, 2 * reach), (0, 0), (0, 0)), constant_values=FULL)
    opened = ndimage.grey_opening(padded, (reach + 1, 1, 1), mode="nearest")[2 * reach : -2 * reach]
    deep = ndimage.binary_erosion(lungs, np.ones((2 * reach + 1, 1, 1)), border_value=1)
    np.testing.assert_array_equal(after, np.where(deep, score, opened))
    np.testing.assert_array_equal(where, after < score)
    assert where.any()
    assert deep.any()


def test_a_lesion_at_the_diaphragm_stays_if_it_is_higher_than_the_edge_blurs() -> None:
    lungs = column(0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0)
    thin, high = column(0, 0, 9, 9, 0, 0, 0, 0, 0, 0, 0), column(0, 0, 9, 9, 9, 0, 0, 0, 0, 0, 0)
    np.testing.assert_array_equal(lowered(thin, lungs, 2)[0], np.zeros_like(thin))
    np.testing.assert_array_equal(lowered(high, lungs, 2)[0], high)


def test_away_from_edges_nothing_changes() -> None:
    lungs = column(0, 1, 1, 1, 1, 1, 1, 1, 0)
    one = column(0, 0, 0, 0, 9, 0, 0, 0, 0)
    np.testing.assert_array_equal(lowered(one, lungs, 2)[0], one)
    assert not lowered(one, lungs, 0)[1].any()


def test_where_the_scan_ends_no_lung_does() -> None:
    lungs, first = column(1, 1, 1, 1, 1), column(9, 0, 0, 0, 7)
    np.testing.assert_array_equal(lowered(first, lungs, 2)[0], first)


def test_thresholds_and_edges_may_change_places() -> None:
    rng = np.random.default_rng(0)
    lungs = rng.random((12, 6, 6)) > 0.2
    score = np.where(lungs, rng.integers(0, FULL, lungs.shape), 0).astype(np.uint16)
    lesion = np.where(score >= 30000, FULL, 0).astype(np.uint16)
    np.testing.assert_array_equal(lowered(score, lungs, 1)[0] >= 30000, lowered(lesion, lungs, 1)[0] > 0)

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lesionsplit.lungs.morphology import close, convex_hull, largest, outside_air


def test_the_largest_component() -> None:
    mask = np.array([[1, 0, 1, 1], [1, 0, 1, 1]], bool)
    np.testing.assert_array_equal(largest(mask), [[0, 0, 1, 1], [0, 0, 1, 1]])
    assert not largest(mask & False).any()


@pytest.mark.parametrize("radius", [5.3, 9])
def test_close_equals_a_binary_closing_by_a_disc(radius: float) -> None:
    mask = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((70, 90)), 2) > 0.12
    reach = int(radius)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    padded = np.pad(mask, 2 * reach)
    expected = ndimage.binary_closing(padded, np.hypot(rows, columns) <= radius)
    np.testing.assert_array_equal(close(mask, radius), expected[2 * reach : -2 * reach, 2 * reach : -2 * reach])


def test_air_around_the_body_contains_a_corner() -> None:
    dark = np.ones((10, 10), bool)
    dark[2:8, 2:8] = False
    dark[4:6, 4:6] = True
    expected = dark.copy()
    expected[4:6, 4:6] = False
    np.testing.assert_array_equal(outside_air(dark), expected)
    corner = np.zeros((10, 10), bool)
    corner[:2, :2] = True
    assert not outside_air(corner).any()


def test_convex_hull() -> None:
    corners = np.zeros((9, 9), bool)
    corners[[1, 1, 7, 7], [2, 6, 2, 6]] = True
    expected = np.zeros((9, 9), bool)
    expected[1:8, 2:7] = True
    np.testing.assert_array_equal(convex_hull(corners), expected)
    line = np.eye(9, dtype=bool)
    np.testing.assert_array_equal(convex_hull(line), line)

"""A disc of lung in a wall, of which the coarse edge is a little off."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from lesionsplit.lungs.refine import refine_edge

ROWS, COLUMNS = np.mgrid[:120, :120]
DISTANCE = np.hypot(ROWS - 60, COLUMNS - 60)
LUNG = DISTANCE < 40


def coarse(radius: float, slope: float = 3.5) -> npt.NDArray[np.float32]:
    """Shares that are one half at a radius, as wide as pixels of the canvas are."""
    return np.clip(0.5 + (radius - DISTANCE) / (2 * slope), 0, 1).astype(np.float32)


def ct(lung: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    return np.where(lung, -850, 40).astype(np.float32)


@pytest.mark.parametrize("off", [-2, -1, 0, 1, 1.5])
def test_the_edge_is_the_cts(off: float) -> None:
    np.testing.assert_array_equal(refine_edge(coarse(40 + off), ct(LUNG), 0.7), LUNG)


def test_disease_as_dense_as_the_wall_keeps_the_coarse_edge() -> None:
    ill = LUNG & (COLUMNS < 45)
    found = refine_edge(coarse(40), ct(LUNG & ~ill), 0.7)
    assert (found ^ LUNG).sum() < 0.01 * LUNG.sum()
    assert found[ill].mean() > 0.97


def test_vessels_stay_inside() -> None:
    vessel = (np.abs(ROWS - 60) < 3) & (DISTANCE < 30)
    np.testing.assert_array_equal(refine_edge(coarse(40), ct(LUNG & ~vessel), 0.7), LUNG)


def test_air_far_from_the_lungs_stays_outside() -> None:
    airway = np.hypot(ROWS - 60, COLUMNS - 110) < 6
    np.testing.assert_array_equal(refine_edge(coarse(40), ct(LUNG | airway), 0.7), LUNG)


def test_a_hole_that_is_none_of_the_lungs_stays_one() -> None:
    dome = DISTANCE < 15
    share = np.where(DISTANCE < 27, 1 - coarse(15), coarse(40)).astype(np.float32)
    np.testing.assert_array_equal(refine_edge(share, ct(LUNG & ~dome), 0.7), LUNG & ~dome)


def test_no_lung_no_edge() -> None:
    assert not refine_edge(np.zeros((9, 9), np.float32), np.full((9, 9), -1000, np.float32), 0.7).any()

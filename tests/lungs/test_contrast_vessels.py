"""Boxes of known density in a chest of boxes."""

from __future__ import annotations

import numpy as np
import pytest

from lesionsplit.lungs.contrast_vessels import contrast_vessels


@pytest.fixture
def chest() -> tuple[np.ndarray, np.ndarray]:
    """Lungs, and HU: muscle of 50 HU, lung of -850, and at columns 20 to 24 a heart, of which lungs take in 2."""
    lungs = np.zeros((6, 30, 40), dtype=bool)
    lungs[1:5, 5:25, 4:20] = True
    hu = np.where(lungs, -850, 50).astype(np.float32)
    hu[2:4, 10:20, 18:25] = 250
    return lungs, hu


def test_the_hearts_edge_is_blood_and_its_rim(chest) -> None:
    lungs, hu = chest
    hu[2, 12, 17] = 20  # half blood, half lung
    expected = np.zeros_like(lungs)
    expected[2:4, 10:20, 18:20] = True
    expected[2, 12, 17] = True
    np.testing.assert_array_equal(contrast_vessels(lungs, hu), expected)


def test_a_vessel_that_leaves_the_heart_in_another_slice_is_blood(chest) -> None:
    lungs, hu = chest
    hu[3:5, 14:16, 8:18] = 250
    found = contrast_vessels(lungs, hu)
    assert found[4, 14:16, 8:18].all()
    assert not found[4, :12].any()


def test_without_contrast_there_is_none(chest) -> None:
    lungs, hu = chest
    assert not contrast_vessels(lungs, np.minimum(hu, 70)).any()


@pytest.mark.parametrize("level", [35, 90, 120])
def test_consolidation_on_the_heart_is_none(chest, level: float) -> None:
    lungs, hu = chest
    hu[2:4, 10:20, 8:18] = level
    found = contrast_vessels(lungs, hu)
    assert found[2:4, 10:20, 18:20].all()
    assert not found[..., :17].any()  # but for one pixel on the blood


def test_dense_spots_in_the_lungs_are_none(chest) -> None:
    lungs, hu = chest
    hu[2:4, 8:10, 8:10] = 280
    assert not contrast_vessels(lungs, hu)[..., :12].any()

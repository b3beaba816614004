"""HU to grey and back."""

from __future__ import annotations

import numpy as np
import pytest

from lesionsplit.inference.hu_window import HU_WINDOW, Window, window_of
from lesionsplit.lungs.hu_scale import HuScale


def test_the_landmarks_that_gave_the_window_away_come_to_their_grey() -> None:
    grey = HU_WINDOW.to_grey(np.array([-1450, -850, 40, 50, 3000, -2000], dtype=np.int16)) / 257
    np.testing.assert_allclose(grey, [0, 102, 253.3, 255, 255, 0], atol=0.05)


def test_what_does_not_change_keeps_its_value_also_where_the_window_cuts() -> None:
    values = np.arange(-3024, 3072, dtype=np.int16).reshape(2, -1)
    grey = HU_WINDOW.to_grey(values)
    np.testing.assert_array_equal(HU_WINDOW.with_change(values, grey, grey, np.ones(values.shape, bool)), values)


def test_a_change_of_grey_is_one_of_hu_and_only_where_it_counts() -> None:
    values = np.array([[-500.0, -500.0, -1000.0]], dtype=np.float32)
    before = HU_WINDOW.to_grey(values)
    after = HU_WINDOW.to_grey(values - 300)
    where = np.array([[True, False, False]])
    np.testing.assert_allclose(HU_WINDOW.with_change(values, before, after, where), [[-800, -500, -1000]], atol=0.03)


def test_integers_stay_what_they_are_and_within_their_limits() -> None:
    window = Window(lowest=0, highest=255)
    values = np.array([[3, 200]], dtype=np.uint8)
    before = window.to_grey(values)
    changed = window.with_change(values, before, np.zeros_like(before), np.ones((1, 2), bool))
    assert changed.dtype == np.uint8
    assert changed.tolist() == [[3, 3]]  # not below what is darkest


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (6.0, -1000.0), (0.5, -1200.0)])
def test_grey_whose_scale_is_known_comes_to_the_same_as_hu(gain: float, offset: float) -> None:
    hu = np.array([-1400.0, -850, -500, 40, 200], dtype=np.float32)
    grey = (hu - offset) / gain
    found = window_of(HuScale(gain=gain, offset=offset)).to_grey(grey)
    np.testing.assert_allclose(found, HU_WINDOW.to_grey(hu), atol=2)


def test_what_is_not_touched_keeps_its_bits() -> None:
    values = np.array([[-0.0, np.float32(-1000.00006), -1500.5, 40]], dtype=np.float32)
    before = HU_WINDOW.to_grey(values)
    after = before.copy()
    after[0, 3] = 0
    changed = HU_WINDOW.with_change(values, before, after, np.ones(values.shape, bool))
    assert changed[0, :3].tobytes() == values[0, :3].tobytes()
    assert changed[0, 3] < -1400

from __future__ import annotations

import numpy as np
import pytest

from lesionsplit.scores import lesion_fraction, lesion_mask, slice_score, to_levels

LUNGS = np.zeros((20, 20), dtype=bool)
LUNGS[5:15, 5:15] = True


def test_levels_are_rounded_and_clipped() -> None:
    score = np.float32([[-0.1, 0, 0.4 / 65535], [0.6 / 65535, 1, 1.1]])
    np.testing.assert_array_equal(to_levels(score), [[0, 0, 0], [1, 65535, 65535]])


def test_the_threshold_is_reached_from_above_and_at_it() -> None:
    np.testing.assert_array_equal(lesion_mask(np.float32([0.2, 0.3, 0.4]), 0.3), [False, True, True])


def test_share_is_of_the_lungs() -> None:
    mask = np.zeros((20, 20), dtype=bool)
    mask[0:7, 5:15] = True  # two of ten rows of lung, and some outside
    assert lesion_fraction(mask, LUNGS) == pytest.approx(0.2)


def test_the_slice_score_is_the_mean_of_the_highest_hundredth() -> None:
    lungs = np.ones((20, 20), dtype=bool)
    score = np.arange(400, dtype=np.float32).reshape(20, 20) / 400
    assert slice_score(score, lungs) == pytest.approx(np.mean([396, 397, 398, 399]) / 400)
    outside = score.copy()
    outside[~LUNGS] = 1
    assert slice_score(outside, LUNGS) == pytest.approx(score[LUNGS].max())

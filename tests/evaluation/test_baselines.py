from __future__ import annotations

import numpy as np

from lesionsplit.evaluation.baselines import opening


def lung() -> tuple[np.ndarray, np.ndarray]:
    grey = np.zeros((64, 64), dtype=np.float32)
    lungs = np.zeros((64, 64), dtype=bool)
    lungs[8:56, 8:56] = True
    grey[lungs] = 0.4
    return grey, lungs


def test_flat_lung_scores_nothing() -> None:
    assert (opening(*lung()) == 0).all()


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

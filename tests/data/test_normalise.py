from __future__ import annotations

import numpy as np
import torch

from lesionsplit.data.normalise import Normalisation


def test_fit_is_mean_and_standard_deviation() -> None:
    levels = np.random.default_rng(0).integers(20, 200, 5000)
    fitted = Normalisation.fit(np.bincount(levels, minlength=256))
    np.testing.assert_allclose([fitted.mean, fitted.std], [levels.mean() / 255, levels.std() / 255], rtol=1e-9)


def test_three_standard_deviations_fill_the_range() -> None:
    normalisation = Normalisation(mean=0.4, std=0.1)
    grey = np.float32([0.0, 0.1, 0.4, 0.7, 1.0])
    np.testing.assert_allclose(normalisation.apply(grey), [-1, -1, 0, 1, 1], atol=1e-6)
    np.testing.assert_allclose(normalisation.undo(normalisation.apply(grey)), [0.1, 0.1, 0.4, 0.7, 0.7], atol=1e-6)


def test_tensors_and_arrays_alike() -> None:
    normalisation = Normalisation(mean=0.45, std=0.15)
    grey = np.random.default_rng(0).random((3, 4), dtype=np.float32)
    np.testing.assert_allclose(normalisation.apply(torch.from_numpy(grey)), normalisation.apply(grey), rtol=1e-6)

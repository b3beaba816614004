"""Grey values to the range of tanh and back, by the training slices' own statistics (section 3.1)."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from torch import Tensor

from lesionsplit.images import Float
from lesionsplit.settings import Settings

SPREAD = 3.0
"""Standard deviations of lung grey that fill the range of tanh; brighter vessels saturate."""

Values = TypeVar("Values", Tensor, Float)


class Normalisation(Settings, frozen=True):
    """``(grey - mean) / (3 std)``, clipped to [-1, 1]; grey as a fraction of full scale.

    The paper normalises by mean and standard deviation "over all training images" and has tanh
    outputs "within the same range (-1, 1) as the input" without saying how the two meet. Here the
    statistics are those of lung pixels, since the rest is black, and three of these standard
    deviations are the range.
    """

    mean: float
    std: float

    @classmethod
    def fit(cls, histogram: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Normalisation:
        """From counts of grey levels of lung pixels; the last bin is full scale."""
        grey = np.linspace(0, 1, len(histogram))
        share = histogram / histogram.sum()
        mean = float(grey @ share)
        return cls(mean=mean, std=float(np.sqrt((grey - mean) ** 2 @ share)))

    def apply(self, grey: Values) -> Values:
        """Grey, 0 to 1, to network grey, -1 to 1."""
        return ((grey - self.mean) / (SPREAD * self.std)).clip(-1, 1)

    def undo(self, network_grey: Values) -> Values:
        """Network grey to grey; exact where `apply` did not clip."""
        return (network_grey * (SPREAD * self.std) + self.mean).clip(0, 1)

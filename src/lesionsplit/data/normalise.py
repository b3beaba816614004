"""From grey to the range of tanh and back, by the statistics of the training slices (section 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

import numpy as np
from msgspec import Meta

from lesionsplit.errors import DataError
from lesionsplit.images import Float
from lesionsplit.settings import Fraction, Settings

if TYPE_CHECKING:
    from torch import Tensor

SPREAD = 3.0
"""The range of tanh is this many standard deviations of lung grey to either side; brighter vessels saturate."""

SMALLEST = 1e-6
"""Standard deviation: grey of less contrast than half of the smallest step of 16 bits is constant."""

Values = TypeVar("Values", "Tensor", Float)


class Normalisation(Settings, frozen=True):
    """``(grey - mean) / (3 std)``, clipped to [-1, 1]; grey as a fraction of full scale.

    The paper normalises by mean and standard deviation "over all training images" and has tanh outputs "within the
    same range (-1, 1) as the input", but does not say how the two fit. Here the statistics are those of lung pixels,
    since the rest is black, and the range is three standard deviations to either side.
    """

    mean: Fraction
    std: Annotated[float, Meta(ge=SMALLEST, le=1)]

    @classmethod
    def fit(cls, histogram: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Normalisation:
        """From a histogram of the grey of lung pixels; the last bin is full scale.

        Raises:
            DataError: they are all of one grey.
        """
        grey = np.linspace(0, 1, len(histogram))
        weights = histogram / histogram.sum()
        mean = float(grey @ weights)
        std = float(np.sqrt((grey - mean) ** 2 @ weights))
        if not std >= SMALLEST:
            raise DataError("the regions of all images have one and the same grey; give images with contrast")
        return cls(mean=mean, std=std)

    def apply(self, grey: Values) -> Values:
        """Grey, 0 to 1, to network grey, -1 to 1."""
        return ((grey - self.mean) / (SPREAD * self.std)).clip(-1, 1)

    def undo(self, network_grey: Values) -> Values:
        """Network grey to grey; exact where `apply` did not clip."""
        return (network_grey * (SPREAD * self.std) + self.mean).clip(0, 1)

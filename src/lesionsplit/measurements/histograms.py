"""Exact histograms of the grey values of regions.

Each Hounsfield unit is a bin, so means, deviations and percentiles equal those of the voxels; fractional
values are rounded to the nearest unit first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lesionsplit.errors import DataError
from lesionsplit.measurements.chunks import Chunk
from lesionsplit.measurements.lobes import LOBES
from lesionsplit.volumes.decomposed import LEFT, RIGHT

LOWEST, HIGHEST = -4096, 8191
"""The range of bins; values beyond it, which CT does not produce, are clipped."""

BINS = HIGHEST - LOWEST + 1
LABELS = 1 + len(LOBES)

Counts = npt.NDArray[np.int64]


class Histograms:
    """Voxel counts by lung, lobe, lesion and Hounsfield unit."""

    def __init__(self) -> None:
        self.counts: Counts = np.zeros((2, LABELS, 2, BINS), dtype=np.int64)
        """(right and left, lobe label, not lesion and lesion, `BINS`)."""

        self.lobes_outside = 0
        """Voxels of lobes outside the lungs."""

    def add(self, chunk: Chunk) -> None:
        """Count the lung voxels of a chunk.

        Raises:
            DataError: a voxel of the lungs is not a number.
        """
        inside = chunk.lungs != 0
        self.lobes_outside += int(np.count_nonzero(chunk.lobes) - np.count_nonzero(chunk.lobes[inside]))
        bins = whole(chunk.grey[inside]) - LOWEST
        left = (chunk.lungs[inside] == LEFT).astype(np.int64)
        where = ((left * LABELS + chunk.lobes[inside]) * 2 + chunk.lesion[inside]) * BINS + bins
        self.counts += np.bincount(where, minlength=self.counts.size).reshape(self.counts.shape)

    def of(self, lung: int | None = None, lobe: int | None = None) -> Counts:
        """(2, `BINS`), not lesion and lesion, of both lungs, of `RIGHT` or `LEFT`, or of one lobe label."""
        lungs = slice(None) if lung is None else [(RIGHT, LEFT).index(lung)]
        lobes = slice(None) if lobe is None else [lobe]
        counts: Counts = self.counts[lungs][:, lobes].sum(axis=(0, 1))
        return counts


def whole(grey: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """Round values to integers from `LOWEST` to `HIGHEST`.

    Raises:
        DataError: a value is not a number.
    """
    if grey.dtype.kind == "f":
        if not np.isfinite(grey).all():
            raise DataError(
                "voxels of the lungs are not numbers (NaN or infinite); repair the file, or remove them from the "
                "lung mask"
            )
        grey = np.rint(grey)
    units: Counts = np.clip(grey, LOWEST, HIGHEST).astype(np.int64)
    return units


def mean(counts: Counts) -> float:
    """The mean of a histogram that is not empty."""
    return float(counts @ _VALUES) / float(counts.sum())


def deviation(counts: Counts) -> float:
    """The population standard deviation."""
    squares = counts @ (_VALUES - round(mean(counts))) ** 2  # integers about the mean avoid cancellation
    offset = mean(counts) - round(mean(counts))
    return float(max(0.0, float(squares) / float(counts.sum()) - offset**2) ** 0.5)


def percentile(counts: Counts, percent: float) -> float:
    """A percentile, interpolated as by numpy's method ``linear``."""
    ranks = np.cumsum(counts)
    place = percent / 100 * (int(ranks[-1]) - 1)
    below = int(place)
    low, high = (int(_VALUES[np.searchsorted(ranks, rank, side="right")]) for rank in (below, np.ceil(place)))
    return low + (high - low) * (place - below)


def within(counts: Counts, low: float, high: float = np.inf) -> int:
    """Number of voxels from ``low`` (included) to ``high`` (excluded)."""
    return int(counts[(low <= _VALUES) & (high > _VALUES)].sum())


_VALUES = np.arange(LOWEST, HIGHEST + 1, dtype=np.int64)

"""How many voxels of which grey lie where: all that regions need, counted exactly in whole numbers.

A Hounsfield unit is a bin, so means, deviations and percentiles are those of the voxels themselves;
units with fractions are rounded first, to the nearest.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lesionsplit.errors import DataError
from lesionsplit.measures.lobes import LOBES
from lesionsplit.measures.slabs import Slab
from lesionsplit.volumes.findings import LEFT, RIGHT

LOWEST, HIGHEST = -4096, 8191
"""The range of bins; beyond it, which CT cannot mean, values count as its end."""

BINS = HIGHEST - LOWEST + 1
LABELS = 1 + len(LOBES)

Counts = npt.NDArray[np.int64]


class Histograms:
    """Counts by lung, by lobe, by lesion or not, by Hounsfield unit."""

    def __init__(self) -> None:
        self.counts: Counts = np.zeros((2, LABELS, 2, BINS), dtype=np.int64)
        """(right and left, lobe label, not lesion and lesion, `BINS`)."""

        self.lobes_outside = 0
        """Voxels of a lobe that lie in no lung."""

    def add(self, slab: Slab) -> None:
        """Count a slab's lungs.

        Raises:
            DataError: a voxel of the lungs has no value.
        """
        inside = slab.lungs != 0
        self.lobes_outside += int(np.count_nonzero(slab.lobes) - np.count_nonzero(slab.lobes[inside]))
        bins = whole(slab.grey[inside]) - LOWEST
        left = (slab.lungs[inside] == LEFT).astype(np.int64)
        where = ((left * LABELS + slab.lobes[inside]) * 2 + slab.lesion[inside]) * BINS + bins
        self.counts += np.bincount(where, minlength=self.counts.size).reshape(self.counts.shape)

    def of(self, lung: int | None = None, lobe: int | None = None) -> Counts:
        """(2, `BINS`), not lesion and lesion, of both lungs, of `RIGHT` or `LEFT`, or of the lobe with a label."""
        lungs = slice(None) if lung is None else [(RIGHT, LEFT).index(lung)]
        lobes = slice(None) if lobe is None else [lobe]
        counts: Counts = self.counts[lungs][:, lobes].sum(axis=(0, 1))
        return counts


def whole(grey: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """Values as whole numbers from `LOWEST` to `HIGHEST`.

    Raises:
        DataError: a value is not a number.
    """
    if grey.dtype.kind == "f":
        if not np.isfinite(grey).all():
            raise DataError("voxels of the lungs are not numbers (NaN or infinite); repair the file, or mask them out")
        grey = np.rint(grey)
    units: Counts = np.clip(grey, LOWEST, HIGHEST).astype(np.int64)
    return units


def mean(counts: Counts) -> float:
    """Of a histogram that is not empty."""
    return float(counts @ _VALUES) / float(counts.sum())


def deviation(counts: Counts) -> float:
    """Standard deviation of the voxels, all of them, not of a sample."""
    squares = counts @ (_VALUES - round(mean(counts))) ** 2  # whole numbers about the mean: nothing cancels
    offset = mean(counts) - round(mean(counts))
    return float(max(0.0, float(squares) / float(counts.sum()) - offset**2) ** 0.5)


def percentile(counts: Counts, percent: float) -> float:
    """Between the two nearest ranks, on the straight line, as numpy's ``linear``."""
    ranks = np.cumsum(counts)
    place = percent / 100 * (int(ranks[-1]) - 1)
    below = int(place)
    low, high = (int(_VALUES[np.searchsorted(ranks, rank, side="right")]) for rank in (below, np.ceil(place)))
    return low + (high - low) * (place - below)


def within(counts: Counts, low: float, high: float = np.inf) -> int:
    """Voxels from ``low`` on, below ``high``."""
    return int(counts[(low <= _VALUES) & (high > _VALUES)].sum())


_VALUES = np.arange(LOWEST, HIGHEST + 1, dtype=np.int64)

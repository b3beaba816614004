"""A heat map's pixels from the highest level to the lowest, sorted once for everything that is counted.

Most pixels of a heat map are 0; they are not sorted, only counted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lesionsplit.errors import DataError
from lesionsplit.images import Float, Mask
from lesionsplit.scores import LEVELS, to_levels


class SortedScores(NamedTuple):
    """The pixels of one heat map that are above level 0, in runs of one level each."""

    order: npt.NDArray[np.intp]
    """(n,), their indices in the flattened heat map; the highest level first."""

    levels: npt.NDArray[np.int64]
    """(runs,), the levels that occur, from the highest to the lowest."""

    starts: npt.NDArray[np.intp]
    """(runs,), index in ``order`` at which each level begins."""

    size: int
    """Pixels of the heat map, including those at level 0."""

    @classmethod
    def of(cls, score: Float) -> SortedScores:
        """Sort the pixels of a heat map, 0 to 1, of any shape.

        Raises:
            DataError: some pixels are NaN.
        """
        flat = score.ravel()
        if np.isnan(flat).any():
            raise DataError("a heat map has pixels that are NaN; fix the method that made it")
        above = np.flatnonzero(flat > 0)
        levels = to_levels(flat[above]).astype(np.uint16)
        falling = np.argsort(~levels, kind="stable")  # a radix sort: there are 16 bits
        order, sorted_scores = above[falling], levels[falling].astype(np.int64)
        kept = np.count_nonzero(sorted_scores)  # what is rounded to 0 comes last
        starts = np.flatnonzero(np.diff(sorted_scores[:kept], prepend=-1))
        return cls(order[:kept], sorted_scores[starts], starts, flat.size)

    def reaching(self, level: int) -> SortedScores:
        """A heat map that is 1 where this one reaches a level above 0, and 0 elsewhere."""
        runs = int(np.count_nonzero(self.levels >= level))
        pixels = self.starts[runs] if runs < len(self.starts) else len(self.order)
        one = min(runs, 1)
        return SortedScores(self.order[:pixels], np.full(one, LEVELS - 1), self.starts[:one], self.size)

    def per_level(self, mask: Mask) -> npt.NDArray[np.int64]:
        """Number of pixels of each level inside a mask of the heat map's shape, (runs,)."""
        inside = mask.ravel()[self.order]
        counts: npt.NDArray[np.int64] = np.add.reduceat(inside, self.starts, dtype=np.int64)
        return counts

    def average_precision(self, truth: Mask) -> float:
        """Average precision as scikit-learn defines it; NaN where the truth is empty."""
        true = int(np.count_nonzero(truth))
        if not true:
            return float("nan")
        found, reach = self.per_level(truth), np.append(self.starts[1:], len(self.order))
        if len(self.order) < self.size:  # level 0
            found, reach = np.append(found, true - found.sum()), np.append(reach[: len(found)], self.size)
        return float(np.sum(found.cumsum() / reach * found) / true)

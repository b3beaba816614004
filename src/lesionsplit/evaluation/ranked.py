"""A heat map's pixels from the highest level to the lowest, sorted once for all that is counted of it.

Most of a heat map is 0, and what is at level 0 needs no sorting, only counting.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lesionsplit.errors import DataError
from lesionsplit.images import Float, Mask
from lesionsplit.reading import LEVELS, to_levels


class Ranked(NamedTuple):
    """The pixels of one heat map that are above level 0, in runs of one level each."""

    order: npt.NDArray[np.intp]
    """(n,), where they are in the flattened heat map; the highest level first."""

    levels: npt.NDArray[np.int64]
    """(runs,), the levels that occur, from the highest to the lowest."""

    starts: npt.NDArray[np.intp]
    """(runs,), where each level begins in ``order``."""

    size: int
    """Pixels of the heat map, those at level 0 included."""

    @classmethod
    def of(cls, score: Float) -> Ranked:
        """Sort the pixels of a heat map, 0 to 1, of any shape.

        Raises:
            DataError: some are not numbers.
        """
        flat = score.ravel()
        if np.isnan(flat).any():
            raise DataError("a heat map has pixels that are not numbers (NaN); mend the method that made it")
        above = np.flatnonzero(flat > 0)
        levels = to_levels(flat[above]).astype(np.uint16)
        falling = np.argsort(~levels, kind="stable")  # a radix sort: there are 16 bits
        order, ranked = above[falling], levels[falling].astype(np.int64)
        kept = np.count_nonzero(ranked)  # what is rounded to 0 comes last
        starts = np.flatnonzero(np.diff(ranked[:kept], prepend=-1))
        return cls(order[:kept], ranked[starts], starts, flat.size)

    def reaching(self, level: int) -> Ranked:
        """What reaches a level, which is above 0, as a heat map of its own: of 1 there, and 0 elsewhere."""
        runs = int(np.count_nonzero(self.levels >= level))
        pixels = self.starts[runs] if runs < len(self.starts) else len(self.order)
        one = slice(0, min(runs, 1))
        return Ranked(self.order[:pixels], np.full(1, LEVELS - 1)[one], self.starts[one], self.size)

    def per_level(self, mask: Mask) -> npt.NDArray[np.int64]:
        """How many pixels of each level lie in a mask of the heat map's shape, (runs,)."""
        inside = mask.ravel()[self.order]
        counts: npt.NDArray[np.int64] = np.add.reduceat(inside, self.starts, dtype=np.int64)
        return counts

    def average_precision(self, truth: Mask) -> float:
        """Average precision as scikit-learn defines it; NaN where nothing is true."""
        true = int(np.count_nonzero(truth))
        if not true:
            return float("nan")
        found, reach = self.per_level(truth), np.append(self.starts[1:], len(self.order))
        if len(self.order) < self.size:  # level 0
            found, reach = np.append(found, true - found.sum()), np.append(reach[: len(found)], self.size)
        return float(np.sum(found.cumsum() / reach * found) / true)

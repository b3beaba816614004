"""The threshold of heat maps, set on normal slices and without any mask."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from lesionsplit.data.table import Table
from lesionsplit.errors import DataError
from lesionsplit.images import Float, Mask
from lesionsplit.scores import LEVELS, to_levels

CALIBRATION_FPR = 0.005
"""Fraction of the lung of normal slices that may reach the threshold."""


def calibration_slices(table: Table) -> Table:
    """The normal slices on which a threshold is set: those of val, else of train, else of test.

    Raises:
        DataError: there is none.
    """
    normal = table.labelled("normal")
    if not len(normal):
        raise DataError(f"{table.root}: has no normal slice; a threshold is set on normal slices")
    splits = {row.split for row in normal}
    chosen = next(split for split in ("val", "train", "test") if split in splits)
    return normal.select(lambda row: row.split == chosen)


def threshold_from_normals(scored: Iterable[tuple[Float, Mask]], fpr: float = CALIBRATION_FPR) -> float:
    """The lowest score that at most a fraction of the lung of normal slices reaches.

    Args:
        scored: heat map (0 to 1) and lungs of each normal slice.
        fpr: fraction of all their lung pixels, 0 to 1.
    """
    counts = np.zeros(LEVELS, dtype=np.int64)
    for score, lungs in scored:
        counts += np.bincount(to_levels(score[lungs]), minlength=LEVELS)
    return threshold_from_counts(counts, fpr)


def threshold_from_counts(counts: npt.NDArray[np.int64], fpr: float) -> float:
    """The lowest level above 0, as a score, that at most a fraction ``fpr`` of the counted pixels reaches."""
    reaching = counts[::-1].cumsum()[::-1] / counts.sum()
    low_enough = np.flatnonzero(reaching[1:] <= fpr) + 1
    level = int(low_enough[0]) if len(low_enough) else len(counts) - 1
    return level / (len(counts) - 1)

"""What is computed from a heat map: a mask, its fraction of the lungs, and one score for the slice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lesionsplit.images import Float, Mask

LEVELS = 65536
"""Scores are counted in steps of 1 / 65535, as in files."""

TOP_SHARE = 0.01
"""The slice score is the mean over this fraction of the lung, where the heat map is highest."""

CALLED_NORMAL, CALLED_NORMAL_OF_IMAGES = 0.01, 1e-9
"""A slice with a smaller lesion fraction than the first counts as normal (Chaganti et al. 2020); an image of other
things with none at all."""


def to_levels(score: Float) -> npt.NDArray[np.int64]:
    """Scores 0 to 1, of any shape, as whole levels, 0 to 65535; values outside are clipped."""
    return np.rint(np.clip(score, 0, 1) * np.float64(LEVELS - 1)).astype(np.int64)


def lesion_mask(score: Float, threshold: float) -> Mask:
    """Where the score is at least the threshold, which is above 0."""
    return score >= np.float32(threshold)


def lesion_fraction(mask: Mask, lungs: Mask) -> float:
    """Fraction of the lungs' pixels that the mask covers, 0 to 1; 0 without lungs."""
    if not lungs.any():
        return 0.0
    return float(np.count_nonzero(mask & lungs) / np.count_nonzero(lungs))


def slice_score(score: Float, lungs: Mask) -> float:
    """Mean score over the highest hundredth of the lungs' pixels, 0 to 1; 0 without lungs."""
    inside = score[lungs]
    if not len(inside):
        return 0.0
    top = max(1, round(TOP_SHARE * len(inside)))
    return float(np.partition(inside, len(inside) - top)[-top:].mean())

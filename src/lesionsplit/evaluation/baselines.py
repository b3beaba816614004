"""Heat maps without any training, which a learnt one has to beat."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from scipy import ndimage

from lesionsplit.images import Float, Mask

HeatMap: TypeAlias = Callable[[Float, Mask], Float]
"""From a slice of about 256 pixels, grey as a fraction of full scale, and its lungs to scores 0 to 1."""

OPENING = 7
"""Pixels at 256 on the frame's longer side: wider than nearly all vessels, narrower than most lesions."""

SIGMA = 2.0
"""Of the smoothing after the opening, in the same pixels."""

BROADLY = 4.5
"""Sigma of `smoothing`, in the same pixels: so wide that a vessel leaves little."""

BRIGHTEST = 90 / 255
"""Grey above the lung's median, as a fraction of full scale, beyond which brighter counts no more.

A vessel is brighter than most lesion; without a limit it would outweigh the lung around it.
"""


def opening(grey: Float, lungs: Mask) -> Float:
    """Grey opening less the lung's median, smoothed within the lungs; (rows, columns), 0 to 1.

    Args:
        grey: a slice of about 256 pixels, as a fraction of full scale.
        lungs: its lungs, at least one pixel.
    """
    opened = ndimage.grey_opening(grey, size=(OPENING, OPENING))
    brighter = np.where(lungs, np.clip(opened - np.median(grey[lungs]), 0, None), 0)
    inside = ndimage.gaussian_filter(lungs.astype(np.float32), SIGMA)
    smooth = ndimage.gaussian_filter(brighter.astype(np.float32), SIGMA) / np.maximum(inside, 1e-3)
    return np.where(lungs, np.clip(smooth, 0, 1), 0).astype(np.float32)


def smoothing(grey: Float, lungs: Mask) -> Float:
    """Grey above the lung's median, at most `BRIGHTEST`, averaged over the lung around; (rows, columns), 0 to 1.

    With m the median of the lungs and w a Gaussian of `BROADLY`, for each pixel p of the lungs, over their pixels q::

        score(p) = max(0, sum_q w(p - q) min(grey(q) - m, BRIGHTEST) / (BRIGHTEST sum_q w(p - q)))

    so that 1 is a neighbourhood all of which is at least `BRIGHTEST` above the median, in any slice. Darker than the
    median counts against brighter: air around a vessel takes back what the vessel adds.

    Args:
        grey: a slice of about 256 pixels, as a fraction of full scale.
        lungs: its lungs, at least one pixel.
    """
    above = np.where(lungs, np.minimum(grey - np.median(grey[lungs]), BRIGHTEST) / BRIGHTEST, 0).astype(np.float64)
    # beyond the frame there is no lung, so nothing is mirrored there
    total = ndimage.gaussian_filter(above, BROADLY, mode="constant")
    inside = ndimage.gaussian_filter(lungs.astype(np.float64), BROADLY, mode="constant")
    score: Float = np.zeros(grey.shape, dtype=np.float32)
    score[lungs] = np.clip(total[lungs] / inside[lungs], 0, 1)
    return score


UNTRAINED: dict[str, HeatMap] = {"opening": opening, "smoothing": smoothing}
"""By the name that tables give them."""

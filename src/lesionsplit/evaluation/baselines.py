"""Heat maps without training, the baselines for trained methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from scipy import ndimage

from lesionsplit.images import Float, Mask

HeatMap: TypeAlias = Callable[[Float, Mask], Float]
"""From the grey of a slice of about 256 pixels, as a fraction of full scale, and its lungs to scores 0 to 1."""

OPENING = 7
"""Pixels at 256 on the frame's longer side: wider than nearly all vessels, narrower than most lesions."""

SIGMA = 2.0
"""Sigma of the smoothing after the opening, in the same pixels."""

BROADLY = 4.5
"""Sigma of `smoothing`, in the same pixels: so wide that vessels hardly count."""

BRIGHTEST = 90 / 255
"""Upper limit of the grey above the lung's median, as a fraction of full scale.

Vessels are brighter than most lesions; without a limit they would outweigh the lung around them.
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
    return np.where(lungs, smooth, 0).astype(np.float32)


def smoothing(grey: Float, lungs: Mask) -> Float:
    """Grey above the lung's median, at most `BRIGHTEST`, averaged over the lung around; (rows, columns), 0 to 1.

    With m the median of the lungs and w a Gaussian of `BROADLY`, for each pixel p of the lungs, over their pixels q::

        score(p) = max(0, sum_q w(p - q) min(grey(q) - m, BRIGHTEST) / (BRIGHTEST sum_q w(p - q)))

    A score of 1 is a neighbourhood that is at least `BRIGHTEST` above the median everywhere, in any slice. Pixels
    darker than the median lower the score: air around a vessel cancels what the vessel adds.

    Args:
        grey: a slice of about 256 pixels, as a fraction of full scale.
        lungs: its lungs, at least one pixel.
    """
    above = np.where(lungs, np.minimum(grey - np.median(grey[lungs]), BRIGHTEST) / BRIGHTEST, 0).astype(np.float64)
    # nothing is mirrored, because there is no lung beyond the frame
    total = ndimage.gaussian_filter(above, BROADLY, mode="constant")
    inside = ndimage.gaussian_filter(lungs.astype(np.float64), BROADLY, mode="constant")
    score: Float = np.zeros(grey.shape, dtype=np.float32)
    score[lungs] = np.maximum(total[lungs] / inside[lungs], 0)
    return score


def deviation(grey: Float, region: Mask) -> Float:
    """How far the smoothed grey is from the median of the region; (rows, columns), 0 to 1.

    Args:
        grey: an image of about 256 pixels, as a fraction of full scale; the mean of its channels.
        region: what counts of it, at least one pixel.
    """
    smooth = ndimage.gaussian_filter(np.where(region, grey - np.median(grey[region]), 0), SIGMA)
    score: Float = np.where(region, np.abs(smooth).clip(0, 1), 0).astype(np.float32)
    return score


UNTRAINED: dict[str, HeatMap] = {"opening": opening, "smoothing": smoothing, "deviation": deviation}
"""By their name in tables."""

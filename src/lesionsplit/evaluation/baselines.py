"""Heat maps without any training, which a learnt one has to beat."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lesionsplit.images import Float, Mask

OPENING = 7
"""Pixels at 256 on the frame's longer side: wider than nearly all vessels, narrower than most lesions."""

SIGMA = 2.0
"""Of the smoothing, in the same pixels."""


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

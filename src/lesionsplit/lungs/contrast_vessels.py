"""Find contrast-enhanced heart and vessels at the hila, which the network includes in the lungs."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lesionsplit.images import Float, Mask

ENHANCED = 130.0
"""HU above which a coarse pixel, averaged over 5 mm, is enhanced blood or bone. Enhanced consolidation stays below
90 HU, collapsed lung mostly below 120."""

DENSE = -100.0
"""HU above which a neighbour of such a pixel belongs to it."""

AROUND = np.ones((1, 3, 3), dtype=bool)


def contrast_vessels(lungs: Mask, hu: Float) -> Mask:
    """The part of the coarse lungs that is enhanced blood: the heart's edge and the vessels at the hila.

    It is connected, in three dimensions, to equally dense tissue outside the lungs; nodules and calcifications in
    the lungs are not. In scans without contrast the mask is empty. All arrays are (K, SIDE, SIDE).
    """
    regions, count = ndimage.label(hu > ENHANCED)
    outside = np.zeros(count + 1, dtype=bool)
    outside[np.unique(regions[~lungs])] = True
    outside[0] = False
    blood = outside[regions]
    margin = ndimage.binary_dilation(blood & lungs, AROUND) & (hu > DENSE)
    found: Mask = lungs & (blood | margin)
    return found

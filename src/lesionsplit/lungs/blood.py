"""Heart and great vessels full of contrast, which a lung mask that keeps disease also takes in at the hila."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lesionsplit.images import Float, Mask

ENHANCED = 130.0
"""HU above which, over the 5 mm that a pixel of the canvas averages, something is blood with contrast or bone.
Consolidation with contrast stays below 90 HU, collapsed lung mostly below 120."""

DENSE = -100.0
"""HU above which a pixel next to that is its rim."""

AROUND = np.ones((1, 3, 3), dtype=bool)


def enhanced_blood(lungs: Mask, hu: Float) -> Mask:
    """What of lungs on the canvas is blood with contrast: the heart's edge and the vessels at the hila.

    It hangs together, in three dimensions, with what is as dense outside of the lungs; nodules and calcified spots
    in the lungs do not. Without contrast there is none. All are (K, SIDE, SIDE).
    """
    regions, count = ndimage.label(hu > ENHANCED)
    outside = np.zeros(count + 1, dtype=bool)
    outside[np.unique(regions[~lungs])] = True
    outside[0] = False
    blood = outside[regions]
    rim = ndimage.binary_dilation(blood & lungs, AROUND) & (hu > DENSE)
    found: Mask = lungs & (blood | rim)
    return found

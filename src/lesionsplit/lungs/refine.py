"""The edge of the lungs at full resolution: from the CT where it is visible, else the coarse one."""

from __future__ import annotations

from scipy import ndimage

from lesionsplit.data.lung_slice import fill_holes
from lesionsplit.images import Float, Mask

AERATED = -350.0
"""HU midway between ground glass and the chest wall."""

OUTMOST, INMOST = 0.15, 0.85
"""The edge is refined where the coarse share is between these: about one coarse pixel to either side."""

OVERSHOOT_MM = 1.5
"""Tissue at the coarse edge within this distance of aerated lung is chest wall, not disease."""

CROSS = ndimage.generate_binary_structure(2, 1)


def refine_edge(share: Float, hu: Float, pixel_mm: float) -> Mask:
    """Refine the lungs in a window of a slice, (rows, columns).

    Aerated lung just outside the coarse edge is added; chest wall just inside it is removed. Far from aerated
    lung, in disease as dense as the wall, the coarse edge is kept.

    Args:
        share: lung fraction of each pixel, 0 to 1, resampled from the coarse grid.
        hu: the slice.
        pixel_mm: its pixel size.
    """
    inside = share > 0.5
    if not inside.any():
        return inside
    aerated = hu < AERATED
    found = ndimage.binary_propagation(inside & aerated, CROSS, mask=aerated & (share > OUTMOST))
    reach = round(OVERSHOOT_MM / pixel_mm)
    beside = ndimage.binary_dilation(found, CROSS, iterations=reach) if reach else found
    wall = ~aerated & (share < INMOST) & beside
    found |= inside & ~wall
    whole: Mask = found | (fill_holes(found) & inside)
    return whole

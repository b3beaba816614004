"""The lungs' edge at full resolution: where the CT has one, and the coarse one where disease hides it."""

from __future__ import annotations

from scipy import ndimage

from lesionsplit.data.lungs import fill_holes
from lesionsplit.images import Float, Mask

AERATED = -350.0
"""HU halfway from hazy lung to the chest wall."""

OUTMOST, INMOST = 0.15, 0.85
"""Coarse shares between which the edge is looked for: about a pixel of the canvas to either side."""

OVERSHOOT_MM = 1.5
"""Tissue this near to aerated lung, at the coarse edge, is the wall and not disease."""

CROSS = ndimage.generate_binary_structure(2, 1)


def sharpen(share: Float, hu: Float, pixel_mm: float) -> Mask:
    """The lungs in (a window of) a slice, (rows, columns).

    Aerated lung just outside of the coarse edge is taken in and wall just inside of it is left out. Where no
    aerated lung is near, in disease as dense as the wall, the coarse edge stays as it is.

    Args:
        share: how far each pixel is lung, 0 to 1, from the canvas.
        hu: the slice.
        pixel_mm: size of its pixels.
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

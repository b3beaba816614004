"""Operations on masks that finding the body and the lungs needs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from lesionsplit.data.lung_slice import bounding_box
from lesionsplit.images import Mask

AROUND = 0.3
"""Minimum fraction of the frame's edge that is air around the body; less is lung or the corners of a close crop."""


def largest(mask: Mask) -> Mask:
    """The largest connected component of a mask of any dimension; the mask itself if it is empty."""
    for box, piece in large_pieces(mask, 1.0):
        found = np.zeros_like(mask)
        found[box] = piece
        return found
    return mask


def large_pieces(mask: Mask, share: float) -> Iterator[tuple[tuple[slice, ...], Mask]]:
    """Connected components of at least a share of the size of the largest: the bounding box, the component in it."""
    regions, count = ndimage.label(mask)
    sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
    for number, box in enumerate(ndimage.find_objects(regions)):
        if sizes[number] >= share * sizes.max():
            yield box, regions[box] == number + 1


def outside_air(dark: Mask) -> Mask:
    """The air around the body: the dark components of a slice, (rows, columns), that contain a corner of the frame.

    Empty if they fill little of the frame's edge, because lungs reach the corners of a close crop.
    """
    regions, _ = ndimage.label(dark)
    corners = {int(regions[row, column]) for row in (0, -1) for column in (0, -1)} - {0}
    found: Mask = np.isin(regions, list(corners))
    edge = np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
    return found if edge.mean() > AROUND else np.zeros_like(found)


def close(mask: Mask, radius: float) -> Mask:
    """Binary closing of a mask, (rows, columns), not empty, by a disc of ``radius`` pixels."""
    top, left, rows, columns = bounding_box(mask)
    box = slice(top, top + rows), slice(left, left + columns)
    margin = int(radius) + 1
    grown = ndimage.distance_transform_edt(~np.pad(mask[box], margin)) <= radius
    closed = np.zeros_like(mask)
    closed[box] = (ndimage.distance_transform_edt(grown) > radius)[margin:-margin, margin:-margin]
    return closed


def convex_hull(mask: Mask) -> Mask:
    """The convex hull of a mask, (rows, columns); a copy of the mask if its pixels lie on one line."""
    points = np.argwhere(mask & ~ndimage.binary_erosion(mask))
    try:
        corners = points[ConvexHull(points).vertices]
    except (QhullError, ValueError):  # on one line; too few
        return mask.copy()
    page = Image.new("1", (mask.shape[1], mask.shape[0]))
    ImageDraw.Draw(page).polygon([(int(column), int(row)) for row, column in corners], fill=1, outline=1)
    return np.array(page, dtype=bool)

"""Lungs in a raw slice, one that nobody has lung-masked, by thresholds and morphology.

Nothing is known of the grey scale but that air is darker than tissue. Lengths are shares of the
body's width, so that the size of a pixel need not be known either.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from lesionsplit.data.lungs import bounding_box, fill_holes
from lesionsplit.errors import DataError
from lesionsplit.images import Float, Grey, Mask, as_float

SMOOTHING = 0.004
"""Sigma, against noise: tissue is to be one piece."""

SPECK = 0.008
"""Radius of the largest air that is no lung: cracks between organs, noise."""

CLOSING = 0.04
"""Radius up to which what lies between air of a lung is that lung: vessels, dense disease, pleura."""

ORGAN = 0.06
"""Radius of the smallest tissue between air that is not disease but the liver's dome, or the heart."""

SMALL = 0.02
"""Share of the body up to which a piece of air is no lung if it lies where other air may be: between the
lungs (trachea, bronchi, oesophagus) or at the frame's edge (outside the skin)."""

BIT = 0.1
"""Share of a side's largest piece below which another piece far from it is no lung."""

COSTAL = 0.03
"""How near the hull of both lungs a lung's own hull is where it lies against the ribs."""

SMALLEST = 0.03
"""Share of the body below which there is no lung."""

Distances: TypeAlias = npt.NDArray[np.float64]

LEVELS = 256
RAYS = 720

NO_LUNG = (
    "no lung found: there is hardly any air inside a body; give raw axial slices through the chest, air dark and "
    "tissue bright"
)


def find_lungs_raw(image: Grey) -> Mask:
    """The lungs of a raw axial slice, (rows, columns): air in the body, and disease that touches or interrupts it.

    Disease as dense as muscle is found as far as it lies between aerated lung and its convex hull, up to an
    eighth of the body's width; a lobe without any air is not.

    Raises:
        DataError: no lung is found.
    """
    body, air = _body_and_air(as_float(image))
    if not body.any():
        raise DataError(NO_LUNG)
    width = bounding_box(body)[3]
    lung_air = _lung_air(air, body, width)
    sides, centre = _sides(lung_air, body)
    rays = _Rays(lung_air.shape, centre)
    costal = rays.farthest(_hull(lung_air)) - COSTAL * width
    lungs = np.zeros_like(body)
    for side in sides:
        lungs |= _whole_lung(side, rays, costal, width) & body
    if lungs.sum() < SMALLEST * body.sum():
        raise DataError(NO_LUNG)
    return lungs


def otsu(histogram: npt.NDArray[np.int64]) -> int:
    """The last bin of the darker class, of the split with the largest variance between classes."""
    levels = np.arange(len(histogram))
    below = histogram.cumsum().astype(np.float64)
    moment = (histogram * levels).cumsum().astype(np.float64)
    above = below[-1] - below
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = moment / below - (moment[-1] - moment) / above
        between = np.where((below > 0) & (above > 0), below * above * gap**2, -1)
    return int(between.argmax())


def _body_and_air(grey: Float) -> tuple[Mask, Mask]:
    """The body with all that is in it, and the air in it; the body may be empty."""
    smooth = ndimage.gaussian_filter(grey, SMOOTHING * grey.shape[1])
    whole = ~_outside(smooth <= _threshold(smooth.ravel()))
    dark = smooth <= _threshold(smooth[whole])  # again: black around the body pulls the first one down
    body = _largest(~_outside(dark))
    if 2 * body.sum() < whole.sum():  # without air in it, the darker of two classes is muscle, the other bone
        body = np.zeros_like(body)
    return body, dark & body


def _threshold(values: Float) -> float:
    """Between air and tissue, nearer to tissue: ground glass is to be lung."""
    histogram, edges = np.histogram(values, LEVELS, (0, 1))
    split = float(edges[otsu(histogram) + 1])
    tissue = values[values > split]
    return (split + float(np.median(tissue))) / 2 if len(tissue) else split


def _outside(air: Mask) -> Mask:
    """Air around the body: what reaches a corner of the frame. Lungs that a crop cuts reach its sides only."""
    regions, _ = ndimage.label(air)
    corners = {int(regions[row, column]) for row in (0, -1) for column in (0, -1)} - {0}
    found: Mask = np.isin(regions, list(corners))
    return found


def _sizes(regions: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Pixels of each region by its number; 0 of the background."""
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    return sizes


def _largest(mask: Mask) -> Mask:
    regions, count = ndimage.label(mask)
    largest: Mask = regions == _sizes(regions).argmax()
    return largest if count else mask


def _without_bits(side: Mask) -> Mask:
    """Without pieces that are small beside the largest: bowel, stomach, folds of skin."""
    regions, _ = ndimage.label(side)
    sizes = _sizes(regions)
    found: Mask = side & (sizes >= BIT * sizes.max())[regions]
    return found


def _lung_air(air: Mask, body: Mask, width: int) -> Mask:
    """Air of lungs: no specks, no airways between the lungs."""
    opened = _erode(air, SPECK * width)
    regions, count = ndimage.label(_dilate(opened, SPECK * width) & air)
    if not count:
        return air & False
    numbers = np.arange(1, count + 1)
    columns = np.array([at[1] for at in ndimage.center_of_mass(regions, regions, numbers)])
    central = np.abs((columns - bounding_box(body)[1]) / width - 0.5) < 0.15
    edge = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    small = _sizes(regions)[1:] < SMALL * body.sum()
    found: Mask = np.isin(regions, numbers[~(small & (central | np.isin(numbers, edge)))])
    return found


def _sides(air: Mask, body: Mask) -> tuple[list[Mask], tuple[float, float]]:
    """The air of each lung, and a point between them (row, column)."""
    _, left, _, width = bounding_box(body)
    if not air.any():
        return [], (0.0, 0.0)
    third = slice(left + round(0.35 * width), left + round(0.65 * width) + 1)
    filled = ndimage.gaussian_filter1d(air.sum(axis=0).astype(np.float64), 0.02 * width)
    middle = third.start + int(filled[third].argmin())
    regions, count = ndimage.label(air)
    sides = [np.zeros_like(air), np.zeros_like(air)]
    columns = np.arange(air.shape[1])
    for number in range(1, count + 1):
        region = regions == number
        right_of = region[:, middle:].sum() / region.sum()
        if 0.1 < right_of < 0.9:  # lungs that touch in front of the heart
            sides[0] |= region & (columns < middle)
            sides[1] |= region & (columns >= middle)
        else:
            sides[int(right_of > 0.5)] |= region
    row = float(np.flatnonzero(air.any(axis=1)).mean())
    return [side for side in sides if side.any()], (row, float(middle))


def _whole_lung(air: Mask, rays: _Rays, costal: Distances, width: int) -> Mask:
    """A lung from its air: with vessels and disease in it and at its outer surface."""
    air = air & _without_bits(_close(air, CLOSING / 2 * width))
    closed = _close(air, CLOSING * width)
    candidates = (fill_holes(closed) | _outward(air, rays, costal, 2 * ORGAN * width)) & ~closed
    organ = _dilate(_erode(candidates, ORGAN * width), 2 * ORGAN * width)
    whole = _close(closed | (candidates & ~organ), SPECK * width)  # slits between rays
    return _fill_narrow_holes(whole, ORGAN * width)


def _fill_narrow_holes(mask: Mask, radius: float) -> Mask:
    """Add the holes in which no disc of ``radius`` has room."""
    regions, count = ndimage.label(fill_holes(mask) & ~mask)
    if not count:
        return mask
    numbers = np.arange(1, count + 1)
    room = ndimage.maximum(ndimage.distance_transform_edt(~mask), regions, numbers)
    filled: Mask = mask | np.isin(regions, numbers[room <= radius])
    return filled


def _outward(air: Mask, rays: _Rays, costal: Distances, deepest: float) -> Mask:
    """What of the lung's convex hull lies behind its air, seen from between the lungs, where the hull is at the ribs.

    Towards the ribs a lung is convex, so what is missing there is disease; towards heart and spine it is not.
    Where more than ``deepest`` is missing it is an organ, along the lung's tip.
    """
    hull = _hull(air)
    ray = rays.number
    end, last = rays.farthest(hull), rays.farthest(air)
    wanted = (last > 0) & (end >= costal) & (end - last <= deepest)
    found: Mask = hull & wanted[ray] & (rays.distance >= last[ray])
    return found


class _Rays:
    """All directions from a point, and how far along them a mask reaches."""

    def __init__(self, shape: tuple[int, ...], centre: tuple[float, float]) -> None:
        rows, columns = np.indices(shape)
        down, right = rows - centre[0], columns - centre[1]
        self.distance: Distances = np.hypot(down, right)
        self.number = ((np.arctan2(down, right) / (2 * np.pi) + 0.5) * RAYS).astype(np.int64) % RAYS

    def farthest(self, mask: Mask) -> Distances:
        """Of each ray, the distance to where it leaves the mask for good, (rays,); 0 where it does not meet it."""
        found = np.zeros(RAYS)
        np.maximum.at(found, self.number[mask], self.distance[mask])
        return found


def _hull(mask: Mask) -> Mask:
    if not mask.any():
        return mask
    points = np.argwhere(mask & ~ndimage.binary_erosion(mask))
    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:  # all on one line
        return mask
    page = Image.new("1", (mask.shape[1], mask.shape[0]))
    ImageDraw.Draw(page).polygon([(int(column), int(row)) for row, column in corners], fill=1, outline=1)
    return np.array(page, dtype=bool)


def _close(mask: Mask, radius: float) -> Mask:
    margin = int(np.ceil(radius)) + 1  # a crop's edge is no edge of the lung
    padded = np.pad(mask, margin)
    closed: Mask = _erode(_dilate(padded, radius), radius)[margin:-margin, margin:-margin]
    return closed | mask


def _dilate(mask: Mask, radius: float) -> Mask:
    """All within ``radius`` pixels of the mask."""
    if not mask.any():
        return mask
    grown: Mask = ndimage.distance_transform_edt(~mask) <= radius
    return grown


def _erode(mask: Mask, radius: float) -> Mask:
    """All further than ``radius`` pixels from outside the mask."""
    if mask.all():
        return mask
    shrunk: Mask = ndimage.distance_transform_edt(mask) > radius
    return shrunk

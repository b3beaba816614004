"""Lungs by thresholds and morphology in three dimensions, on the canvas: without any network.

The check on the network and its fallback, and, of healthy chests, what it is trained on.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from lesionsplit.data.lungs import bounding_box
from lesionsplit.images import Float, Mask
from lesionsplit.lungs.canvas import AIR, MM, TISSUE, largest
from lesionsplit.lungs.levels import outside_air
from lesionsplit.lungs.sides import split_sides
from lesionsplit.volumes.findings import LEFT, RIGHT

AERATED = -400.0
"""HU below which something is air or lung."""

MAIN = 0.3
"""Share of the largest piece from which a piece is one of the main ones."""

GAS_QUARTILE, GAS_MEDIAN, SMALL_GAS_QUARTILE = 25.0, 45.0, 60.0
"""HU above the air around the body: main pieces whose darker quartile and median are below, and others whose
darker quartile is, are gas. Lungs with emphysema are as dark in parts only."""

USUAL_AIR, DARKEST_AIR, BRIGHTEST_AIR = -1000.0, -1020.0, -920.0
"""HU of air where none is around the body; what is darker is padding or clipped, what is brighter clothes and foam."""

NEAR = 10
"""Pixels of the canvas around the body whose air is looked at."""

CIRCLE, CLIPPED = 0.95, 0.03
"""Share of the frame's half axes within which scanners leave no padding, and share of the air there above which what
is darker than `DARKEST_AIR` is air that the end of the scale clips."""

AIRWAY_DARK = -940.0
"""HU that an airway's darkest pixel is below."""

AIRWAY_MM2 = 1000.0
"""Area of a slice's air, in the middle of the body, up to which it is an airway, not lung."""

CLOSING = 5
"""Pixels of the canvas up to twice which what lies between aerated lung is lung."""

LARGEST_HOLE_MM2 = 2500.0
"""Area, of the largest slice through it, up to which what lungs enclose is lung."""

WIDE, AT_RIBS = 9, 8
"""Pixels of the canvas: as `CLOSING`, at the ribs, and how deep from the hull of both lungs that is."""

PIECE = 0.01
"""Share of all lung below which a piece is none."""

SMALLEST_MM2 = 600.0
"""Area that the slice with the most lung must have."""

DISC = np.hypot(*np.mgrid[-CLOSING : CLOSING + 1, -CLOSING : CLOSING + 1]) <= CLOSING + 0.3


def threshold_lungs(shrunk: Float, frame: Mask, bodies: Mask | None = None) -> Mask:
    """The lungs of a volume on the canvas, (K, SIDE, SIDE); empty where there is no lung.

    Dense disease is in only as far as it lies between aerated lung.

    Args:
        shrunk: (K, SIDE, SIDE), HU above `AIR`, see `Canvas.shrink`.
        frame: (SIDE, SIDE), what the slices fill.
        bodies: `body_of` each, if that is known already.
    """
    hu = shrunk + np.float32(AIR)
    if bodies is None:
        bodies = np.stack([body_of(image, frame) for image in hu])
    air = np.stack([_without_airways(*slices) for slices in zip(hu, bodies, strict=True)])
    return closed_sides(lung_pieces(air, hu, bodies, frame), bodies)


def closed_sides(lungs: Mask, bodies: Mask) -> Mask:
    """Lungs on the canvas with what lies between aerated parts of one lung, and what they enclose; (K, SIDE, SIDE)."""
    sides = split_sides(lungs, bodies)
    closed = np.zeros_like(lungs)
    for number, side in enumerate(sides):
        for label in (RIGHT, LEFT):
            if (side == label).any():
                closed[number] |= _close(side == label)
    return fill_enclosed(closed & bodies)


def fill_enclosed(lungs: Mask) -> Mask:
    """Lungs on the canvas, (K, SIDE, SIDE), with what they enclose in three dimensions: vessels, nodules, disease.

    The dome of the diaphragm is a hole in some slices; it hangs together with the rest and stays one.
    """
    regions, count = ndimage.label(~lungs)
    if count < 2:
        return lungs
    areas = np.zeros(count + 1, np.int64)  # of each piece, in the slice with the most of it
    for one in regions:
        np.maximum(areas, np.bincount(one.ravel(), minlength=count + 1), out=areas)
    filled: Mask = lungs | (areas * MM**2 < LARGEST_HOLE_MM2)[regions]
    return filled


def fill_at_ribs(lungs: Mask, bodies: Mask) -> Mask:
    """Lungs on the canvas, (K, SIDE, SIDE), with dense disease at the ribs: nodules, patches on the pleura.

    Towards the ribs a lung is convex, and what a wide closing adds to it there is lung; towards heart, spine
    and diaphragm it is not.
    """
    sides = split_sides(lungs, bodies)
    whole = lungs.copy()
    for number in np.flatnonzero(lungs.any(axis=(1, 2))):
        hull = _hull(lungs[number])
        at_ribs = hull & ~ndimage.binary_erosion(hull, iterations=AT_RIBS)
        for label in (RIGHT, LEFT):
            if (sides[number] == label).any():
                whole[number] |= _close_wide(sides[number] == label) & at_ribs
    return whole & bodies


def body_of(hu: Float, frame: Mask) -> Mask:
    """The body of a slice with the air in it, (SIDE, SIDE): all but the air around it, see `outside_air`."""
    solid = ndimage.binary_opening((hu > TISSUE) | ~frame, np.ones((3, 3)), border_value=0) | ~frame
    top, left, rows, columns = bounding_box(frame)
    box = slice(top, top + rows), slice(left, left + columns)
    body = np.zeros_like(frame)
    body[box] = largest(~outside_air(~solid[box]))
    return body


def _without_airways(hu: Float, body: Mask) -> Mask:
    """Air in the body of one slice, less dark and small pieces in its middle."""
    air = (hu < AERATED) & body
    regions, count = ndimage.label(air)
    if not count:
        return air
    where = regions[air]
    areas = np.bincount(where, minlength=count + 1) * MM**2
    columns = np.bincount(where, np.nonzero(air)[1], minlength=count + 1) * MM**2 / np.maximum(areas, 1)
    darkest = np.zeros(count + 1)
    np.minimum.at(darkest, where, hu[air])
    filled = np.flatnonzero(body.any(axis=0))
    aside = np.abs(columns - np.average(filled, weights=body.sum(axis=0)[filled]))
    airway = (areas < AIRWAY_MM2) & (aside < 0.15 * len(filled)) & (darkest < AIRWAY_DARK)
    found: Mask = air & ~airway[regions]
    return found


def lung_pieces(air: Mask, hu: Float, bodies: Mask, frame: Mask) -> Mask:
    """Those connected pieces, in three dimensions, that are lung: no crumbs, no gas.

    Args:
        air: (K, SIDE, SIDE), what may be lung.
        hu: (K, SIDE, SIDE).
        bodies: (K, SIDE, SIDE), `body_of` each.
        frame: (SIDE, SIDE), what the slices fill.
    """
    regions, count = ndimage.label(air)
    if not count:
        return air
    sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
    boxes = ndimage.find_objects(regions)
    usual = _air_around(hu, bodies, frame)
    lung = []
    for number in np.flatnonzero(sizes >= PIECE * sizes.max()):
        quartile, median = np.quantile(hu[boxes[number]][regions[boxes[number]] == number + 1], [0.25, 0.5])
        if sizes[number] >= MAIN * sizes.max():
            gas = quartile < usual + GAS_QUARTILE and median < usual + GAS_MEDIAN
        else:
            gas = quartile < usual + SMALL_GAS_QUARTILE
        if not gas:
            lung.append(number + 1)
    found: Mask = np.isin(regions, lung)
    if found.sum(axis=(1, 2)).max() * MM**2 < SMALLEST_MM2:
        return np.zeros_like(found)
    return found


def _air_around(hu: Float, bodies: Mask, frame: Mask) -> float:
    """HU of the air close to the bodies: scanners are off by some tens.

    Padding does not count. Air that is clipped at the end of the scale does, or clothes alone were left of it; it has
    the same value, but is not only where the scanner sees nothing.
    """
    size = 2 * NEAR + 1
    near = ndimage.maximum_filter(bodies, (1, size, size)) & ~bodies & (hu < AERATED)
    air, sure = hu[near], hu[near & _circle(frame)]
    if not sure.size or np.mean(sure <= DARKEST_AIR) < CLIPPED:
        air = air[air > DARKEST_AIR]
    return min(float(np.quantile(air, 0.2)), BRIGHTEST_AIR) if air.size else USUAL_AIR


def _circle(frame: Mask) -> Mask:
    """(SIDE, SIDE): the ellipse in the frame, a little smaller than it fits."""
    top, left, rows, columns = bounding_box(frame)
    row, column = np.ogrid[: frame.shape[0], : frame.shape[1]]
    down, right = (row - top + 0.5) / rows * 2 - 1, (column - left + 0.5) / columns * 2 - 1
    inside: Mask = np.hypot(down, right) < CIRCLE
    return inside


def _close(mask: Mask) -> Mask:
    top, left, rows, columns = bounding_box(mask)
    box = slice(top, top + rows), slice(left, left + columns)
    closed = np.zeros_like(mask)
    closed[box] = ndimage.binary_closing(np.pad(mask[box], CLOSING), DISC)[CLOSING:-CLOSING, CLOSING:-CLOSING]
    return closed


def _close_wide(mask: Mask) -> Mask:
    """As `_close`, by a disc of `WIDE`."""
    top, left, rows, columns = bounding_box(mask)
    box = slice(top, top + rows), slice(left, left + columns)
    grown = ndimage.distance_transform_edt(~np.pad(mask[box], WIDE + 1)) <= WIDE
    closed = np.zeros_like(mask)
    closed[box] = (ndimage.distance_transform_edt(grown) > WIDE)[WIDE + 1 : -WIDE - 1, WIDE + 1 : -WIDE - 1]
    return closed


def _hull(mask: Mask) -> Mask:
    """The convex hull of a mask that has three pixels or more which are not on one line, else the mask."""
    points = np.argwhere(mask & ~ndimage.binary_erosion(mask))
    try:
        corners = points[ConvexHull(points).vertices]
    except (QhullError, ValueError):  # all on one line; too few
        return mask.copy()
    page = Image.new("1", (mask.shape[1], mask.shape[0]))
    ImageDraw.Draw(page).polygon([(int(column), int(row)) for row, column in corners], fill=1, outline=1)
    return np.array(page, dtype=bool)

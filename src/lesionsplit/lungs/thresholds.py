"""Find lungs by thresholds and morphology in three dimensions, on the coarse grid.

It checks the network, replaces it on request, and labels the healthy chests that the network is trained on.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lesionsplit.data.lung_slice import bounding_box
from lesionsplit.images import Float, Mask
from lesionsplit.lungs.morphology import close, convex_hull, large_pieces, largest, outside_air
from lesionsplit.lungs.resample import AIR, MM, TISSUE
from lesionsplit.lungs.sides import split_sides
from lesionsplit.volumes.decomposed import LEFT, RIGHT

AERATED = -400.0
"""HU below which a pixel is air or lung."""

MAIN = 0.3
"""Minimum size of a main component, as a fraction of the largest."""

GAS_QUARTILE, GAS_MEDIAN, SMALL_GAS_QUARTILE = 25.0, 45.0, 60.0
"""HU above the air around the body. Main components with lower quartile and median below the first two are gas;
so are other components with a lower quartile below the third. Lungs with emphysema are so dark only in part."""

USUAL_AIR, DARKEST_AIR, BRIGHTEST_AIR = -1000.0, -1020.0, -920.0
"""HU: of air if there is none around the body; below the second it is padding or clipped, above the third clothes."""

NEAR = 10
"""Distance from the body, in coarse pixels, within which the air around it is measured."""

CIRCLE, CLIPPED = 0.95, 0.03
"""Fraction of the frame's half axes within which scanners leave no padding; and fraction of the air there from which
values below `DARKEST_AIR` are air that is clipped at the end of the scale."""

AIRWAY_DARK = -940.0
"""The darkest pixel of an airway is below these HU."""

AIRWAY_MM2 = 1000.0
"""Maximum area, in a slice, of an airway in the middle of the body."""

CLOSING = 5.3
"""Radius, in coarse pixels, of the closing that adds what lies between aerated lung: a digital disc of radius 5."""

LARGEST_HOLE_MM2 = 2500.0
"""Maximum area, in any slice, of a component enclosed by lung that counts as lung."""

WIDE, AT_RIBS = 9, 8
"""Coarse pixels: radius of the closing at the ribs, and its depth below the convex hull of both lungs."""

PIECE = 0.01
"""Minimum size of a lung component, as a fraction of the largest."""

SMALLEST_MM2 = 600.0
"""Minimum lung area of the slice with the most lung."""


def threshold_lungs(shrunk: Float, frame: Mask, bodies: Mask | None = None) -> Mask:
    """Find the lungs of a volume, (K, SIDE, SIDE); the mask is empty if there is no lung.

    Dense disease is included only where it lies between aerated lung.

    Args:
        shrunk: (K, SIDE, SIDE), HU above `AIR`, see `Resampler.shrink`.
        frame: (SIDE, SIDE), the part of the grid that the slices fill.
        bodies: `body_of` each slice, if known already.
    """
    hu = shrunk + np.float32(AIR)
    if bodies is None:
        bodies = np.stack([body_of(image, frame) for image in hu])
    air = np.stack([_without_airways(*slices) for slices in zip(hu, bodies, strict=True)])
    return closed_sides(lung_pieces(air, hu, bodies, frame), bodies)


def closed_sides(lungs: Mask, bodies: Mask) -> Mask:
    """Close each lung, (K, SIDE, SIDE), in every slice, then add what the lungs enclose."""
    sides = split_sides(lungs, bodies)
    closed = np.zeros_like(lungs)
    for number, side in enumerate(sides):
        for label in (RIGHT, LEFT):
            if (side == label).any():
                closed[number] |= close(side == label, CLOSING)
    return fill_enclosed(closed & bodies)


def fill_enclosed(lungs: Mask) -> Mask:
    """Add what lungs, (K, SIDE, SIDE), enclose in three dimensions: vessels, nodules, disease.

    The dome of the diaphragm, a hole in some slices, is connected to the outside in three dimensions and stays out.
    """
    regions, count = ndimage.label(~lungs)
    if count < 2:
        return lungs
    areas = np.zeros(count + 1, np.int64)  # of each component, in the slice where it is largest
    for one in regions:
        np.maximum(areas, np.bincount(one.ravel(), minlength=count + 1), out=areas)
    filled: Mask = lungs | (areas * MM**2 < LARGEST_HOLE_MM2)[regions]
    return filled


def fill_at_ribs(lungs: Mask, bodies: Mask) -> Mask:
    """Add dense disease at the ribs, such as nodules or patches on the pleura, to lungs, (K, SIDE, SIDE).

    A lung is convex towards the ribs, so what a wide closing adds there is lung; towards heart, spine and
    diaphragm it is not.
    """
    sides = split_sides(lungs, bodies)
    whole = lungs.copy()
    for number in np.flatnonzero(lungs.any(axis=(1, 2))):
        hull = convex_hull(lungs[number])
        at_ribs = hull & ~ndimage.binary_erosion(hull, iterations=AT_RIBS)
        for label in (RIGHT, LEFT):
            if (sides[number] == label).any():
                whole[number] |= close(sides[number] == label, WIDE) & at_ribs
    return whole & bodies


def body_of(hu: Float, frame: Mask) -> Mask:
    """The body in a slice, (SIDE, SIDE), with the air inside it: all but the air around it, see `outside_air`."""
    solid = ndimage.binary_opening((hu > TISSUE) | ~frame, np.ones((3, 3)), border_value=0) | ~frame
    top, left, rows, columns = bounding_box(frame)
    box = slice(top, top + rows), slice(left, left + columns)
    body = np.zeros_like(frame)
    body[box] = largest(~outside_air(~solid[box]))
    return body


def _without_airways(hu: Float, body: Mask) -> Mask:
    """The air in the body of one slice, without small dark components in the middle of the body."""
    air = (hu < AERATED) & body
    regions, count = ndimage.label(air)
    if not count:
        return air
    label = regions[air]
    areas = np.bincount(label, minlength=count + 1) * MM**2
    columns = np.bincount(label, np.nonzero(air)[1], minlength=count + 1) * MM**2 / np.maximum(areas, 1)
    darkest = np.zeros(count + 1)
    np.minimum.at(darkest, label, hu[air])
    filled = np.flatnonzero(body.any(axis=0))
    aside = np.abs(columns - np.average(filled, weights=body.sum(axis=0)[filled]))
    airway = (areas < AIRWAY_MM2) & (aside < 0.15 * len(filled)) & (darkest < AIRWAY_DARK)
    found: Mask = air & ~airway[regions]
    return found


def lung_pieces(air: Mask, hu: Float, bodies: Mask, frame: Mask) -> Mask:
    """Keep the connected components, in three dimensions, that are lung; drop small ones and gas.

    Args:
        air: (K, SIDE, SIDE), candidates.
        hu: (K, SIDE, SIDE).
        bodies: (K, SIDE, SIDE), `body_of` each slice.
        frame: (SIDE, SIDE), the part of the grid that the slices fill.
    """
    pieces = list(large_pieces(air, PIECE))
    main = MAIN * max((np.count_nonzero(piece) for _, piece in pieces), default=0)
    usual = _air_around(hu, bodies, frame)
    found = np.zeros_like(air)
    for box, piece in pieces:
        quartile, median = np.quantile(hu[box][piece], [0.25, 0.5])
        if np.count_nonzero(piece) >= main:
            gas = quartile < usual + GAS_QUARTILE and median < usual + GAS_MEDIAN
        else:
            gas = quartile < usual + SMALL_GAS_QUARTILE
        if not gas:
            found[box] |= piece
    if found.sum(axis=(1, 2)).max() * MM**2 < SMALLEST_MM2:
        return np.zeros_like(found)
    return found


def _air_around(hu: Float, bodies: Mask, frame: Mask) -> float:
    """HU of the air close to the bodies: the calibration of scanners differs by some tens of HU.

    Padding is left out. Air that is clipped at the end of the scale has the same value as padding but also lies
    inside the scanner's circle; it is kept, because otherwise only clothes would remain.
    """
    size = 2 * NEAR + 1
    near = ndimage.maximum_filter(bodies, (1, size, size)) & ~bodies & (hu < AERATED)
    air, sure = hu[near], hu[near & _circle(frame)]
    if not sure.size or np.mean(sure <= DARKEST_AIR) < CLIPPED:
        air = air[air > DARKEST_AIR]
    return min(float(np.quantile(air, 0.2)), BRIGHTEST_AIR) if air.size else USUAL_AIR


def _circle(frame: Mask) -> Mask:
    """(SIDE, SIDE): the largest ellipse in the frame, slightly reduced."""
    top, left, rows, columns = bounding_box(frame)
    row, column = np.ogrid[: frame.shape[0], : frame.shape[1]]
    down, right = (row - top + 0.5) / rows * 2 - 1, (column - left + 0.5) / columns * 2 - 1
    inside: Mask = np.hypot(down, right) < CIRCLE
    return inside

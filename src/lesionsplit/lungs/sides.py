"""The patient's right and left lung told apart, on the canvas."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree

from lesionsplit.images import Mask
from lesionsplit.volumes.findings import LEFT, RIGHT

Labels: TypeAlias = npt.NDArray[np.uint8]

LARGE = 0.1
"""Share of the largest piece from which a piece shows by itself which lung it is of."""

ASTRIDE = 0.12
"""Share of a piece on either side of the body's middle from which it may be two lungs that touch."""

DEEPEST = 12
"""Pixels of the canvas that are eroded at most until lungs that touch come apart."""

CROSS = ndimage.generate_binary_structure(2, 1)[None]
"""Neighbours within a slice: single slices are split as volumes are."""


def split_sides(lungs: Mask, bodies: Mask) -> Labels:
    """Lungs on the canvas, (K, rows, columns), as `RIGHT`, `LEFT` and 0.

    A connected piece, in three dimensions, is of the side on which it lies of the body's middle. One astride
    of it is eroded until it comes apart, and cut at the middle only if it never does. Small pieces are of
    the side of the nearest large one. Columns run to the patient's left, so that patients who lie on their
    front or were scanned feet first need no care.

    Args:
        lungs: (K, rows, columns).
        bodies: of the same shape, for their middle.
    """
    labels = np.zeros(lungs.shape, np.uint8)
    regions, count = ndimage.label(lungs)
    if not count:
        return labels
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    middle = _middle(lungs, bodies)
    boxes = ndimage.find_objects(regions)
    for number in np.flatnonzero(sizes >= LARGE * sizes.max()):
        box = boxes[number - 1]
        piece = regions[box] == number
        labels[box] |= _apart(piece, middle - box[2].start, DEEPEST)
    rest = np.argwhere(lungs & (labels == 0))
    if len(rest):
        known = np.argwhere(labels > 0)[::5]
        _, nearest = KDTree(known).query(rest)
        labels[tuple(rest.T)] = labels[tuple(known[nearest].T)]
    return labels


def _middle(lungs: Mask, bodies: Mask) -> float:
    """The column of the body's middle, in the slices that have lung."""
    filled = bodies[lungs.any(axis=(1, 2))].any(axis=1).sum(axis=0)
    columns = np.arange(lungs.shape[2])
    return float(np.average(columns, weights=filled)) if filled.any() else float(columns.mean())


def _apart(piece: Mask, middle: float, deepest: int) -> Labels:
    """Sides of one connected piece; crumbs that erosion leaves may stay 0."""
    columns = piece.sum(axis=(0, 1))
    at = round(middle + 0.5)
    right = columns[: max(at, 0)].sum() / columns.sum()
    if not ASTRIDE <= right <= 1 - ASTRIDE:
        return np.where(piece, RIGHT if right > 0.5 else LEFT, 0).astype(np.uint8)
    eroded = ndimage.binary_erosion(piece, CROSS)
    if deepest == 0 or not eroded.any():
        halves = np.where(np.arange(piece.shape[2]) < at, RIGHT, LEFT)
        return np.where(piece, halves, 0).astype(np.uint8)
    labels = np.zeros(piece.shape, np.uint8)
    regions, count = ndimage.label(eroded)
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    sizes[0] = 0
    boxes = ndimage.find_objects(regions)
    for number in np.flatnonzero(sizes >= LARGE * sizes.max()):
        box = boxes[number - 1]
        part = regions[box] == number
        labels[box] |= _apart(part, middle - box[2].start, deepest - 1)
    for _ in range(2):  # back to what was eroded, and round corners
        for label in (RIGHT, LEFT):
            grown = ndimage.binary_dilation(labels == label, CROSS)
            labels[grown & piece & (labels == 0)] = label
    return labels

"""Separate the right from the left lung, on the coarse grid."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree

from lesionsplit.images import Mask
from lesionsplit.lungs.morphology import large_pieces
from lesionsplit.volumes.decomposed import LEFT, RIGHT

Labels: TypeAlias = npt.NDArray[np.uint8]

LARGE = 0.1
"""Minimum size, relative to the largest component, of a component whose own position decides its side."""

ASTRIDE = 0.12
"""Minimum fraction of a component on either side of the body's middle for it to be two touching lungs."""

DEEPEST = 12
"""Maximum number of erosions to separate touching lungs."""

CROSS = ndimage.generate_binary_structure(2, 1)[None]
"""Neighbours within a slice, so that single slices are split like volumes."""


def split_sides(lungs: Mask, bodies: Mask) -> Labels:
    """Label lungs, (K, rows, columns), as `RIGHT`, `LEFT` and 0.

    A component, connected in three dimensions, belongs to the side of the body's middle on which it lies. A
    component on both sides is eroded until it separates; if it never does, it is cut at the middle. Small
    components belong to the side of the nearest large one. Columns run to the patient's left, so prone patients
    and feet-first scans are no special case.

    Args:
        lungs: (K, rows, columns).
        bodies: the same shape; they define the middle.
    """
    labels = np.zeros(lungs.shape, np.uint8)
    middle = _middle(lungs, bodies)
    for box, piece in large_pieces(lungs, LARGE):
        labels[box] |= _apart(piece, middle - box[2].start, DEEPEST)
    rest = np.argwhere(lungs & (labels == 0))
    if len(rest):
        known = np.argwhere(labels > 0)[::5]
        _, nearest = KDTree(known).query(rest)
        labels[tuple(rest.T)] = labels[tuple(known[nearest].T)]
    return labels


def _middle(lungs: Mask, bodies: Mask) -> float:
    """The column of the body's middle in slices with lung."""
    filled = bodies[lungs.any(axis=(1, 2))].any(axis=1).sum(axis=0)
    columns = np.arange(lungs.shape[2])
    return float(np.average(columns, weights=filled)) if filled.any() else float(columns.mean())


def _apart(piece: Mask, middle: float, deepest: int) -> Labels:
    """Sides of one component; small remainders of the erosion may stay 0."""
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
    for box, part in large_pieces(eroded, LARGE):
        labels[box] |= _apart(part, middle - box[2].start, deepest - 1)
    for _ in range(2):  # twice: back to the size before, and around corners
        for label in (RIGHT, LEFT):
            grown = ndimage.binary_dilation(labels == label, CROSS)
            labels[grown & piece & (labels == 0)] = label
    return labels

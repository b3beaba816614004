"""Lungs that the user gives, with right and left told apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from lesionsplit.errors import NoLungError
from lesionsplit.images import Float, Mask
from lesionsplit.lungs.canvas import AIR, Canvas, place, some_of
from lesionsplit.lungs.find import FoundLungs
from lesionsplit.lungs.levels import levels_of
from lesionsplit.lungs.sides import Labels, split_sides
from lesionsplit.lungs.thresholds import body_of
from lesionsplit.volumes.findings import LEFT, RIGHT
from lesionsplit.volumes.scratch import Scratch, forget
from lesionsplit.volumes.volume import Volume, Voxels

FORGET = 32
"""Slices after which pages of arrays on disk are given back."""


def given_lungs(volume: Volume, given: Voxels, scratch: Scratch) -> FoundLungs:
    """The lungs of a label map, right and left.

    With two labels, the one that lies more to the patient's right is the right lung, whichever number it has.
    With another number of labels, all that is not 0 is lung, and its sides are told by connection and place.

    Args:
        volume: whose lungs they are.
        given: (I, J, K) on its grid, whole numbers; 0 is outside.
        scratch: where the labels are kept.

    Raises:
        NoLungError: there is no label but 0.
    """
    view = volume.axial(given)
    columns: dict[int, list[float]] = {}
    for number, one in enumerate(view):
        if number % FORGET == FORGET - 1:
            forget(given)
        for label in np.unique(one[one > 0]).tolist():
            there = (one == label).sum(axis=0)
            seen = columns.setdefault(label, [0.0, 0.0])
            seen[0] += float(there.sum())
            seen[1] += float(there @ np.arange(one.shape[1]))
    if not columns:
        raise NoLungError("lungs: the mask that was given is empty; allowed: 0 outside, other whole numbers inside")
    labels = scratch.like(volume, np.uint8)
    into = volume.axial(labels)
    if len(columns) == 2:
        right = min(columns, key=lambda label: columns[label][1] / columns[label][0])
        for number, one in enumerate(view):
            into[number] = np.where(one == right, RIGHT, np.where(one > 0, LEFT, 0))
    else:
        for number, halves in enumerate(_halves(volume, view)):
            into[number] = np.where(view[number] > 0, halves, 0)
            if number % FORGET == FORGET - 1:
                forget(labels)
                forget(given)
    forget(labels)
    return FoundLungs(labels=labels, how="a mask that was given")


def _seen(volume: Volume) -> Iterator[Voxels]:
    """Axial slices, what lies on disk given back behind them."""
    for number, one in enumerate(volume.axial()):
        yield one
        if number % FORGET == FORGET - 1:
            forget(volume.array)


def _halves(volume: Volume, view: Voxels) -> Iterator[Labels]:
    """Of each axial slice, (rows, columns), the side that every pixel is nearer to."""
    canvas = place(volume, levels_of(volume, some_of(volume.axial())))
    shares = np.stack([canvas.cover(one > 0) for one in view])
    lungs = shares > min(0.5, float(shares.max()) / 2)  # lungs of few pixels cover none of the canvas by half
    frame = canvas.frame()
    bodies = np.stack([body_of(canvas.shrink(one) + np.float32(AIR), frame) for one in _seen(volume)])
    sides = split_sides(lungs, bodies)
    for one in sides:
        yield np.where(_enlarged(canvas, one == RIGHT, one == LEFT) > 0, RIGHT, LEFT).astype(np.uint8)


def _enlarged(canvas: Canvas, right: Mask, left: Mask) -> Float:
    """A map of the slice that is above 0 where the right lung is nearer."""
    whole = (slice(None), slice(None))
    if not right.any() or not left.any():
        nearer = np.full(right.shape, 1.0 if right.any() else -1.0, np.float32)
    else:
        nearer = (ndimage.distance_transform_edt(~left) - ndimage.distance_transform_edt(~right)).astype(np.float32)
        nearer = np.clip(nearer, -1, 1)
    return canvas.enlarge(nearer, whole)

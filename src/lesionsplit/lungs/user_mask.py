"""Split a lung mask of the user into the right and the left lung."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from lesionsplit.errors import NoLungError
from lesionsplit.images import Float, Mask
from lesionsplit.lungs.find import LungLabels
from lesionsplit.lungs.hu_scale import hu_scale_of
from lesionsplit.lungs.resample import AIR, Resampler, make_resampler, sample_slices
from lesionsplit.lungs.sides import Labels, split_sides
from lesionsplit.lungs.thresholds import body_of
from lesionsplit.volumes.decomposed import LEFT, RIGHT
from lesionsplit.volumes.scratch import Scratch, releasing
from lesionsplit.volumes.volume import Volume, Voxels


def lungs_from_user_mask(volume: Volume, mask: Voxels, scratch: Scratch) -> LungLabels:
    """Split a label map into the right and the left lung.

    Of two labels, the one farther to the patient's right is the right lung, whatever its number. With any other
    number of labels, every label but 0 is lung, and the sides follow from connection and position.

    Args:
        volume: the CT.
        mask: (I, J, K) on its grid, whole numbers; 0 is outside.
        scratch: holds the labels.

    Raises:
        NoLungError: every voxel is 0.
    """
    view = volume.axial(mask)
    columns: dict[int, list[float]] = {}  # of each label the voxels, and the sum of their columns
    for one in releasing(view, mask):
        for label in np.unique(one[one > 0]).tolist():
            count = (one == label).sum(axis=0)
            sums = columns.setdefault(label, [0.0, 0.0])
            sums[0] += float(count.sum())
            sums[1] += float(count @ np.arange(one.shape[1]))
    if not columns:
        raise NoLungError("lungs: the lung mask is empty; allowed: 0 outside, other whole numbers inside")
    labels = scratch.like(volume, np.uint8)
    output = volume.axial(labels)
    if len(columns) == 2:
        right = min(columns, key=lambda label: columns[label][1] / columns[label][0])
        for number, one in enumerate(releasing(view, mask, labels)):
            output[number] = np.where(one == right, RIGHT, np.where(one > 0, LEFT, 0))
    else:
        for number, halves in enumerate(releasing(_halves(volume, view), mask, labels)):
            output[number] = np.where(view[number] > 0, halves, 0)
    return LungLabels(labels=labels, method="mask of the user")


def _halves(volume: Volume, view: Voxels) -> Iterator[Labels]:
    """For each axial slice, (rows, columns), the lung that every pixel is nearer to."""
    resampler = make_resampler(volume, hu_scale_of(volume, sample_slices(volume.axial())))
    shares = np.stack([resampler.cover(one > 0) for one in view])
    lungs = shares > min(0.5, float(shares.max()) / 2)  # lungs of few pixels cover no coarse pixel by half
    frame = resampler.frame()
    slices = releasing(volume.axial(), volume.array)
    bodies = np.stack([body_of(resampler.shrink(one) + np.float32(AIR), frame) for one in slices])
    for one in split_sides(lungs, bodies):
        yield np.where(_right_is_nearer(resampler, one == RIGHT, one == LEFT) > 0, RIGHT, LEFT).astype(np.uint8)


def _right_is_nearer(resampler: Resampler, right: Mask, left: Mask) -> Float:
    """A map of the slice that is above 0 where the right lung is nearer."""
    if not right.any() or not left.any():
        nearer = np.full(right.shape, 1.0 if right.any() else -1.0, np.float32)
    else:
        nearer = (ndimage.distance_transform_edt(~left) - ndimage.distance_transform_edt(~right)).astype(np.float32)
        nearer = np.clip(nearer, -1, 1)
    return resampler.enlarge(nearer, (slice(None), slice(None)))

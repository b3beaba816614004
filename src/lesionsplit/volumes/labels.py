"""Label maps that the user gives: lungs, lobes, on the grid of the volume that they belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lesionsplit.errors import DataError
from lesionsplit.volumes.files import open_file
from lesionsplit.volumes.filling import Filling
from lesionsplit.volumes.grid import difference, on_grid
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Volume, Voxels

MOST = 65535
"""The highest label."""


def read_labels(path: Path, volume: Volume, scratch: Scratch) -> Voxels:
    """Read a label map, a NIfTI, NRRD or MetaImage file, on a volume's grid.

    A file with the same voxels in another order or direction of axes is turned, exactly; none is resampled.

    Args:
        path: the file.
        volume: whose grid it has.
        scratch: where the array is kept.

    Returns:
        (I, J, K) as the volume, uint8 where that holds all labels, else uint16.

    Raises:
        DataError: the file cannot be read, is on another grid, or has values that are no labels.
    """
    stack = open_file(path)
    if np.linalg.matrix_rank(stack.affine[:3, :3]) < 3 or not np.isfinite(stack.affine).all():
        raise DataError(f"{path}: its place in space makes no sense; mend the header")
    probe = np.broadcast_to(np.uint8(0), stack.shape)  # its grid, before anything is read
    if on_grid(probe, stack.affine, volume) is None:
        raise DataError(
            f"{path}: is not on the grid of {volume.source.path}: {difference(volume, stack.shape, stack.affine)}; "
            "give labels that were drawn on this volume, or resample them to it"
        )
    filling = Filling(scratch, stack.shape, floor=None)
    for k in range(stack.shape[2]):
        filling.put(k, stack.read(k))
    found = filling.array
    whole = found.dtype == np.int16 or all(
        (found[..., k] == np.rint(found[..., k])).all() for k in range(found.shape[2])
    )
    low, high = filling.seen.lowest, filling.seen.highest
    if not whole or filling.not_numbers or low < 0 or high > MOST:
        raise DataError(
            f"{path}: has values from {low:g} to {high:g}{'' if whole else ', with fractions'}, which are no labels; "
            f"allowed: whole numbers from 0 to {MOST}"
        )
    labels = scratch.like(volume, np.uint8 if high <= np.iinfo(np.uint8).max else np.uint16)
    turned = on_grid(found, stack.affine, volume)
    for k in range(volume.shape[2]):
        labels[..., k] = turned[..., k]  # type: ignore[index]
    return labels

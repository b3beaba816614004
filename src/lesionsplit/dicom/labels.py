"""DICOM segmentations that the user gives: lungs, lobes, on the grid of the volume that they belong to."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from lesionsplit.dicom.files import BROKEN, line, read_dataset
from lesionsplit.errors import DataError
from lesionsplit.volumes.archive import Entry
from lesionsplit.volumes.grid import part_of_grid
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import LPS_TO_RAS, Volume, Voxels


def read_segments(path: Path, volume: Volume, scratch: Scratch) -> Voxels:
    """Read a DICOM segmentation as a label map on a volume's grid: segments are labels by their numbers.

    It may leave out slices at either end, or between, that are empty.

    Args:
        path: the file.
        volume: whose grid it has, or a part of it.
        scratch: where the array is kept.

    Returns:
        (I, J, K) as the volume, uint8 or uint16.

    Raises:
        DataError: it is no segmentation, its segments overlap, or it is on another grid.
    """
    from highdicom.seg import Segmentation  # slow to import

    dataset = read_dataset(Entry(path), pixels=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a patient's name of one word, for one
            segments: Any = Segmentation.from_dataset(dataset, copy=False)
            found = segments.get_volume(combine_segments=True, allow_missing_positions=True)
    except BROKEN as error:
        raise DataError(
            f"{path}: is no segmentation in which each voxel has one label ({line(error)}); give a DICOM SEG of "
            "segments that do not overlap, or a label map as NIfTI"
        ) from None
    place = part_of_grid(found.array, LPS_TO_RAS @ np.array(found.affine), volume)
    if place is None:
        raise DataError(
            f"{path}: is not on the grid of {volume.source.path}; give a segmentation that was drawn on this series"
        )
    view, where = place
    highest = int(found.array.max())
    labels = scratch.like(volume, np.uint8 if highest <= np.iinfo(np.uint8).max else np.uint16)
    labels[where] = view
    return labels

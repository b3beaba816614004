"""Read DICOM segmentations of lungs or lobes on the grid of a volume."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from lesionsplit.errors import DataError
from lesionsplit.io.archive import FileEntry
from lesionsplit.io.dicom.files import BROKEN, line, read_dataset
from lesionsplit.volumes.grid import part_of_grid
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import LPS_TO_RAS, Volume, Voxels


def read_segments(path: Path, volume: Volume, scratch: Scratch) -> Voxels:
    """Read a DICOM segmentation as a label map on a volume's grid; labels are the segment numbers.

    Empty slices may be missing.

    Args:
        path: the file.
        volume: contains the segmentation's grid.
        scratch: holds the array.

    Returns:
        (I, J, K) as the volume, uint8 or uint16.

    Raises:
        DataError: it is not a segmentation, its segments overlap, or it is on another grid.
    """
    from highdicom.seg import Segmentation  # slow to import

    dataset = read_dataset(FileEntry(path), pixels=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # for example about a patient name of one word
            segments: Any = Segmentation.from_dataset(dataset, copy=False)
            found = segments.get_volume(combine_segments=True, allow_missing_positions=True)
    except BROKEN as error:
        raise DataError(
            f"{path}: is not a segmentation with one label per voxel ({line(error)}); give a DICOM SEG of "
            "segments without overlap, or a label map as NIfTI"
        ) from None
    place = part_of_grid(found.array, LPS_TO_RAS @ np.array(found.affine), volume)
    if place is None:
        raise DataError(f"{path}: is not on the grid of {volume.source.path}; give a segmentation of this series")
    view, where = place
    highest = int(found.array.max())
    labels = scratch.like(volume, np.uint8 if highest <= np.iinfo(np.uint8).max else np.uint16)
    labels[where] = view
    return labels

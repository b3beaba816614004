"""Label maps that the user gives, whatever their format."""

from __future__ import annotations

from pathlib import Path

from lesionsplit.dicom.files import is_dicom
from lesionsplit.dicom.labels import read_segments
from lesionsplit.errors import DataError
from lesionsplit.volumes import labels
from lesionsplit.volumes.archive import Entry
from lesionsplit.volumes.files import SUFFIXES, suffix_of
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Volume, Voxels


def read_labels(path: Path, volume: Volume, scratch: Scratch) -> Voxels:
    """Read a label map, a volume file or a DICOM segmentation, on a volume's grid: (I, J, K), uint8 or uint16.

    A file with the same voxels in another order or direction of axes is turned, exactly; none is resampled.

    Raises:
        DataError: the file cannot be read, is on another grid, or has values that are no labels.
    """
    if suffix_of(path.name):
        return labels.read_labels(path, volume, scratch)
    if not path.is_file() or not is_dicom(Entry(path)):
        raise DataError(f"{path}: is not a label map; allowed: {', '.join(SUFFIXES)}, or a DICOM segmentation")
    return read_segments(path, volume, scratch)

"""Read label maps of the user, such as lungs or lobes, on the grid of a volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lesionsplit.errors import DataError
from lesionsplit.io.archive import FileEntry
from lesionsplit.io.dicom.label_maps import read_segments
from lesionsplit.io.dicom.recognise import is_dicom
from lesionsplit.io.files import SUFFIXES, open_file, suffix_of
from lesionsplit.io.names import safe, stem
from lesionsplit.io.stack import Stack
from lesionsplit.volumes.filling import Filling
from lesionsplit.volumes.grid import difference, on_grid
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Volume, Voxels

HIGHEST = 65535
"""The highest label."""


def read_labels(path: Path, volume: Volume, scratch: Scratch) -> Voxels:
    """Read a label map from a NIfTI, NRRD or MetaImage file or a DICOM segmentation.

    The order and direction of axes may differ from the volume's; nothing is resampled.

    Args:
        path: the file.
        volume: has the target grid.
        scratch: holds the array.

    Returns:
        (I, J, K) as the volume, uint8 if that holds all labels, else uint16.

    Raises:
        DataError: the file cannot be read, is on another grid, or has values that are not labels.
    """
    if suffix_of(path.name):
        return _labels_of(open_file(path), volume, scratch)
    if not path.is_file() or not is_dicom(FileEntry(path)):
        raise DataError(f"{path}: is not a label map; allowed: {', '.join(SUFFIXES)}, or a DICOM segmentation")
    return read_segments(path, volume, scratch)


def label_map(path: Path, name: str) -> Path | None:
    """The label map of a case: the file itself, or the file with the case's name in a folder, if there is one."""
    if not path.is_dir():
        return path
    suffixes = (*SUFFIXES, ".dcm")
    exact = next((file for suffix in suffixes if (file := path / f"{name}{suffix}").is_file()), None)
    if exact is not None:
        return exact
    named = [file for file in sorted(path.iterdir()) if file.name.lower().endswith(suffixes) and file.is_file()]
    return next((file for file in named if safe(stem(file.name)) == name), None)  # as the name of the case was made


def _labels_of(stack: Stack, volume: Volume, scratch: Scratch) -> Voxels:
    path = stack.path
    if not np.isfinite(stack.affine).all() or np.linalg.matrix_rank(stack.affine[:3, :3]) < 3:
        raise DataError(f"{path}: its affine is invalid; correct the header")
    probe = np.broadcast_to(np.uint8(0), stack.shape)  # compares grids before any voxel is read
    if on_grid(probe, stack.affine, volume) is None:
        raise DataError(
            f"{path}: is not on the grid of {volume.source.path}: {difference(volume, stack.shape, stack.affine)}; "
            "give labels made on this volume, or resample them"
        )
    filling = Filling(scratch, stack.shape)
    for k in range(stack.shape[2]):
        filling.put(k, stack.read(k))
    found = filling.array
    whole = found.dtype == np.int16 or all(
        (found[..., k] == np.rint(found[..., k])).all() for k in range(found.shape[2])
    )
    low, high = filling.seen.lowest, filling.seen.highest
    if not whole or filling.not_numbers or low < 0 or high > HIGHEST:
        raise DataError(
            f"{path}: has values from {low:g} to {high:g}{'' if whole else ', with fractions'}, which are not labels; "
            f"allowed: whole numbers from 0 to {HIGHEST}"
        )
    labels = scratch.like(volume, np.uint8 if high <= np.iinfo(np.uint8).max else np.uint16)
    view = on_grid(found, stack.affine, volume)
    for k in range(volume.shape[2]):
        labels[..., k] = view[..., k]  # type: ignore[index]
    return labels

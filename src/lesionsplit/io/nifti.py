"""Read and write NIfTI files with nibabel, slice by slice."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import nibabel as nib
import numpy as np
from isal import igzip
from nibabel.spatialimages import HeaderDataError

from lesionsplit.atomic import atomic_file
from lesionsplit.errors import DataError
from lesionsplit.io.nifti_file import BROKEN, Opened, line, load
from lesionsplit.io.nifti_geometry import geometry, lengths
from lesionsplit.io.stack import Stack, check_bytes
from lesionsplit.volumes.filling import RESIDENT
from lesionsplit.volumes.grid import times
from lesionsplit.volumes.scratch import forget
from lesionsplit.volumes.volume import Volume, Voxels

GZIP_LEVEL = 2
"""Of isal, 0 to 3: as small as zlib's first level, in a third of its time."""

GEOMETRY: Final = (
    "pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
    "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z",
)  # fmt: skip
"""Header fields of the geometry."""


def open_nifti(path: Path) -> Stack:
    """Open a NIfTI file: check its header, do not read its voxels yet.

    Raises:
        DataError: it is not NIfTI, not a volume of numbers, or smaller than its header declares.
    """
    opened = load(path)
    image = opened.image
    shape = tuple(int(size) for size in image.shape)
    dtype = image.get_data_dtype()
    if dtype.fields is not None:
        raise DataError(f"{path}: is in colour; a CT has one value per voxel")
    if dtype.kind not in "iuf":
        raise DataError(f"{path}: has values of type {dtype}; allowed: integers and floats")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 3 or len(shape) < 2:
        raise DataError(f"{path}: is {len(shape)}-dimensional ({times(shape)}); give one volume, of 3 dimensions")
    if min(shape) < 1:
        raise DataError(f"{path}: has no voxels ({times(shape)})")
    _check_size(opened, shape)
    found = geometry(opened.raw, image.header)
    factor, unit_notes = lengths(image.header, str(path))
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3] *= factor

    def read(k: int) -> Voxels:
        index = (slice(None), slice(None), k) if len(shape) == 3 else (slice(None), slice(None))
        try:
            values = np.asarray(image.dataobj[index + (0,) * (len(image.shape) - len(index))])
        except (*BROKEN, MemoryError) as error:
            raise DataError(f"{path}: is broken at slice {k + 1} of {(*shape, 1)[2]} ({line(error)})") from None
        return values

    i, j, count = (*shape, 1)[:3]
    return Stack(
        kind="nifti",
        path=path,
        shape=(i, j, count),
        affine=affine,
        read=read,
        notes=found.notes + unit_notes,
        doubts=found.doubts,
    )


def write_nifti(path: Path, volume: Volume, array: Voxels, *, slope: float = 1.0, label: str = "") -> None:
    """Write an array on a volume's grid as NIfTI, slice by slice, completely or not at all.

    If the volume was read from NIfTI, its header fields of the geometry are copied unchanged.

    Args:
        path: .nii, or .nii.gz to compress it.
        volume: has the grid.
        array: (I, J, K): bool, integers of up to 32 bit, or floats, which are written as float32.
        slope: readers multiply each value by it.
        label: description, up to 79 ASCII characters.

    Raises:
        DataError: the file cannot be written.
    """
    if array.shape != volume.shape:
        raise ValueError(f"an array of {array.shape} is not on a grid of {volume.shape}")
    kinds: dict[str, np.dtype[Any]] = {"b": np.dtype(np.uint8), "f": np.dtype("<f4")}
    dtype = kinds.get(array.dtype.kind, array.dtype.newbyteorder("<"))
    header = _header_for(volume)
    header.set_data_dtype(dtype)
    header.set_slope_inter(slope, 0)
    header["vox_offset"] = header.single_vox_offset
    header["descrip"] = label.encode("ascii", "replace")[:79]
    with atomic_file(path) as temporary, ExitStack() as stack:
        file: Any = stack.enter_context(temporary.open("wb"))
        if path.suffix == ".gz":
            file = stack.enter_context(igzip.IGzipFile("", "wb", GZIP_LEVEL, file, mtime=0))
        header.write_to(file)
        _write_slices(file, array, dtype)


def _write_slices(file: BinaryIO, array: Voxels, dtype: np.dtype[Any]) -> None:
    unseen = 0
    for k in range(array.shape[2]):
        file.write(np.asarray(array[..., k].T, dtype=dtype, order="C").data)
        unseen += array[..., k].nbytes
        if unseen > RESIDENT:
            forget(array)
            unseen = 0


def _check_size(opened: Opened, shape: tuple[int, ...]) -> None:
    """Check the size that a header declares before it is used."""
    path, header = opened.voxels, opened.image.header
    offset = float(header["vox_offset"])
    if not 0 <= offset < 2**40:
        raise DataError(f"{path}: its header declares voxels from byte {offset:g}; is it complete?")
    needed = int(offset) + int(np.prod(shape, dtype=object)) * header.get_data_dtype().itemsize
    check_bytes(path, shape, needed, compressed=opened.packed)


def _header_for(volume: Volume) -> nib.Nifti1Header:
    """A header with a volume's geometry, copied from the input if that is NIfTI."""
    path = volume.source.path
    if volume.source.kind == "nifti" and path.suffix.lower() in (".nii", ".gz", ".hdr"):
        with suppress(DataError):  # deleted meanwhile: the affine is sufficient
            own = open_nifti(path)
            if own.shape == volume.shape and np.array_equal(own.affine, volume.affine):
                opened = load(path)
                if not geometry(opened.raw, opened.image.header).repaired:  # others would read another one
                    return _copied(opened.image.header, volume)
    header = nib.Nifti1Header()
    header.set_data_shape(volume.shape)
    header.set_sform(volume.affine, code=1)
    header.set_xyzt_units("mm")
    header["pixdim"][1:4] = volume.spacing
    try:
        header.set_qform(volume.affine, code=1, strip_shears=False)
    except HeaderDataError:  # a quaternion cannot represent shear
        header["qform_code"] = 0
    return header


def _copied(source: Any, volume: Volume) -> nib.Nifti1Header:
    """An empty header of the same version with the geometry of another."""
    header = nib.Nifti2Header() if isinstance(source, nib.Nifti2Header) else nib.Nifti1Header()
    header.set_data_shape(volume.shape)
    for field in GEOMETRY:
        header[field] = source[field]
    return header

"""NIfTI files in and out, through nibabel, a slice at a time."""

from __future__ import annotations

import gzip
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import logger
from nibabel.spatialimages import HeaderDataError

from lesionsplit.errors import DataError
from lesionsplit.volumes.filling import RESIDENT
from lesionsplit.volumes.scratch import forget
from lesionsplit.volumes.stack import Stack
from lesionsplit.volumes.volume import Volume, Voxels

SUFFIXES: Final = (".nii", ".nii.gz")

MILLIMETRES: Final = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}

DENSEST = 1032
"""How much smaller deflate makes anything at most."""

GZIP_LEVEL = 1
"""Of what is written: higher levels take several times as long and save little."""

GEOMETRY: Final = (
    "pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
    "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z",
)  # fmt: skip
"""Fields of a header that say where the voxels are."""

BROKEN = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, TypeError, KeyError, zlib.error)
"""nibabel's ways to say that a file is broken."""


def open_nifti(path: Path) -> Stack:
    """Open a NIfTI file: its header is read and checked, its voxels are not.

    Raises:
        DataError: it is no NIfTI file, not a volume of real numbers, or its header promises what the file has not.
    """
    image = _load(path)
    shape = tuple(int(size) for size in image.shape)
    dtype = image.get_data_dtype()
    if dtype.fields is not None:
        raise DataError(f"{path}: is in colour; a CT has one number a voxel")
    if dtype.kind not in "iuf":
        raise DataError(f"{path}: has values of type {dtype}; allowed: integers and real numbers")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 3 or len(shape) < 2:
        raise DataError(f"{path}: is {len(shape)}-dimensional ({_times(shape)}); give one volume, of 3 dimensions")
    if min(shape) < 1:
        raise DataError(f"{path}: has no voxels ({_times(shape)})")
    _check_size(path, image, shape)
    notes = []
    affine = np.array(image.affine, dtype=np.float64)
    if not int(image.header["sform_code"]) and not int(image.header["qform_code"]):
        notes.append(
            "the file does not say how the patient lies in it (sform and qform codes are 0): left and right may be "
            "swapped"
        )
    try:
        unit = image.header.get_xyzt_units()[0]
        affine[:3] *= MILLIMETRES[unit]
    except KeyError:
        raise DataError(f"{path}: does not say in which unit it measures; allowed: mm, meter, micron") from None
    if unit in ("meter", "micron"):
        notes.append(f"its lengths, in {unit}, were turned into millimetres")

    def read(k: int) -> Voxels:
        index = (slice(None), slice(None), k) if len(shape) == 3 else (slice(None), slice(None))
        try:
            values = np.asarray(image.dataobj[index + (0,) * (len(image.shape) - len(index))])
        except (*BROKEN, MemoryError) as error:
            raise DataError(f"{path}: ends or breaks at slice {k + 1} of {(*shape, 1)[2]} ({_line(error)})") from None
        return values

    i, j, count = (*shape, 1)[:3]
    return Stack(kind="nifti", path=path, shape=(i, j, count), affine=affine, read=read, notes=tuple(notes))


def write_nifti(path: Path, volume: Volume, array: Voxels, *, slope: float = 1.0, label: str = "") -> None:
    """Write an array on a volume's grid as NIfTI, whole or not at all, a slice at a time.

    The grid is that of the input byte for byte where the input is a NIfTI file, else the volume's affine.

    Args:
        path: .nii, or .nii.gz to pack it.
        volume: whose grid it is.
        array: (I, J, K): bool, or integers of up to 32 bit, or real numbers, which are written as float32.
        slope: readers see each value times this.
        label: says what it is, up to 79 letters.

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
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            file: Any = stack.enter_context(beside.open("wb"))
            if path.suffix == ".gz":
                file = stack.enter_context(gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0))
            header.write_to(file)
            _write_slices(file, array, dtype)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def _write_slices(file: BinaryIO, array: Voxels, dtype: np.dtype[Any]) -> None:
    unseen = 0
    for k in range(array.shape[2]):
        file.write(np.asarray(array[..., k].T, dtype=dtype, order="C").data)
        unseen += array[..., k].nbytes
        if unseen > RESIDENT:
            forget(array)
            unseen = 0


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what nibabel says on the terminal of small faults of headers, which it mends."""
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


def _load(path: Path) -> nib.Nifti1Image:
    try:
        with _quiet():
            image = nib.load(path, keep_file_open=True)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except BROKEN as error:
        raise DataError(f"{path}: is not a NIfTI file that can be read ({_line(error)}); is it whole?") from None
    if not isinstance(image, nib.Nifti1Image):  # which NIfTI-2 is, too; Analyze is not, and has no orientation
        raise DataError(f"{path}: is {type(image).__name__}, not NIfTI")
    return image


def _check_size(path: Path, image: nib.Nifti1Image, shape: tuple[int, ...]) -> None:
    """Before anything is made of the size that a header claims."""
    offset = float(image.header["vox_offset"])
    if not 0 <= offset < 2**40:
        raise DataError(f"{path}: its header says that voxels begin at byte {offset:g}; is it whole?")
    needed = int(offset) + int(np.prod(shape, dtype=object)) * image.get_data_dtype().itemsize
    found = path.stat().st_size
    if needed > found * (DENSEST if path.suffix.lower() == ".gz" else 1):
        raise DataError(
            f"{path}: its header promises {_times(shape)} voxels, {needed} bytes, but the file has {found}; "
            "is it whole?"
        )


def _header_for(volume: Volume) -> nib.Nifti1Header:
    """A header with a volume's geometry: the input's own where it has one."""
    if volume.source.kind == "nifti" and volume.source.path.suffix.lower() in (".nii", ".gz"):
        with suppress(DataError):  # gone since: the affine is as good
            own = open_nifti(volume.source.path)
            if own.shape == volume.shape and np.array_equal(own.affine, volume.affine):
                return _copied(_load(volume.source.path).header, volume)
    header = nib.Nifti1Header()
    header.set_data_shape(volume.shape)
    header.set_sform(volume.affine, code=1)
    header.set_xyzt_units("mm")
    header["pixdim"][1:4] = volume.spacing
    try:
        header.set_qform(volume.affine, code=1, strip_shears=False)
    except HeaderDataError:  # a quaternion cannot say that a grid is slanted
        header["qform_code"] = 0
    return header


def _copied(source: Any, volume: Volume) -> nib.Nifti1Header:
    """An empty header, of the same version, with another's geometry."""
    header = nib.Nifti2Header() if isinstance(source, nib.Nifti2Header) else nib.Nifti1Header()
    header.set_data_shape(volume.shape)
    for field in GEOMETRY:
        header[field] = source[field]
    return header


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))

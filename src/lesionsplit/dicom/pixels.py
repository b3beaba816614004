"""A slice's pixels in Hounsfield units."""

from __future__ import annotations

import zipfile
from typing import NamedTuple

import numpy as np
from pydicom import Dataset

from lesionsplit.dicom.decode import decoded
from lesionsplit.dicom.files import BROKEN, line, listed, numbers, read_dataset, value_of
from lesionsplit.errors import DataError
from lesionsplit.volumes.archive import Entry
from lesionsplit.volumes.intensity import AIR
from lesionsplit.volumes.volume import Voxels

TISSUE = (-900.0, 1500.0)
"""HU between which a value is not believed to be padding, whatever a header says: holes would be cut into organs."""


class Slice(NamedTuple):
    """A slice's values."""

    values: Voxels
    """(columns, rows): HU, integers where the rescaling has no fractions."""

    notes: tuple[str, ...]


def read_slice(entry: Entry, archive: zipfile.ZipFile | None = None, *, force: bool = False) -> Slice:
    """Read and decode a slice, of whatever transfer syntax, and rescale it by its own header.

    Args:
        entry: the DICOM file.
        archive: the open archive it is in, if any.
        force: go on without a rescale.

    Raises:
        DataError: the pixels are missing, cut short, packed in an unknown way, in colour or of several frames, or
            the header does not say how to rescale them.
    """
    dataset = read_dataset(entry, archive, pixels=True)
    _check(dataset, entry)
    slope, intercept, unsaid = _rescale(dataset, entry, force=force)
    try:
        stored = decoded(dataset)
    except BROKEN as error:
        raise DataError(f"{entry}: its pixels cannot be decoded ({line(error)}); is the file whole?") from None
    if stored.shape != (dataset.Rows, dataset.Columns):
        raise DataError(f"{entry}: has pixels of shape {stored.shape}, not {dataset.Rows} x {dataset.Columns}")
    padding, notes = _padding(dataset, stored, slope, intercept)
    stored = _low_bits(stored, int(dataset.BitsStored))
    if slope.is_integer() and intercept.is_integer():
        values: Voxels = stored.astype(np.int64 if stored.itemsize > 2 else np.int32) * int(slope) + int(intercept)
    else:
        values = stored * slope + intercept
    if padding is not None:
        values[padding] = AIR
    return Slice(values.T, unsaid + notes)


def _check(dataset: Dataset, entry: Entry) -> None:
    """What a decoder would not say plainly."""
    frames = numbers(dataset, "NumberOfFrames", 1)
    if frames and frames[0] > 1:
        raise DataError(f"{entry}: has {frames[0]:g} frames; give a series with a file a slice, or NIfTI")
    photometric = str(value_of(dataset, "PhotometricInterpretation") or "of an unsaid colour")
    if numbers(dataset, "SamplesPerPixel", 1) != (1,) or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(f"{entry}: is {photometric}; a CT is MONOCHROME2")
    shape = [numbers(dataset, keyword, 1) for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored")]
    if None in shape or "PixelData" not in dataset:
        raise DataError(f"{entry}: has no pixels; copy the file again")
    rows, columns, allocated, _ = (int(size[0]) for size in shape if size)
    needed, found = rows * columns * allocated // 8, len(value_of(dataset, "PixelData") or b"")
    if found < needed and not dataset.file_meta.TransferSyntaxUID.is_compressed:
        raise DataError(f"{entry}: its pixels are cut short, {found} of {needed} bytes; copy the file again")


def _rescale(dataset: Dataset, entry: Entry, *, force: bool) -> tuple[float, float, tuple[str, ...]]:
    slope, intercept = numbers(dataset, "RescaleSlope", 1), numbers(dataset, "RescaleIntercept", 1)
    if slope and intercept and slope[0]:
        return slope[0], intercept[0], ()
    if not force:
        raise DataError(
            f"{entry}: does not say how its values become HU (RescaleSlope, RescaleIntercept); --force takes them as HU"
        )
    return 1.0, 0.0, ("the headers do not say how values become HU: they were taken as HU",)


def _padding(dataset: Dataset, stored: Voxels, slope: float, intercept: float) -> tuple[Voxels | None, tuple[str, ...]]:
    """Where there is padding, (rows, columns), and what is odd about it."""
    limits = numbers(dataset, "PixelPaddingValue", 1)
    if limits is None or not listed(value_of(dataset, "PixelPaddingValue")):
        return None, ()
    limits += numbers(dataset, "PixelPaddingRangeLimit", 1) or limits
    # A header may hold it unsigned where the pixels are signed, or the other way round.
    bits = stored.dtype.itemsize * 8
    low, high = sorted(
        int(np.array(int(value) % (1 << bits), f"u{bits // 8}").astype(stored.dtype)) for value in limits
    )
    if any(TISSUE[0] < value * slope + intercept < TISSUE[1] for value in (low, high)):
        return None, (
            f"padding is said to be {low * slope + intercept:g} HU, which tissue may be: it was not taken as padding",
        )
    where = (stored >= low) & (stored <= high)
    return (where, ()) if where.any() else (None, ())


def _low_bits(stored: Voxels, bits: int) -> Voxels:
    """Without what old files keep in the bits above the pixel's own: drawings."""
    if bits >= stored.dtype.itemsize * 8:
        return stored
    signed = stored.dtype.kind == "i"
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    odd = (stored < low) | (stored > high)
    if not odd.any():
        return stored
    kept = stored.astype(np.int64) & ((1 << bits) - 1)
    kept = np.where(kept > high, kept - (1 << bits), kept)
    return np.where(odd, kept, stored).astype(stored.dtype)

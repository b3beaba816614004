"""A slice's pixels in Hounsfield units."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydicom import Dataset

from lesionsplit.errors import DataError
from lesionsplit.io.archive import FileEntry
from lesionsplit.io.dicom.decode import decoded
from lesionsplit.io.dicom.files import BROKEN, add_pixels, frame_count, line, listed, numbers, read_dataset, value_of
from lesionsplit.io.dicom.slices import CtSlice
from lesionsplit.volumes.volume import AIR, Voxels

TISSUE = (-900.0, 1500.0)
"""HU of tissue: a padding value in this range is ignored, because it would cut holes into organs."""

SMALLEST_SLOPE, LARGEST_SLOPE, LARGEST_INTERCEPT = 1e-6, 1e4, 1e6
"""Limits of the rescale to HU; other numbers are errors."""


class SliceValues(NamedTuple):
    """The values of a slice."""

    values: Voxels
    """(columns, rows): HU, integers if slope and intercept are."""

    notes: tuple[str, ...]


@dataclass(slots=True)
class SliceReader:
    """Reads and decodes slices of any transfer syntax, and rescales them to HU by their headers."""

    archive: zipfile.ZipFile | None
    """The open archive of the files, if any."""

    force: bool
    """Continue without a rescale."""

    _open: tuple[FileEntry, Dataset] | None = None
    """The multi-frame file that was read last."""

    def read(self, one: CtSlice) -> SliceValues:
        """The values of a slice.

        Raises:
            DataError: the pixels are missing, truncated, or in an unknown encoding; the header has no rescale, or one
                that is absurd.
        """
        entry, header = one.entry, one.header
        dataset = self._dataset(one)
        _check(dataset, entry)
        slope, intercept, notes = _rescale(header, entry, force=self.force)
        try:
            stored = decoded(dataset, one.frame)
        except BROKEN as error:
            raise DataError(f"{entry}: its pixels cannot be decoded ({line(error)}); is the file complete?") from None
        if stored.shape != (dataset.Rows, dataset.Columns):
            raise DataError(f"{entry}: has pixels of shape {stored.shape}, not {dataset.Rows} x {dataset.Columns}")
        padding = _padding(header, stored, slope, intercept)
        stored = _low_bits(stored, int(dataset.BitsStored))
        if slope.is_integer() and intercept.is_integer():
            values: Voxels = stored.astype(np.int64 if stored.itemsize > 2 else np.int32) * int(slope) + int(intercept)
        else:
            values = stored * slope + intercept
        if padding is not None and (values[padding] > AIR).any():  # lower values, air too, stay as they are
            values[padding] = np.minimum(values[padding], AIR)
            notes += (
                f"its padding (PixelPaddingValue {value_of(header, 'PixelPaddingValue')}) was read as {AIR} HU; the "
                "written volumes hold that value there",
            )
        return SliceValues(values.T, notes)

    def _dataset(self, one: CtSlice) -> Dataset:
        if one.pixels is not None:
            return add_pixels(one.header, one.pixels, one.entry, self.archive)
        if self._open and self._open[0] == one.entry:
            return self._open[1]
        dataset = read_dataset(one.entry, self.archive, pixels=True)
        self._open = (one.entry, dataset) if frame_count(dataset) > 1 else None
        return dataset


def _check(dataset: Dataset, entry: FileEntry) -> None:
    """Check for errors that decoders report unclearly."""
    if "PixelData" not in dataset:
        raise DataError(f"{entry}: has no pixels; copy the file again")
    needed = int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) // 8 * frame_count(dataset)
    found = len(value_of(dataset, "PixelData") or b"")
    if found < needed and not dataset.file_meta.TransferSyntaxUID.is_compressed:
        raise DataError(f"{entry}: its pixels are truncated, {found} of {needed} bytes; copy the file again")


def _rescale(dataset: Dataset, entry: FileEntry, *, force: bool) -> tuple[float, float, tuple[str, ...]]:
    slope, intercept = numbers(dataset, "RescaleSlope", 1), numbers(dataset, "RescaleIntercept", 1)
    if slope and intercept and slope[0]:
        if not SMALLEST_SLOPE <= abs(slope[0]) <= LARGEST_SLOPE or abs(intercept[0]) > LARGEST_INTERCEPT:
            raise DataError(
                f"{entry}: its RescaleSlope is {slope[0]:g} and its RescaleIntercept {intercept[0]:g}; allowed: "
                f"{SMALLEST_SLOPE:g} to {LARGEST_SLOPE:g} and up to {LARGEST_INTERCEPT:g}; correct the header"
            )
        return slope[0], intercept[0], ()
    for name, found in (("RescaleSlope", slope), ("RescaleIntercept", intercept)):
        if found is None and listed(value_of(dataset, name)):
            raise DataError(f"{entry}: its {name} is not a finite number; correct the header")
    if not force:
        raise DataError(
            f"{entry}: has no rescale to HU (RescaleSlope, RescaleIntercept); --force reads its values as HU"
        )
    return 1.0, 0.0, ("the headers have no rescale to HU: the values were read as HU",)


def _padding(dataset: Dataset, stored: Voxels, slope: float, intercept: float) -> Voxels | None:
    """The mask of padding that cannot be tissue, (rows, columns); `volumes.padding` recognises the rest."""
    limits = numbers(dataset, "PixelPaddingValue", 1)
    if limits is None or not listed(value_of(dataset, "PixelPaddingValue")):
        return None
    limits += numbers(dataset, "PixelPaddingRangeLimit", 1) or limits
    # The header may have the value unsigned while pixels are signed, or the reverse.
    bits = stored.dtype.itemsize * 8
    low, high = sorted(
        int(np.array(int(value) % (1 << bits), f"u{bits // 8}").astype(stored.dtype)) for value in limits
    )
    if any(TISSUE[0] < value * slope + intercept < TISSUE[1] for value in (low, high)):
        return None
    where: Voxels = (stored >= low) & (stored <= high)
    return where if where.any() else None


def _low_bits(stored: Voxels, bits: int) -> Voxels:
    """Clear the bits above the stored ones, where old files keep overlays."""
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

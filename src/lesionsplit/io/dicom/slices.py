"""The slices in the files of a series: which can be used, and where they lie."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydicom import Dataset

from lesionsplit.errors import DataError
from lesionsplit.io.archive import FileEntry
from lesionsplit.io.dicom.enhanced import frame_headers
from lesionsplit.io.dicom.files import ENHANCED, numbers, read_header, strip, value_of, why_not
from lesionsplit.io.dicom.geometry import Place, place_of


class CtSlice(NamedTuple):
    """A slice that has not been read yet."""

    entry: FileEntry
    frame: int
    """Its number in the file, from 0."""

    header: Dataset
    """Without pixels; of a multi-frame object, with the elements of this frame."""

    pixels: int | None
    """The byte of the file at which the pixels begin; None for a multi-frame object."""

    place: Place


def slices_of(
    entries: Sequence[FileEntry], archive: zipfile.ZipFile | None, *, force: bool
) -> tuple[list[CtSlice], tuple[str, ...]]:
    """The slices in files, and notes.

    Args:
        entries: the files.
        archive: the open archive of the files, if any.
        force: leave out what is no slice of a CT, such as a dose report or a screenshot, or has no position.

    Raises:
        DataError: a file is broken; one is no slice of a CT and ``force`` is off; or none is one.
    """
    found: list[CtSlice] = []
    odd: list[tuple[FileEntry, str]] = []
    for entry in entries:
        for frame, (header, pixels) in enumerate(_headers(entry, archive)):
            try:
                _check(header, str(entry))
                found.append(CtSlice(entry, frame, header, pixels, place_of(header, str(entry))))
            except DataError as error:  # noqa: PERF203
                odd.append((entry, str(error).removeprefix(f"{entry}: ")))
    if not odd:
        return found, ()
    (entry, why), count = odd[0], len(found) + len(odd)
    if not found:
        raise DataError(f"{entry}: {why}")
    if not force:
        raise DataError(f"{entry}: {why}, or use --force to leave out {len(odd)} of {count} slices")
    return found, (f"{len(odd)} of {count} slices were left out: the first {why.partition(';')[0]}",)


def _headers(entry: FileEntry, archive: zipfile.ZipFile | None) -> Iterator[tuple[Dataset, int | None]]:
    header, pixels = read_header(entry, archive)
    header = strip(header)
    if why := why_not(header):
        raise DataError(f"{entry}: is not a CT slice but: {why}; give a CT series with one file per slice")
    if value_of(header, "SOPClassUID") in ENHANCED:
        yield from ((frame, None) for frame in frame_headers(header, str(entry)))
    else:
        yield header, pixels


def _check(header: Dataset, where: str) -> None:
    """Check that a slice is one image of grey pixels."""
    frames = numbers(header, "NumberOfFrames", 1)
    if frames and frames[0] > 1:
        raise DataError(f"{where}: has {frames[0]:g} frames; give a series with one file per slice, or NIfTI")
    photometric = " ".join(str(value_of(header, "PhotometricInterpretation") or "of unknown colour").split())
    if numbers(header, "SamplesPerPixel", 1) != (1,) or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(f"{where}: is {photometric}; a CT is MONOCHROME2")
    shape = [numbers(header, keyword, 1) for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored")]
    if None in shape:
        raise DataError(f"{where}: has no pixels; copy the file again")
    rows, columns, allocated, stored = (size[0] for size in shape if size)
    if min(rows, columns) < 1 or allocated not in (8, 16, 32) or not 1 <= stored <= allocated:
        raise DataError(
            f"{where}: its header declares {rows:g} x {columns:g} pixels of {stored:g} of {allocated:g} bits; allowed: "
            "8, 16 or 32 bits; copy the file again"
        )

"""Stored pixels out of a data set, of whatever transfer syntax."""

from __future__ import annotations

import warnings
from typing import Final, NamedTuple

import numpy as np
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import JPEGTransferSyntaxes

from lesionsplit.dicom.files import BROKEN
from lesionsplit.volumes.volume import Voxels

LAST = "gdcm"
"""The decoder that is asked where no other can, of what was looked at before: broken data may end the whole process."""

START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG's markers of the segment with an image's size."""

HEADERS: Final = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
"""JPEG's other markers before the scan: tables, restarts, remarks."""

SCAN, END = 0xDA, b"\xff\xd9"
"""JPEG's markers of the scan, behind which there are no more headers, and of the end."""


class Jpeg(NamedTuple):
    """What a JPEG image says of itself."""

    bits: int
    rows: int
    columns: int
    channels: int


def decoded(dataset: Dataset) -> Voxels:
    """The stored values, (rows, columns), as unsigned or signed integers.

    Raises:
        ValueError: no decoder makes sense of them, with what the first one says.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of more bytes than pixels, for one
        syntax = dataset.file_meta.TransferSyntaxUID
        decoder = get_decoder(syntax)
        if not decoder.is_encapsulated:
            # Bits above the stored ones are left in: they may make padding what it is.
            return np.asarray(pixel_array(dataset, raw=True, correct_unused_bits=False))
        plugins = [name for name in decoder.available_plugins if name != LAST]
        if syntax in JPEGTransferSyntaxes:
            _check_jpeg(dataset)
        if syntax in JPEGTransferSyntaxes or not plugins:
            plugins += [name for name in decoder.available_plugins if name == LAST]
        reason: BaseException | None = None
        for plugin in plugins:
            try:
                return np.asarray(pixel_array(dataset, raw=True, decoding_plugin=plugin))
            except BROKEN as error:  # noqa: PERF203
                reason = reason or error
        said = str(reason).splitlines() if reason else []  # the last line is the decoder's own
        raise ValueError(said[-1].strip() if said else "there is no decoder for it")


def _check_jpeg(dataset: Dataset) -> None:
    """Before gdcm is asked: the packed image is whole, and what the header says it is."""
    found = _jpeg(get_frame(dataset.PixelData, 0, number_of_frames=1))
    if found is None:
        raise ValueError("the JPEG data in it are broken")
    if found[1:] != (dataset.Rows, dataset.Columns, 1) or not 2 <= found.bits <= dataset.BitsAllocated:
        raise ValueError(
            f"the JPEG data in it have {found.rows} x {found.columns} pixels of {found.channels} x {found.bits} bits, "
            f"not {dataset.Rows} x {dataset.Columns} of {dataset.BitsAllocated}"
        )


def _jpeg(frame: bytes) -> Jpeg | None:
    """The header of a JPEG image; None where its segments do not make one."""
    found: list[Jpeg] = []
    at, whole = 2, END in frame[-4:]
    while whole and at + 10 < len(frame) and frame[at] == 0xFF:
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker == SCAN:
            return found[0] if len(found) == 1 else None
        if marker in START_OF_FRAME:
            rows, columns = (int.from_bytes(frame[at + start : at + start + 2], "big") for start in (5, 7))
            found.append(Jpeg(frame[at + 4], rows, columns, frame[at + 9]))
        elif marker not in HEADERS:
            return None
        at += 2 + length
    return None

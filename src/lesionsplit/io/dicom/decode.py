"""Decode the stored pixels of a data set of any transfer syntax."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from pydicom import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import JPEGTransferSyntaxes

from lesionsplit.io.dicom.files import BROKEN, frame_count
from lesionsplit.volumes.volume import Voxels

LAST = "gdcm"
"""The last resort, used only for data checked before: it may crash the process on broken data."""

START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers of the segment with the image size."""

WITH_LOSS: Final = frozenset({0xC0, 0xC1, 0xC2})
"""Those of the cosine transform, where a header must state the precision of the JPEG data (PS3.5, 8.2.1)."""

HEADERS: Final = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
"""Other JPEG markers before the scan: tables, restarts, comments."""

SCAN, FILL = 0xDA, 0xFF
"""JPEG marker of the scan, after which there are no headers; and the byte that begins a marker."""

BEGINNING, END = b"\xff\xd8", b"\xff\xd9"
"""First and last marker of a JPEG image; the pixels never hold the last one."""

MORE = b"\x55"
"""Data after those of a complete image, which no decoder looks at; of more, gdcm would often print a line."""

EXTENDED = "ExtendedOffsetTable"

FORM: Final = (
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation",
)  # fmt: skip
"""Elements that decoders need."""


class Jpeg(NamedTuple):
    """The header of a JPEG image."""

    bits: int
    rows: int
    columns: int
    channels: int

    with_loss: bool

    end: int
    """Where its end marker is."""


def decoded(dataset: Dataset, number: int = 0) -> Voxels:
    """The stored values of a frame, (rows, columns), as unsigned or signed integers.

    Raises:
        ValueError: no decoder can read them; the text is that of the first one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for example about surplus bytes
        syntax = dataset.file_meta.TransferSyntaxUID
        decoder = get_decoder(syntax)
        if not decoder.is_encapsulated:
            # Bits above the stored ones are kept: the padding value may use them.
            return np.asarray(pixel_array(dataset, index=number, raw=True, correct_unused_bits=False))
        if syntax in JPEGTransferSyntaxes:
            return _jpeg_pixels(dataset, number)
        plugins = decoder.available_plugins
        return _by_any(dataset, number, [name for name in plugins if name != LAST] or plugins)


def _by_any(dataset: Dataset, number: int, plugins: Sequence[str]) -> Voxels:
    """Decode with the first plugin that can."""
    reason: BaseException | None = None
    for plugin in plugins:
        try:
            return np.asarray(pixel_array(dataset, index=number, raw=True, decoding_plugin=plugin))
        except BROKEN as error:  # noqa: PERF203
            reason = reason or error
    lines = str(reason).splitlines() if reason else []  # the last line is that of the decoder
    raise ValueError(lines[-1].strip() if lines else "no decoder is available")


def _jpeg_pixels(dataset: Dataset, number: int) -> Voxels:
    """Decode a JPEG frame, which must be complete: decoders fill in grey where data are missing, and say nothing."""
    frame, header = _checked_jpeg(dataset, number)
    if header.with_loss and header.bits > 8:
        return _by_gdcm(dataset, frame)  # which refuses a frame that is not complete
    values = _alone(dataset, frame)
    # What is filled in is the middle of the range, of which decoders keep the stored bits. Measured values may be that,
    # too: then a decoder ignores data that are added before the end, which it does not where some are missing.
    kept = (1 << min(header.bits, int(dataset.BitsStored))) - 1
    if not (int(values[-1, -1]) ^ 1 << header.bits - 1) & kept:
        longer = frame[: header.end] + MORE + frame[header.end :]
        if not np.array_equal(_alone(dataset, longer), values):
            raise ValueError("its JPEG data end too soon")
    return values


def _alone(dataset: Dataset, frame: bytes) -> Voxels:
    """Decode a JPEG frame as if it were the only one."""
    alone = Dataset()
    alone.file_meta = dataset.file_meta
    for keyword in FORM:
        if keyword in dataset:
            alone[keyword] = dataset[keyword]
    alone.NumberOfFrames = 1
    alone.PixelData = encapsulate([frame])
    plugins = get_decoder(dataset.file_meta.TransferSyntaxUID).available_plugins
    return _by_any(alone, 0, sorted(plugins, key=lambda name: name == LAST))


def _checked_jpeg(dataset: Dataset, number: int) -> tuple[bytes, Jpeg]:
    """A JPEG frame, after a check that it has an end and the size of the header: gdcm relies on both."""
    offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths) if EXTENDED in dataset else None
    frame = get_frame(dataset.PixelData, number, number_of_frames=frame_count(dataset), extended_offsets=offsets)
    found = _jpeg(frame)
    if found is None:
        raise ValueError("its JPEG data are broken")
    stored, allocated = dataset.BitsStored, dataset.BitsAllocated
    if (found.rows, found.columns, found.channels) != (dataset.Rows, dataset.Columns, 1) or not (
        2 <= found.bits <= allocated <= 16
    ):
        raise ValueError(
            f"its JPEG data have {found.rows} x {found.columns} pixels of {found.channels} x {found.bits} bits, "
            f"not {dataset.Rows} x {dataset.Columns} of {allocated}"
        )
    if found.with_loss and (found.bits > stored or (found.bits > 8) != (allocated > 8)):
        raise ValueError(f"its JPEG data have {found.bits} bits, its header declares {stored} of {allocated}")
    return frame, found


def _by_gdcm(dataset: Dataset, frame: bytes) -> Voxels:
    """Decode 12 bits of the extended process, which pydicom does not pass to gdcm."""
    import gdcm

    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(frame)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    bits, stored, signed = (int(dataset[key].value) for key in ("BitsAllocated", "BitsStored", "PixelRepresentation"))
    if bits != 16 or not 8 < stored <= bits or signed not in (0, 1):  # gdcm would end the process
        raise ValueError(f"{stored} of {bits} bits with a PixelRepresentation of {signed} cannot be 12-bit JPEG")
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((int(dataset.Columns), int(dataset.Rows), 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, bits, stored, stored - 1, signed))
    buffer = image.GetBuffer()
    if buffer is None:
        raise ValueError("its JPEG data are broken")
    values = np.frombuffer(buffer.encode("utf-8", "surrogateescape"), f"<{'i' if signed else 'u'}{bits // 8}")
    return values.reshape(dataset.Rows, dataset.Columns)


def _jpeg(frame: bytes) -> Jpeg | None:
    """The header of a JPEG image; None if its segments are invalid, or if it has no end.

    A marker may follow any number of fill bytes, and the end any number of bytes (ITU-T T.81, B.1.1.2; PS3.5, A.4).
    """
    found: list[Jpeg] = []
    at = 2 if frame[:2] == BEGINNING else len(frame)
    while at + 10 < len(frame) and frame[at] == FILL:
        if frame[at + 1] == FILL:
            at += 1
            continue
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker == SCAN:
            end = frame.find(END, at + 2 + length)
            return found[0]._replace(end=end) if len(found) == 1 and end > 0 else None
        if marker in START_OF_FRAME:
            rows, columns = (int.from_bytes(frame[at + start : at + start + 2], "big") for start in (5, 7))
            found.append(Jpeg(frame[at + 4], rows, columns, frame[at + 9], marker in WITH_LOSS, end=0))
        elif marker not in HEADERS:
            return None
        at += 2 + length
    return None

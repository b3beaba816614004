"""Streams that the standard allows are read to the bit; streams that are cut short are refused."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import gdcm
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import get_frame

from lesionsplit.io.dicom.decode import decoded

Stream = Callable[[bytes], bytes]


def item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def even(frame: bytes) -> bytes:
    return frame + b"\0" * (len(frame) % 2)


def filled(frame: bytes, marker: bytes) -> bytes:
    """With fill bytes before a marker."""
    return frame.replace(marker, b"\xff\xff\xff" + marker, 1)


NO_TABLE, TABLE = item(b""), item(struct.pack("<I", 0))

STREAMS: dict[str, Stream] = {
    "plain": lambda frame: NO_TABLE + item(even(frame)),
    "zeros after the end": lambda frame: NO_TABLE + item(even(frame) + bytes(10)),
    "many zeros after the end": lambda frame: NO_TABLE + item(even(frame) + bytes(1000)),
    "ones after the end": lambda frame: NO_TABLE + item(even(frame) + b"\xff" * 10),
    "an odd length": lambda frame: NO_TABLE + item(frame if len(frame) % 2 else frame + b"\0"),
    "two items": lambda frame: NO_TABLE + item(frame[: len(frame) // 4 * 2]) + item(even(frame[len(frame) // 4 * 2 :])),
    "an offset table": lambda frame: TABLE + item(even(frame)),
    "an offset table and three items": lambda frame: (
        TABLE + item(frame[:10]) + item(frame[10:20]) + item(even(frame[20:]) + bytes(6))
    ),
    "an empty item": lambda frame: NO_TABLE + item(even(frame)) + item(b""),
    "a delimiter": lambda frame: NO_TABLE + item(even(frame)) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0),
}  # fmt: skip

JPEG_STREAMS: dict[str, Stream] = {
    "fill bytes before the first marker": lambda frame: NO_TABLE + item(even(frame[:2] + b"\xff\xff" + frame[2:])),
    "fill bytes before the scan": lambda frame: NO_TABLE + item(even(filled(frame, b"\xff\xda"))),
    "fill bytes before the tables": lambda frame: NO_TABLE + item(even(filled(frame, b"\xff\xc4"))),
    "a comment with an end marker": lambda frame: (
        NO_TABLE + item(even(frame[:2] + b"\xff\xfe\0\6\xff\xd9ab" + frame[2:]))
    ),
}  # fmt: skip

SYNTAXES = (
    "JPEGLosslessProcess14_1", "JPEGLosslessProcess14", "JPEGBaselineProcess1", "JPEGExtendedProcess2_4",
    "JPEG2000Lossless", "JPEGLSLossless", "RLELossless",
)  # fmt: skip
EIGHT_BIT = ("JPEGBaselineProcess1", "JPEGExtendedProcess2_4")


@pytest.fixture
def packed(make: ModuleType, tmp_path: Path) -> Callable[..., tuple[pydicom.Dataset, bytes, npt.NDArray[np.int64]]]:
    """A slice in a transfer syntax, its stream without what follows the end, and its stored values.

    Its last rows may be of a value before it is divided by 8 where there are eight bits.
    """

    def pack(syntax: str, last: int | None = None) -> tuple[pydicom.Dataset, bytes, npt.NDArray[np.int64]]:
        hu = make.chest((24, 24, 6)).hu[..., 2].astype(int)
        if last is not None:
            hu[:, -8:] = last - 1024
        data = make.make_slice(hu)
        stored = data.pixel_array.astype(np.int64)
        if syntax in EIGHT_BIT:
            stored //= 8
            data.BitsAllocated = data.BitsStored = 8
            data.HighBit, data.PixelRepresentation = 7, 0
            data["PixelData"].VR, data["PixelData"].value = "OB", stored.astype(np.uint8).tobytes()
        make.write_slice(tmp_path / "a.dcm", data)
        reader, writer, change = gdcm.ImageReader(), gdcm.ImageWriter(), gdcm.ImageChangeTransferSyntax()
        reader.SetFileName(str(tmp_path / "a.dcm"))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(str(tmp_path / "b.dcm"))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        found = pydicom.dcmread(tmp_path / "b.dcm")
        frame = get_frame(found.PixelData, 0, number_of_frames=1)
        if syntax != "RLELossless":
            frame = frame[: frame.rindex(b"\xff\xd9") + 2]
        return found, frame, stored

    return pack


def read(data: pydicom.Dataset, stream: bytes) -> npt.NDArray[np.int64]:
    data["PixelData"].value = stream
    data["PixelData"].is_undefined_length = True
    return decoded(data).astype(np.int64)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_whatever_the_standard_allows_around_a_frame(
    syntax: str, packed: Callable[[str], tuple[pydicom.Dataset, bytes, npt.NDArray[np.int64]]]
) -> None:
    data, frame, stored = packed(syntax)
    streams = STREAMS | (JPEG_STREAMS if syntax.startswith(("JPEGLossless", *EIGHT_BIT)) else {})
    values = {name: read(data, stream(frame)) for name, stream in streams.items()}
    np.testing.assert_allclose(values["plain"], stored, atol=1 if syntax in EIGHT_BIT else 0)
    for name, found in values.items():
        np.testing.assert_array_equal(found, values["plain"], err_msg=name)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_frame_cut_short_is_refused(
    syntax: str, share: float, packed: Callable[[str], tuple[pydicom.Dataset, bytes, npt.NDArray[np.int64]]]
) -> None:
    data, frame, _ = packed(syntax)
    with pytest.raises((ValueError, RuntimeError, OSError)):
        read(data, NO_TABLE + item(even(frame[: int(len(frame) * share)])))


@pytest.mark.parametrize("syntax", SYNTAXES[:4])
@pytest.mark.parametrize("stored", [12, 16])
@pytest.mark.parametrize("share", [0.4, 0.5, 0.9])
def test_a_frame_cut_short_that_was_given_an_end_is_refused(
    share: float,
    stored: int,
    syntax: str,
    packed: Callable[[str], tuple[pydicom.Dataset, bytes, npt.NDArray[np.int64]]],
) -> None:
    data, frame, _ = packed(syntax)
    if syntax not in EIGHT_BIT:
        data.BitsStored, data.HighBit = stored, stored - 1  # of 16 bits in the JPEG data
    with pytest.raises(ValueError, match="its JPEG data end too soon"):
        read(data, NO_TABLE + item(even(frame[: int(len(frame) * share)] + b"\xff\xd9")))


@pytest.mark.parametrize("syntax", SYNTAXES[:4])
def test_a_whole_frame_that_ends_in_the_middle_of_the_range_is_read(
    syntax: str, packed: Callable[..., tuple[pydicom.Dataset, bytes, npt.NDArray[np.int64]]]
) -> None:
    middle = 128 * 8 if syntax in EIGHT_BIT else -(1 << 15)
    data, frame, stored = packed(syntax, middle)
    values = read(data, NO_TABLE + item(even(frame)))
    np.testing.assert_allclose(values, stored, atol=1 if syntax in EIGHT_BIT else 0)
    assert (values[-8:] == (128 if syntax in EIGHT_BIT else middle)).all()


@pytest.mark.parametrize(("stored", "allocated"), [(8, 16), (10, 16)])
def test_more_bits_than_the_header_declares_are_refused(stored: int, allocated: int) -> None:
    data = twelve_bits()
    data.BitsStored, data.HighBit, data.BitsAllocated = stored, stored - 1, allocated
    with pytest.raises(ValueError, match=f"its JPEG data have 12 bits, its header declares {stored} of {allocated}"):
        decoded(data)


@pytest.mark.parametrize("stored", [8, 12, 16])
def test_eight_bits_in_a_header_of_sixteen_are_refused(
    stored: int, packed: Callable[[str], tuple[pydicom.Dataset, bytes, npt.NDArray[np.int64]]]
) -> None:
    data, frame, _ = packed("JPEGExtendedProcess2_4")
    data.BitsStored, data.HighBit, data.BitsAllocated = stored, stored - 1, 16
    with pytest.raises(ValueError, match=f"its JPEG data have 8 bits, its header declares {stored} of 16"):
        read(data, NO_TABLE + item(even(frame)))


def test_twelve_bits_cut_short_are_refused() -> None:
    data = twelve_bits()
    frame = get_frame(data.PixelData, 0, number_of_frames=1)
    with pytest.raises(ValueError, match="its JPEG data are broken"):
        read(data, NO_TABLE + item(even(frame[: len(frame) // 2] + b"\xff\xd9")))


def test_twelve_bits_of_the_extended_process() -> None:
    values = decoded(twelve_bits())
    assert values.shape == (1024, 256)
    assert (values[420, 140], values[230, 120]) == (244, 95)  # as libjpeg decodes them


def twelve_bits() -> pydicom.Dataset:
    file = get_testdata_file("JPEG-lossy.dcm", download=False)
    assert isinstance(file, str)
    data = pydicom.dcmread(file)
    assert data.file_meta.TransferSyntaxUID.name.startswith("JPEG Extended")
    assert data.BitsStored == 12
    return data

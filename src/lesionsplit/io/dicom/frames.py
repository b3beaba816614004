"""Write multi-frame objects slice by slice, completely or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydicom import config, dcmwrite
from pydicom.dataset import Dataset

from lesionsplit.atomic import atomic_file
from lesionsplit.errors import DataError

LARGEST: Final = 2**32 - 2
"""Maximum bytes of the value of a DICOM element."""

PIXEL_DATA: Final = 0x7FE00010, "OB"
FLOAT_PIXEL_DATA: Final = 0x7FE00008, "OF"
"""Tag and value representation."""


class Frame(NamedTuple):
    """Segment and slice of a frame."""

    segment: int
    """Its segment's number; 0 in objects without segments."""

    plane: int
    """Its index on the volume's last axis."""


class Pixels(NamedTuple):
    """The pixel data of an object, as chunks that are not in memory yet."""

    tag: int
    vr: str

    chunks: Iterable[bytes]
    length: int
    """Total bytes."""


def frames_of(dataset: Dataset, planes: Mapping[str, int]) -> list[Frame]:
    """Segment and slice of each frame of an object, in order.

    Args:
        dataset: an object whose frames each refer to one source image.
        planes: indices of the source images on the volume's last axis, by UID.
    """
    frames = []
    for item in dataset.PerFrameFunctionalGroupsSequence:
        image = item.DerivationImageSequence[0].SourceImageSequence[0]
        segment = item.SegmentIdentificationSequence[0].ReferencedSegmentNumber if _has_segments(item) else 0
        frames.append(Frame(int(segment), planes[str(image.ReferencedSOPInstanceUID)]))
    return frames


def packed(masks: Iterable[npt.NDArray[np.bool_]]) -> Iterator[bytes]:
    """Pack frames as bits without gaps, the first pixel in the lowest bit; the total length is even."""
    rest = np.zeros(0, bool)
    written = 0
    for mask in masks:
        bits = np.concatenate([rest, mask.ravel()])
        whole = len(bits) - len(bits) % 8
        rest = bits[whole:]
        written += whole // 8
        yield np.packbits(bits[:whole], bitorder="little").tobytes()
    last = np.packbits(rest, bitorder="little").tobytes()
    yield last + b"\0" * ((written + len(last)) % 2)


def packed_length(frames: int, rows: int, columns: int) -> int:
    """Total bytes of `packed`."""
    length = -(-frames * rows * columns // 8)
    return length + length % 2


def write_whole(path: Path, dataset: Dataset, pixels: Pixels | None = None) -> None:
    """Write a DICOM file completely or not at all; pixel data go through a temporary file, not through memory.

    Raises:
        DataError: the folder or the file cannot be written, or there are too many pixels for DICOM.
    """
    if pixels is not None and pixels.length > LARGEST:
        raise DataError(
            f"{path}: would hold {pixels.length} bytes of pixels; DICOM allows {LARGEST}: give fewer slices"
        )
    with (
        atomic_file(path) as temporary,
        tempfile.TemporaryFile(dir=temporary.parent) as file,
        config.disable_value_validation(),
    ):
        if pixels is not None:
            for chunk in pixels.chunks:
                file.write(chunk)
            file.seek(0)
            dataset.add_new(pixels.tag, pixels.vr, file)
        dcmwrite(temporary, dataset, enforce_file_format=True)


def _has_segments(item: Dataset) -> bool:
    return "SegmentIdentificationSequence" in item

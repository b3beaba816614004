"""Frames of multi-frame objects, a slice at a time through a file, and files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydicom import config, dcmwrite
from pydicom.dataset import Dataset

from lesionsplit.errors import DataError

LARGEST: Final = 2**32 - 2
"""Bytes of the largest value that a DICOM element can say the length of."""


PIXEL_DATA: Final = 0x7FE00010, "OB"
FLOAT_PIXEL_DATA: Final = 0x7FE00008, "OF"
"""Tag and value representation."""


class Frame(NamedTuple):
    """What a frame shows."""

    segment: int
    """Its segment's number; 0 in objects without segments."""

    plane: int
    """Its slice, on the volume's last axis."""


class Pixels(NamedTuple):
    """The pixel data of an object, not yet in memory."""

    tag: int
    vr: str

    chunks: Iterable[bytes]
    length: int
    """Bytes in all."""


def frames_of(dataset: Dataset, planes: Mapping[str, int]) -> list[Frame]:
    """What each frame of an object shows, as the object itself says, in order.

    Args:
        dataset: an object whose frames each refer to one source image.
        planes: the source images' places on the volume's last axis, by UID.
    """
    frames = []
    for item in dataset.PerFrameFunctionalGroupsSequence:
        image = item.DerivationImageSequence[0].SourceImageSequence[0]
        segment = item.SegmentIdentificationSequence[0].ReferencedSegmentNumber if _has_segments(item) else 0
        frames.append(Frame(int(segment), planes[str(image.ReferencedSOPInstanceUID)]))
    return frames


def packed(masks: Iterable[npt.NDArray[np.bool_]]) -> Iterator[bytes]:
    """Frames as bits, one after the other without gaps, the first pixel the lowest bit; of even length in all."""
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
    """Bytes that `packed` makes of so many frames."""
    length = -(-frames * rows * columns // 8)
    return length + length % 2


def write_whole(path: Path, dataset: Dataset, pixels: Pixels | None = None) -> None:
    """Write a DICOM file beside ``path`` and rename it there; pixel data goes through a file, not through memory.

    Raises:
        DataError: the folder cannot be made, the file cannot be written, or the pixels are too many for DICOM.
    """
    if pixels is not None and pixels.length > LARGEST:
        raise DataError(f"{path}: would hold {pixels.length} bytes of pixels; DICOM allows {LARGEST}: give less slices")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent) as file, config.disable_value_validation():
            if pixels is not None:
                for chunk in pixels.chunks:
                    file.write(chunk)
                file.seek(0)
                dataset.add_new(pixels.tag, pixels.vr, file)
            dcmwrite(beside, dataset, enforce_file_format=True)
        beside.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
    finally:
        with suppress(OSError):
            beside.unlink()


def _has_segments(item: Dataset) -> bool:
    return "SegmentIdentificationSequence" in item

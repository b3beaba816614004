"""Grey image files in and out: PNG, JPG and TIFF of 8 or 16 bit, through Pillow."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from lesionsplit.errors import DataError

Grey: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""A grey image, (rows, columns), 8 or 16 bit."""

Float: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]

LARGEST = 8192 * 8192
"""Pixels of the largest image that is read: a header can claim any size."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def read_grey(path: Path) -> Grey:
    """Read one grey image, 8 or 16 bit; colour files whose channels are equal count as grey.

    Raises:
        DataError: the file is missing, unreadable, in colour, has several pages or another depth.
    """
    with _opened(path) as image:
        if (pages := getattr(image, "n_frames", 1)) > 1:
            raise DataError(f"{path}: has {pages} pages; give one slice a file")
        image.load()
        return _grey(image, path)


def read_mask_file(path: Path, inside: str) -> Mask:
    """Read a mask, (rows, columns): True above half of full scale.

    Args:
        path: a grey image, white on black.
        inside: what white means, for the message.

    Raises:
        DataError: the file cannot be read, or has no white but values that are not black.
    """
    image = read_grey(path)
    half = full_scale(image) // 2
    if 0 < image.max() <= half:  # classes 0, 1, 2 for one: all of them would count as black
        raise DataError(
            f"mask {path} has values up to {image.max()}; allowed: 0 for outside and {full_scale(image)} for {inside}"
        )
    mask: Mask = image > half
    return mask


class Header(NamedTuple):
    """What a file's first bytes say of its image."""

    rows: int
    columns: int
    bits: int


def read_header(path: Path) -> Header:
    """Size and depth of an image without decoding it.

    Raises:
        DataError: the file is missing or not an image.
    """
    with _opened(path) as image:
        return Header(image.height, image.width, 16 if image.mode.startswith("I") else 8)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An open image file; whatever Pillow finds wrong with it becomes one line."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > LARGEST:
                raise DataError(f"{path}: has {image.height} x {image.width} pixels; give single CT slices")
            yield image
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, not an image") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: is not an image; allowed: {', '.join(SUFFIXES)}") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path}: claims to have more than {LARGEST} pixels; give single CT slices") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # Pillow's ways to say "broken"
        raise DataError(f"{path}: cannot be read ({error}); is the file whole?") from None


def full_scale(image: Grey) -> int:
    """The grey that counts as 1.0: 255 or 65535."""
    return int(np.iinfo(image.dtype).max)


def as_float(image: Grey) -> Float:
    """Grey as a fraction of full scale, 0 to 1."""
    return image.astype(np.float32) / np.float32(full_scale(image))


def as_grey(fraction: Float, dtype: npt.DTypeLike = np.uint8) -> Grey:
    """A fraction of full scale, clipped to 0 to 1, as grey of 8 or 16 bit, rounded to nearest."""
    top = np.iinfo(dtype).max
    grey: Grey = np.rint(np.clip(fraction, 0, 1) * np.float32(top)).astype(dtype)
    return grey


def write_image(path: Path, image: npt.NDArray[np.generic] | Image.Image) -> None:
    """Write a PNG beside ``path`` and rename it there, so that no reader ever sees half a file."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; makes the folder.

    Raises:
        DataError: the folder cannot be made or the file cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def resize(image: Float, shape: tuple[int, int], method: Image.Resampling = Image.Resampling.BILINEAR) -> Float:
    """Resample (rows, columns) to ``shape``; edges of the frame stay edges; shrinking averages."""
    if image.shape == shape:
        return image
    rows, columns = shape
    resized = Image.fromarray(image).resize((columns, rows), method)
    return np.array(resized, dtype=np.float32)


def _grey(image: Image.Image, path: Path) -> Grey:
    if image.mode == "L":
        return np.array(image, dtype=np.uint8)
    if image.mode.startswith("I;16"):
        return np.array(image, dtype=np.uint16)
    if image.mode == "I":  # how Pillow holds some 16-bit files
        wide = np.array(image)
        if wide.min() >= 0 and wide.max() <= np.iinfo(np.uint16).max:
            return wide.astype(np.uint16)
    if image.mode in ("RGB", "RGBA", "P", "LA"):
        colour = np.array(image.convert("RGB"))
        if (colour == colour[..., :1]).all():
            return np.ascontiguousarray(colour[..., 0])
        raise DataError(f"{path}: is a colour image; CT slices are grey, 8 or 16 bit")
    raise DataError(f"{path}: has pixels of type {image.mode!r}; allowed: grey, 8 or 16 bit")

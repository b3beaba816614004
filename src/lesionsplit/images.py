"""Read and write images with Pillow: PNG, JPG and TIFF, 8 or 16 bit, grey or in colour."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from lesionsplit.atomic import atomic_file
from lesionsplit.errors import DataError, log_trace

Grey: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""An image, (rows, columns) of grey or (rows, columns, 3) in colour, 8 or 16 bit."""

Float: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]

LARGEST = 8192 * 8192
"""Maximum number of pixels of an image: a header can claim any size."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

PHOTOMETRIC, WHITE_IS_ZERO = 262, 0
"""Tag of TIFF, and its value for pictures whose lowest value is white."""

BITS = 258
"""Tag of TIFF: bits of each channel."""

DARK = 64
"""Grey of 8 bits below which the upper half of 16 bits holds no more than 14 bits."""

COLOUR_MODES = ("RGB", "RGBA", "RGBX", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
"""Kinds of pixels, as Pillow calls them, that can have a colour."""

BROKEN = (
    OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow raises for broken files."""

# Pillow knows this kind of the other byte order only.
TiffImagePlugin.OPEN_INFO.setdefault((b"MM", WHITE_IS_ZERO, (1,), 1, (16,), ()), ("I;16B", "I;16B"))


def read_grey(path: Path) -> Grey:
    """Read one grey image, 8 or 16 bit; colour files whose channels are equal count as grey.

    Raises:
        DataError: the file is missing, unreadable, in colour, has several pages or another depth.
    """
    with _loaded(path) as image:
        return _grey(image, path)


def read_plain_grey(path: Path) -> Grey:
    """As `read_grey`, for images of anything.

    Raises:
        DataError: as of `read_grey`; the message about colour says what the other images are.
    """
    with _loaded(path) as image:
        if _coloured(image):
            raise DataError(f"{path}: is in colour, and the other images are grey; give it in grey, 8 or 16 bit")
        return _grey(image, path)


def read_colour(path: Path) -> Grey:
    """Read one image in colour, (rows, columns, 3), 8 or 16 bit; transparency is ignored.

    Raises:
        DataError: the file is missing, unreadable, grey, or has several pages.
    """
    with _loaded(path) as image:
        if image.mode not in COLOUR_MODES:
            raise DataError(f"{path}: is grey, and the other images are in colour; give it with red, green and blue")
        if not _has_16_bits(image, path):
            return np.array(image.convert("RGB"), dtype=np.uint8)
    return _colour_of_16_bits(path)


def is_colour(path: Path) -> bool | None:
    """Whether an image file is in colour; None: it has channels for colour, but all are equal.

    Raises:
        DataError: it is unreadable.
    """
    with _loaded(path) as image:
        if image.mode not in COLOUR_MODES:
            return False
        return True if _coloured(image) else None


def read_pixels(path: Path) -> Grey:
    """Read one image as it is, grey or in colour.

    Raises:
        DataError: the file is missing, unreadable, has several pages or another depth.
    """
    return read_colour(path) if is_colour(path) else read_grey(path)


def read_mask_file(path: Path, inside: str) -> Mask:
    """Read a mask, (rows, columns), of any of the kinds that programs write.

    Of a file with two values, one of them 0, the other is True: 1 bit, 0 and 1, 0 and 255, of any depth. Of a palette
    with colours the index counts. Otherwise, as in JPEG, what is above half of full scale is True.

    Args:
        path: a grey image, white on black.
        inside: what white means, for the message.

    Raises:
        DataError: the file cannot be read, or has several values but no white.
    """
    with _loaded(path) as image:
        values = _mask_values(image, path)
    lowest, highest = values.min(), values.max()
    if lowest == 0 and ((values == 0) | (values == highest)).all():
        return values > 0
    top = {"uint8": 255, "uint16": 65535, "float32": 1}[values.dtype.name]
    half = top // 2 if top > 1 else 0.5
    if highest <= half:  # class numbers such as 0, 1, 2: all of them would count as black
        raise DataError(
            f"mask {path} has values up to {highest:g}; allowed: 0 for outside and {top} for {inside}, or 0 and one "
            "other value"
        )
    mask: Mask = values > half
    return mask


class Header(NamedTuple):
    """Size and bit depth from the header of an image file."""

    rows: int
    columns: int
    bits: int


def read_header(path: Path) -> Header:
    """Read the size and bit depth of an image without decoding it.

    Raises:
        DataError: the file is missing or not an image.
    """
    with _opened(path) as image:
        return Header(image.height, image.width, 16 if image.mode.startswith("I") else 8)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file.

    Raises:
        DataError: it is missing, not an image, or too large.
    """
    with _pillow_errors(path), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is checked here
        opened = Image.open(path)
    with opened as image:
        if image.width * image.height > LARGEST:
            raise DataError(f"{path}: has {image.height} x {image.width} pixels; allowed: at most {LARGEST}")
        if not image.width * image.height:
            raise DataError(f"{path}: has no pixels; is the file complete?")
        yield image


@contextmanager
def _pillow_errors(path: Path) -> Iterator[None]:
    """Turn errors of opening and decoding into a DataError of one line; the trace of unusual ones goes to the log."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, not an image") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: {_unidentified(path)}") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path}: claims to have more than {LARGEST} pixels; is the file broken?") from None
    except Exception as error:  # broken files make Pillow raise errors of any type
        why = " ".join(str(error).split()) or type(error).__name__
        line = f"{path}: cannot be read ({why}); is the file complete?"
        if not isinstance(error, BROKEN):
            log_trace(error, line)
        raise DataError(line) from None


@contextmanager
def _loaded(path: Path) -> Iterator[Image.Image]:
    """As `_opened`, decoded, and of one page."""
    with _opened(path) as image:
        with _pillow_errors(path):
            pages = getattr(image, "n_frames", 1)
        if pages > 1:
            raise DataError(f"{path}: has {pages} pages; give one slice per file")
        with _pillow_errors(path):
            image.load()
        yield image


def _unidentified(path: Path) -> str:
    """Why Pillow does not know a file."""
    with path.open("rb") as file:
        if file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return "is a TIFF of a kind that is not read, or broken; save it as PNG, 8 or 16 bit"
    return f"is not an image; allowed: {', '.join(SUFFIXES)}"


def full_scale(image: Grey) -> int:
    """The grey value that means 1.0: 255 or 65535."""
    return int(np.iinfo(image.dtype).max)


def as_float(image: Grey) -> Float:
    """Grey as a fraction of full scale, 0 to 1."""
    return image.astype(np.float32) / np.float32(full_scale(image))


def shown(image: Grey) -> Float:
    """As `as_float`, for pictures: grey of 10 to 14 bits in a file of 16 is a fraction of what its bits hold."""
    bits = int(image.max()).bit_length() if image.size else 0
    return as_float(image) if not 8 < bits < 15 else image.astype(np.float32) / np.float32((1 << bits) - 1)


def as_grey(fraction: Float, dtype: npt.DTypeLike = np.uint8) -> Grey:
    """A fraction of full scale, clipped to 0 to 1, as grey of 8 or 16 bit, rounded to nearest."""
    top = np.iinfo(dtype).max
    grey: Grey = np.rint(np.clip(fraction, 0, 1) * np.float32(top)).astype(dtype)
    return grey


def write_image(path: Path, image: npt.NDArray[np.generic] | Image.Image) -> None:
    """Write a PNG completely or not at all."""
    if not isinstance(image, Image.Image):
        if image.dtype == np.uint16 and image.ndim == 3:  # Pillow has no colour of 16 bits
            _write_colour_of_16_bits(path, image)
            return
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())


def write_bytes(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file completely or not at all; create its folder.

    Args:
        path: replaced if it exists.
        content: what the file will hold.
        durable: as of `atomic_file`.

    Raises:
        DataError: the folder cannot be created or the file cannot be written.
    """
    with atomic_file(path, durable=durable) as temporary:
        temporary.write_bytes(content)


def resize(image: Float, shape: tuple[int, int], method: Image.Resampling = Image.Resampling.BILINEAR) -> Float:
    """Resample (rows, columns) to ``shape``; the frame stays the same, and shrinking averages."""
    if image.shape == shape:
        return image
    rows, columns = shape
    resized = Image.fromarray(image).resize((columns, rows), method)
    return np.array(resized, dtype=np.float32)


def _coloured(image: Image.Image) -> bool:
    """Whether an image has a colour at all: its channels differ somewhere."""
    if image.mode not in COLOUR_MODES:
        return False
    colour = np.array(image.convert("RGB"))
    return bool((colour != colour[..., :1]).any())


def _colour_of_16_bits(path: Path) -> Grey:
    import SimpleITK  # loading it takes a quarter of a second

    with _pillow_errors(path):
        values = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    colour: Grey = np.ascontiguousarray(values[..., :3].astype(np.uint16))
    return colour


def _write_colour_of_16_bits(path: Path, image: npt.NDArray[np.generic]) -> None:
    import SimpleITK

    with atomic_file(path) as temporary:
        named = temporary.with_name(f"{temporary.name}.png")  # its writer goes by the name
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(image, isVector=True), str(named))
        named.replace(temporary)


def _grey(image: Image.Image, path: Path) -> Grey:
    if image.mode == "L":
        return np.array(image, dtype=np.uint8)
    if image.mode.startswith("I"):  # Pillow opens some 16-bit files in mode I, of 32 bit
        wide = np.array(image)
        top = np.iinfo(np.uint16).max
        if wide.min() >= 0 and wide.max() <= top:
            grey = wide.astype(np.uint16)
            return top - grey if _white_is_zero(image) else grey
    if image.mode in ("RGB", "RGBA", "P", "LA"):
        colour = np.array(image.convert("RGB"))
        if (colour == colour[..., :1]).all():
            if image.mode != "P" and colour.max() < DARK and _has_16_bits(image, path):
                raise DataError(
                    f"{path}: has 16 bits in several channels, of which the upper 8 are read and are nearly black; "
                    "save it as grey, with one channel"
                )
            return np.ascontiguousarray(colour[..., 0])
        raise DataError(f"{path}: is a colour image; CT slices are grey, 8 or 16 bit")
    if image.mode in ("I", "F"):
        values = np.array(image)
        raise DataError(
            f"{path}: has values from {values.min():g} to {values.max():g}; allowed: grey, 8 or 16 bit; a slice in HU "
            "is read from NIfTI, NRRD or MetaImage"
        )
    raise DataError(f"{path}: has pixels of type {image.mode!r}; allowed: grey, 8 or 16 bit")


def _has_16_bits(image: Image.Image, path: Path) -> bool:
    """Whether a file with several channels has 16 bits in each, of which Pillow reads 8."""
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24:] == b"\x10"
    return 16 in np.atleast_1d(getattr(image, "tag_v2", {}).get(BITS, 8))


def _white_is_zero(image: Image.Image) -> bool:
    """Whether the lowest value of a TIFF of more than 8 bits is white: Pillow inverts only smaller depths."""
    return bool(getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO)


def _mask_values(image: Image.Image, path: Path) -> npt.NDArray[np.uint8 | np.uint16 | np.float32]:
    """The values of a mask, 0 or higher; those of a palette with colours are its indices."""
    if image.mode == "1":
        return np.array(image, dtype=np.uint8)
    if image.mode == "P":
        used = np.array(image.convert("RGB"))
        return np.array(image, dtype=np.uint8) if (used != used[..., :1]).any() else _grey(image, path)
    if image.mode == "F" and not _white_is_zero(image):
        values = np.array(image, dtype=np.float32)
        if np.isfinite(values).all() and values.min() >= 0:
            return values
    return _grey(image, path)

"""Open NIfTI files and pairs of files, packed or not, whatever they are called."""

from __future__ import annotations

import gzip
import io
import warnings
import weakref
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NamedTuple, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.imageglobals import logger
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from lesionsplit.errors import DataError
from lesionsplit.io.stack import check_beside

BROKEN = (
    ImageFileError, HeaderDataError, OSError, EOFError, ValueError, TypeError, KeyError, IndexError, OverflowError,
    WrapStructError, zlib.error,
)  # fmt: skip
"""What nibabel raises for broken files."""

GZIP: Final = b"\x1f\x8b"

SIZES: Final = {348: 1, 540: 2}
"""Bytes of a header, its first number, and the version of NIfTI."""

ORDERS: Final[tuple[Literal["little", "big"], ...]] = ("little", "big")


def _lenient(kind: Any) -> Any:
    """A kind of image of nibabel that normalises quaternions longer than 1, as ITK and FSL do."""

    def quaternion(header: Any) -> npt.NDArray[np.float64]:
        turns = np.array([float(header[f"quatern_{axis}"]) for axis in "bcd"])
        if turns @ turns <= 1:
            return kind.header_class.get_qform_quaternion(header)  # type: ignore[no-any-return]
        return np.array([0.0, *turns / np.linalg.norm(turns)])

    header = type(kind.header_class.__name__, (kind.header_class,), {"get_qform_quaternion": quaternion})
    return type(kind.__name__, (kind,), {"header_class": header})


KINDS: Final[dict[bytes, Any]] = {
    b"n+1\0": _lenient(nib.Nifti1Image),
    b"ni1\0": _lenient(nib.Nifti1Pair),
    b"n+2\0": _lenient(nib.Nifti2Image),
    b"ni2\0": _lenient(nib.Nifti2Pair),
}
"""The magic of a header, and how nibabel reads its file."""


class Opened(NamedTuple):
    """A NIfTI file."""

    image: Any
    """Of nibabel; its voxels are read from the file when they are asked for."""

    raw: Any
    """The header as it is in the file: that of the image is repaired."""

    voxels: Path
    """The file of the voxels."""

    packed: bool
    """Whether it is compressed with gzip, whatever its name."""


def load(path: Path) -> Opened:
    """Open a NIfTI file, or the header of a pair of files.

    Raises:
        DataError: it is missing, or not NIfTI.
    """
    with _errors(path), _opened(path) as file:
        beginning = file.read(max(SIZES))
    kind = KINDS.get(_magic(beginning))
    if kind is None:
        raise DataError(f"{path}: {_why_not(beginning)}")
    with _errors(path):
        raw = kind.header_class.from_fileobj(io.BytesIO(beginning), check=False)
    files = [path] if raw.is_single else [_beside(path), path]
    with _errors(path):
        opened = [_opened(one) for one in files]
        try:
            holders = [FileHolder(fileobj=cast(io.IOBase, file)) for file in opened]
            names = ("image", "header")
            with _quiet():
                image = kind.from_file_map(dict(zip(names, holders, strict=False)), mmap=False)
        except BaseException:
            _close(opened)
            raise
    weakref.finalize(image, _close, opened)
    return Opened(image, raw, files[0], isinstance(opened[0], gzip.GzipFile))


def is_header(beginning: bytes) -> bool:
    """Whether a file, packed or not, begins as headers of NIfTI and Analyze do."""
    if beginning[:2] == GZIP:
        with suppress(EOFError, zlib.error):  # what follows is cut off
            beginning = zlib.decompressobj(wbits=31).decompress(beginning, 4)
    return any(int.from_bytes(beginning[:4], order) in SIZES for order in ORDERS)


def _magic(beginning: bytes) -> bytes:
    """The magic of a header; empty if it is none."""
    for order in ORDERS:
        version = SIZES.get(int.from_bytes(beginning[:4], order))
        if version is not None:
            return beginning[344:348] if version == 1 else beginning[4:8]
    return b""


def _why_not(beginning: bytes) -> str:
    if not beginning:
        return "is not a NIfTI file that can be read (it is empty); is it complete?"
    if any(SIZES.get(int.from_bytes(beginning[:4], order)) == 1 for order in ORDERS):
        return "is Analyze, not NIfTI, and has no orientation; convert it to .nii"
    return "is not a NIfTI file that can be read (it has no header of NIfTI); is it complete?"


def _opened(path: Path) -> BinaryIO:
    """A file for reading, unpacked if it is packed."""
    file = path.open("rb")
    packed = file.read(2) == GZIP
    file.seek(0)
    return cast(BinaryIO, _Unpacked(file)) if packed else file


class _Unpacked(gzip.GzipFile):
    """Closes the packed file, too."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(fileobj=file, mode="rb")
        self._packed = file

    def close(self) -> None:
        super().close()
        self._packed.close()


def _close(files: list[BinaryIO]) -> None:
    for file in files:
        file.close()


def voxel_files(header: Path) -> list[Path]:
    """The files that may hold the voxels of a pair."""
    stem = header.with_suffix("") if header.suffix.lower() == ".gz" else header
    return [stem.with_suffix(suffix) for suffix in (".img", ".IMG", ".img.gz", ".IMG.gz")]


def _beside(header: Path) -> Path:
    files = voxel_files(header)
    found = next((path for path in files if path.is_file()), files[0])
    check_beside(header, found)
    return found


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except BROKEN as error:
        raise DataError(f"{path}: is not a NIfTI file that can be read ({line(error)}); is it complete?") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress messages of nibabel about errors of headers: those that matter are found by `nifti_geometry`."""
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


def line(error: BaseException) -> str:
    """The text of an error on one line."""
    return " ".join(str(error).split()) or type(error).__name__

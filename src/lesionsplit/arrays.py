"""Arrays in memory-mapped files whose space on the disk is reserved before anything is stored in them.

A file that has got its size by truncation has no space yet. On a full disk, a store into its memory map ends the
process with a signal (SIGBUS), which no program can turn into a message.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionsplit.errors import DataError

BLOCK = bytes(1 << 20)
"""What is written at a time where the system cannot reserve space."""

SEAL = hashlib.sha256().digest_size
"""Bytes at the end of a sealed file."""


def new_array(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A new .npy file of zeros, memory-mapped, with all of its space.

    Raises:
        DataError: the file cannot be written, or the disk has no space for it; the message says how much it needs.
    """
    buffer = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    header = buffer.getvalue()
    size = len(header) + bytes_of(shape, dtype)
    try:
        with path.open("wb") as file:
            reserve(file.fileno(), size)
            file.seek(0)
            file.write(header)
        return np.memmap(path, dtype=dtype, mode="r+", offset=len(header), shape=shape)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror or error}); it needs {in_words(size)}: free some space, or "
            "choose another folder"
        ) from None


def seal(path: Path) -> None:
    """Append the SHA-256 of a file to it, so that `is_sealed` can tell whether it has changed.

    Raises:
        OSError: the disk is full.
    """
    with path.open("ab") as file:
        file.write(_sha256(path, path.stat().st_size))


def is_sealed(path: Path) -> bool:
    """Whether a file exists and is as it was when `seal` ended."""
    try:
        size = path.stat().st_size - SEAL
        with path.open("rb") as file:
            file.seek(max(0, size))
            return size >= 0 and file.read() == _sha256(path, size)
    except OSError:
        return False


def open_array(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An existing .npy file, memory-mapped and read-only; bytes after the array are ignored.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or of another shape or dtype.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # what NumPy raises for a damaged header depends on the damage
        raise ValueError(f"{path}: is no whole .npy file ({error})") from None
    if array.shape != shape or array.dtype != np.dtype(dtype):
        raise ValueError(f"{path}: is {array.dtype} {array.shape}; needed: {np.dtype(dtype)} {shape}")
    return array


def reserve(file: int, size: int) -> None:
    """Give a new, empty file its size and its space on the disk, by its descriptor.

    Raises:
        OSError: there is not enough.
    """
    size = max(1, size)
    try:
        os.posix_fallocate(file, 0, size)
    except AttributeError:  # Windows, macOS
        pass
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
    else:
        return
    done = 0
    while done < size:
        done += os.write(file, BLOCK[: size - done])


def _sha256(path: Path, size: int) -> bytes:
    """Of the first bytes of a file."""
    content = hashlib.sha256()
    with path.open("rb") as file:
        while size > 0 and (some := file.read(min(size, len(BLOCK)))):
            content.update(some)
            size -= len(some)
    return content.digest()


def bytes_of(shape: tuple[int, ...], dtype: npt.DTypeLike) -> int:
    """Bytes of an array, which may be more than an int64 holds."""
    return int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize


def in_words(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"

"""Room on disk for what is too large for memory: whole volumes, while a few slices of them are worked on."""

from __future__ import annotations

import mmap
import os
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from lesionsplit.errors import DataError
from lesionsplit.volumes.volume import Volume, Voxels


class Scratch:
    """A folder of arrays that is gone when its block ends.

    >>> with Scratch() as scratch:
    ...     scores = scratch.array((512, 512, 1000), np.uint16)
    """

    def __init__(self, folder: Path | None = None) -> None:
        """In ``folder``, by default the system's for temporary files."""
        self._folder = tempfile.TemporaryDirectory(prefix="lesionsplit-", dir=folder, ignore_cleanup_errors=True)
        self._count = 0

    def array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Voxels:
        """A new array of zeros; what differs in the last index only is far apart (Fortran order).

        Raises:
            DataError: there is no room on the disk.
        """
        array: Voxels = self._mapped(tuple(reversed(shape)), dtype).T
        return array

    def like(self, volume: Volume, dtype: npt.DTypeLike) -> Voxels:
        """A new array of zeros on a volume's grid, each axial slice in one piece, whatever the order of the axes.

        Raises:
            DataError: there is no room on the disk.
        """
        return volume.from_axial(self._mapped(volume.axial().shape, dtype))

    def _mapped(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Voxels:
        path = Path(self._folder.name) / f"{self._count}.raw"
        self._count += 1
        size = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
        try:
            with path.open("wb") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, max(1, size))  # a full disk is to be known now
                else:
                    file.truncate(max(1, size))
            array: Voxels = np.memmap(path, dtype=dtype, mode="r+", shape=shape)
        except OSError as error:
            raise DataError(
                f"{self._folder.name}: no room for temporary files ({error.strerror}); free some, or set TMPDIR to "
                "another folder"
            ) from None
        with suppress(OSError):  # where a file that is open can go, nothing is left behind even by kill -9
            path.unlink()
        return array

    def __enter__(self) -> Scratch:
        """The scratch itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the folder."""
        self._folder.cleanup()


BLOCK = 64
"""Planes that are turned at a time."""


def axially_stored(volume: Volume, scratch: Scratch) -> Volume:
    """The volume with each axial slice in one piece on disk; one that is stored so already as it is.

    Of one that was stored in sagittal or coronal planes, every axial slice would touch all of the file.
    """
    axial = volume.axial()
    if abs(axial.strides[0]) >= max(map(abs, axial.strides[1:])):
        return volume
    array = scratch.like(volume, volume.array.dtype)
    far = int(np.argmax(np.abs(volume.array.strides)))
    for first in range(0, volume.shape[far], BLOCK):
        some = tuple(slice(first, first + BLOCK) if axis == far else slice(None) for axis in range(3))
        array[some] = np.array(volume.array[some])
        forget(array)
        forget(volume.array)
    return replace(volume, array=array)


def forget(array: Voxels) -> None:
    """Take an array of `Scratch` out of memory; it stays on disk and comes back as it is read. Others: nothing."""
    base: object = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    mapped = getattr(base, "_mmap", None)
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.flush()
        mapped.madvise(mmap.MADV_DONTNEED)

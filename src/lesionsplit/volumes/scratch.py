"""Arrays on disk for volumes that are too large for memory and processed a few slices at a time."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from lesionsplit.arrays import bytes_of, in_words, reserve
from lesionsplit.atomic import temporary_folder
from lesionsplit.errors import DataError
from lesionsplit.volumes.volume import Volume, Voxels

Item = TypeVar("Item")

BLOCK = 64
"""Planes that are copied at a time."""

SLICES = 32
"""Slices after which memory pages of arrays on disk are released."""


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """A temporary folder; what killed processes left is removed first.

    Args:
        parent: by default the system's folder for temporary files.

    Raises:
        DataError: it cannot be created.
    """
    with ExitStack() as stack:
        try:
            parent = parent or Path(tempfile.gettempdir())
            folder = stack.enter_context(temporary_folder(parent))
        except OSError as error:
            raise DataError(
                f"{parent or 'TMPDIR'}: no temporary folder can be made ({error.strerror}); free some space, or set "
                "TMPDIR to another folder"
            ) from None
        yield folder


class Scratch:
    """A temporary folder of arrays, removed when its block ends.

    >>> with Scratch() as scratch:
    ...     scores = scratch.array((512, 512, 1000), np.uint16)
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Create it in ``folder``, by default the system's folder for temporary files.

        Raises:
            DataError: it cannot be created.
        """
        self._stack = ExitStack()
        self._folder = self._stack.enter_context(scratch_folder(folder))
        self._count = 0

    def array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Voxels:
        """A new array of zeros in Fortran order: the last index changes slowest.

        Raises:
            DataError: the disk is full.
        """
        array: Voxels = self._mapped(tuple(reversed(shape)), dtype).T
        return array

    def like(self, volume: Volume, dtype: npt.DTypeLike) -> Voxels:
        """A new array of zeros on a volume's grid, with contiguous axial slices.

        Raises:
            DataError: the disk is full.
        """
        return volume.from_axial(self._mapped(volume.axial().shape, dtype))

    def _mapped(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Voxels:
        path = self._folder / f"{self._count}.raw"
        self._count += 1
        size = bytes_of(shape, dtype)
        try:
            with path.open("wb") as file:
                reserve(file.fileno(), size)
            array: Voxels = np.memmap(path, dtype=dtype, mode="r+", shape=shape)
        except OSError as error:
            raise DataError(
                f"{self._folder.parent}: no space for temporary files ({error.strerror}); needed: {in_words(size)}; "
                "free some, or set TMPDIR to another folder"
            ) from None
        with suppress(OSError):  # where open files can be unlinked, even kill -9 leaves nothing behind
            path.unlink()
        return array

    def __enter__(self) -> Scratch:
        """Return the scratch."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the folder."""
        self._stack.close()


def axially_stored(volume: Volume, scratch: Scratch) -> Volume:
    """Copy a volume so that its axial slices are contiguous on disk; unchanged if they are already.

    An axial slice of a volume stored in sagittal or coronal planes would touch the whole file.
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
    """Release the memory pages of an array of `Scratch`, which stays on disk; other arrays are not affected."""
    base: object = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    mapped = getattr(base, "_mmap", None)
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)  # of a shared map: what was written stays, in the system's cache or on disk


def releasing(items: Iterable[Item], *arrays: Voxels, every: int = SLICES) -> Iterator[Item]:
    """Yield items; after every ``every`` of them and at the end release the memory pages of arrays on disk."""
    for number, item in enumerate(items, 1):
        yield item
        if number % every == 0:
            for array in arrays:
                forget(array)
    for array in arrays:
        forget(array)

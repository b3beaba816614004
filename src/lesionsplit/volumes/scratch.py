"""Room on disk for what is too large for memory: whole volumes, while a few slices of them are worked on."""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from lesionsplit.errors import DataError
from lesionsplit.volumes.volume import Voxels


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
        """A new array of zeros, axial slices of it contiguous where the last axis counts slices (Fortran order).

        Raises:
            DataError: there is no room on the disk.
        """
        path = Path(self._folder.name) / f"{self._count}.raw"
        self._count += 1
        try:
            array: Voxels = np.memmap(path, dtype=dtype, mode="w+", shape=shape, order="F")
        except OSError as error:
            raise DataError(
                f"{self._folder.name}: no room for temporary files ({error.strerror}); free some, or set TMPDIR to "
                "another folder"
            ) from None
        return array

    def __enter__(self) -> Scratch:
        """The scratch itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the folder."""
        self._folder.cleanup()


def forget(array: Voxels) -> None:
    """Take an array of `Scratch` out of memory; it stays on disk and comes back as it is read. Others: nothing."""
    base: object = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    mapped = getattr(base, "_mmap", None)
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.flush()
        mapped.madvise(mmap.MADV_DONTNEED)

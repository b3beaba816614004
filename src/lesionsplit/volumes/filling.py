"""The array of a volume, filled slice by slice while a file is read."""

from __future__ import annotations

import numpy as np

from lesionsplit.errors import DataError
from lesionsplit.volumes.intensity import Range, ReadOptions, check_intensity
from lesionsplit.volumes.scratch import Scratch, forget
from lesionsplit.volumes.volume import AIR, Intensity, Voxels

WHOLE = 1e-4
"""Largest distance from a whole number at which a float64 is rounded, because scale factors in files have few digits.
A float32 is what a file holds, and is kept to the bit."""

RESIDENT = 128 << 20
"""Bytes of an array that may stay in memory while it is filled."""


class Filling:
    """An array on disk, (I, J, K): int16 while that is exact; float32 after the first value that int16 cannot hold."""

    def __init__(self, scratch: Scratch, shape: tuple[int, int, int]) -> None:
        """All values are zero at first."""
        self._scratch = scratch
        self._resident = 0
        self.array: Voxels = scratch.array(shape, np.int16)
        self.seen = Range()
        self.not_numbers = 0

    def put(self, k: int, values: Voxels) -> None:
        """Store slice ``k``, (I, J); slices come in order."""
        if values.dtype.kind == "f":
            values = self._numbers(values)
        self.seen.add(values)
        if self.array.dtype == np.int16:
            if _exact(values):
                values = np.rint(values) if values.dtype.kind == "f" else values
            else:
                self._widen(k)
        self.array[..., k] = values
        self._resident += self.array[..., k].nbytes
        if self._resident > RESIDENT:
            forget(self.array)
            self._resident = 0

    def finish(self, options: ReadOptions, where: str) -> tuple[Voxels, Intensity, tuple[str, ...]]:
        """Return the array, what its values mean, and notes.

        Raises:
            DataError: values are not numbers and ``force`` is off, or they do not fit the intensity option.
        """
        if self.not_numbers and not options.force:
            raise DataError(
                f"{where}: {self.not_numbers} voxels are not numbers (NaN or infinite); repair the file, or use "
                f"--force to replace them with air ({AIR})"
            )
        intensity = check_intensity(self.seen, options.intensity, where)
        note = f"{self.not_numbers} voxels that are not numbers were replaced with air ({AIR})"
        return self.array, intensity, (note,) if self.not_numbers else ()

    def _numbers(self, values: Voxels) -> Voxels:
        """Replace values that float32 cannot hold with air."""
        fine = np.abs(values) <= np.finfo(np.float32).max
        if fine.all():
            return values
        self.not_numbers += int(values.size - np.count_nonzero(fine))
        return np.where(fine, values, values.dtype.type(AIR))

    def _widen(self, filled: int) -> None:
        """Continue in float32."""
        narrow, self.array = self.array, self._scratch.array(self.array.shape, np.float32)
        for k in range(filled):
            self.array[..., k] = narrow[..., k]
        forget(narrow)


def _exact(values: Voxels) -> bool:
    """Whether int16 holds the values exactly."""
    if values.dtype.kind != "f":
        span = np.iinfo(np.int16)
        return bool(values.min() >= span.min and values.max() <= span.max)
    near = WHOLE if values.dtype.itemsize > 4 else 0.0
    return bool(np.abs(values).max() <= np.iinfo(np.int16).max and (np.abs(values - np.rint(values)) <= near).all())

"""A volume's array, filled slice by slice as a file gives them."""

from __future__ import annotations

import numpy as np

from lesionsplit.errors import DataError
from lesionsplit.volumes.intensity import AIR, Range, Wanted, judge
from lesionsplit.volumes.scratch import Scratch, forget
from lesionsplit.volumes.volume import Intensity, Voxels

WHOLE = 1e-4
"""How near to a whole number a value is taken for it: scale factors in files have few digits."""

RESIDENT = 128 << 20
"""Bytes of an array that stay in memory while it is filled."""


class Filling:
    """An array on disk, (I, J, K): int16 as long as that is exact, float32 from the first value on that it is not."""

    def __init__(self, scratch: Scratch, shape: tuple[int, int, int], *, floor: int | None) -> None:
        """Nothing below ``floor`` is kept: what is, becomes ``floor``. None keeps all."""
        self._scratch = scratch
        self._floor = floor
        self._resident = 0
        self.array: Voxels = scratch.array(shape, np.int16)
        self.seen = Range()
        self.not_numbers = 0

    def put(self, k: int, values: Voxels) -> None:
        """Take slice ``k``, (I, J); slices come in order."""
        if values.dtype.kind == "f":
            values = self._numbers(values)
        self.seen.add(values)
        if self._floor is not None and float(values.min()) < self._floor:
            values = np.maximum(values, values.dtype.type(self._floor))
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

    def finish(self, wanted: Wanted, where: str, *, force: bool) -> tuple[Voxels, Intensity, tuple[str, ...]]:
        """The array, what its values mean, and what was odd about them.

        Raises:
            DataError: values are not numbers and nobody forces, or they do not look like what they should be.
        """
        if self.not_numbers and not force:
            raise DataError(
                f"{where}: {self.not_numbers} voxels are not numbers (NaN or infinite); mend the file, or --force "
                f"takes them as air ({AIR})"
            )
        intensity = judge(self.seen, wanted, where)
        odd = f"{self.not_numbers} voxels that are not numbers were taken as air ({AIR})"
        return self.array, intensity, (odd,) if self.not_numbers else ()

    def _numbers(self, values: Voxels) -> Voxels:
        """The values, with air in place of what float32 cannot hold."""
        fine = np.abs(values) <= np.finfo(np.float32).max
        if fine.all():
            return values
        self.not_numbers += int(values.size - np.count_nonzero(fine))
        return np.where(fine, values, values.dtype.type(AIR))

    def _widen(self, filled: int) -> None:
        """Go on in float32."""
        narrow, self.array = self.array, self._scratch.array(self.array.shape, np.float32)
        for k in range(filled):
            self.array[..., k] = narrow[..., k]
        forget(narrow)


def _exact(values: Voxels) -> bool:
    """Whether int16 holds the values."""
    if values.dtype.kind != "f":
        span = np.iinfo(np.int16)
        return bool(values.min() >= span.min and values.max() <= span.max)
    return bool(np.abs(values).max() <= np.iinfo(np.int16).max and (np.abs(values - np.rint(values)) < WHOLE).all())

"""From the values of a CT to the grey that the networks learnt on, and back.

The slices that the networks learnt on are of 8 bit, and nobody says through which window they were
made. Two landmarks that every chest has give it away (169 normal slices of covid-cell's train split;
``benchmarks/window.py`` counts again): the lung's median grey is 101 of 255, and blood and muscle
lie in a peak that begins at 240 and runs into the saturated levels, its middle near 252. Normal lung at
that depth of breath has -850 HU and blood 40 HU, so a level is 5.9 HU: the lung window of 1500 HU about
-700 HU that workstations offer, in which -850 HU is 102 and 40 HU is 253.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from lesionsplit.images import Grey, Mask
from lesionsplit.lungs.levels import Levels
from lesionsplit.volumes.volume import Voxels

Deep: TypeAlias = npt.NDArray[np.uint16]
"""Grey of 16 bit."""

FULL = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A linear map of values to grey of 16 bit: ``lowest`` is black, ``highest`` white, what lies beyond is cut."""

    lowest: float
    highest: float

    @property
    def width(self) -> float:
        """From black to white, in the values' unit."""
        return self.highest - self.lowest

    def to_grey(self, values: Voxels) -> Deep:
        """Values of any shape as grey."""
        share = (values.astype(np.float32) - np.float32(self.lowest)) / np.float32(self.width)
        grey: Deep = np.rint(share.clip(0, 1) * np.float32(FULL)).astype(np.uint16)
        return grey

    def with_change(self, values: Voxels, before: Grey, after: Grey, where: Mask) -> Voxels:
        """Values to which was done what was done to their grey; of their own type, and untouched outside ``where``.

        What is not changed keeps its value to the last bit, also where the window had cut it.

        Args:
            values: what `to_grey` was given.
            before: what it returned.
            after: what became of that.
            where: where a change counts.
        """
        change = (after.astype(np.float32) - before.astype(np.float32)) * np.float32(self.width / FULL)
        changed = np.maximum(values + np.where(where, change, 0), values.min())  # nothing is darker than air
        if np.issubdtype(values.dtype, np.integer):
            limits = np.iinfo(values.dtype)
            changed = np.rint(changed).clip(limits.min, limits.max)
        result: Voxels = changed.astype(values.dtype)
        return result


HU_WINDOW = Window(lowest=-1450.0, highest=50.0)
"""Of Hounsfield units: see the module."""


def window_of(levels: Levels) -> Window:
    """The same window for grey on an unknown scale, of which two landmarks are known: lung and soft tissue.

    With it and the lungs of the network in the package average precision on MedSeg's 50 raw slices of other scanners
    is 0.72, Dice at the stored threshold 0.73; left as they are 0.63 and 0.53 (``benchmarks/medseg.py``).
    """
    lowest, highest = ((hu - levels.offset) / levels.gain for hu in (HU_WINDOW.lowest, HU_WINDOW.highest))
    return Window(lowest=lowest, highest=highest)

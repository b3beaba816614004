"""Convert CT values to the grey scale of the training images, and back.

The training images have 8 bit and an undocumented window, which two landmarks determine (169 normal
slices of covid-cell's train split; ``experiments/window.py`` measures them): the median grey of the lung is
101 of 255, and blood and muscle form a peak from 240 into saturation, centred near 252. Normal lung at that
inspiration has -850 HU and blood 40 HU, so a grey level is 5.9 HU. This is the usual lung window of width
1500 HU and centre -700 HU, in which -850 HU is 102 and 40 HU is 253.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from lesionsplit.images import Grey, Mask
from lesionsplit.lungs.hu_scale import HuScale
from lesionsplit.volumes.volume import Voxels

Deep: TypeAlias = npt.NDArray[np.uint16]
"""16-bit grey."""

FULL = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A linear map of values to 16-bit grey, clipped: ``lowest`` is black, ``highest`` white."""

    lowest: float
    highest: float

    @property
    def width(self) -> float:
        """``highest`` minus ``lowest``."""
        return self.highest - self.lowest

    def to_grey(self, values: Voxels) -> Deep:
        """Convert values of any shape to grey."""
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
        result = values.copy()
        touched = where & (after != before)
        change = (after[touched].astype(np.float32) - before[touched]) * np.float32(self.width / FULL)
        changed = np.maximum(values[touched] + change, values.min())  # nothing is darker than air
        if np.issubdtype(values.dtype, np.integer):
            limits = np.iinfo(values.dtype)
            changed = np.rint(changed).clip(limits.min, limits.max)
        result[touched] = changed
        return result


HU_WINDOW = Window(lowest=-1450.0, highest=50.0)
"""The window for HU, see the docstring of this module."""


def window_of(hu_scale: HuScale) -> Window:
    """The same window on another scale, such as one estimated from the grey of lung and soft tissue.

    With it and the network's lungs, average precision on MedSeg's 50 raw slices of other scanners is 0.72 and Dice
    at the stored threshold 0.73; with the original grey they are 0.63 and 0.53 (``experiments/medseg.py``).
    """
    lowest, highest = ((hu - hu_scale.offset) / hu_scale.gain for hu in (HU_WINDOW.lowest, HU_WINDOW.highest))
    return Window(lowest=lowest, highest=highest)

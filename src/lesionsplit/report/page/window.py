"""The grey window of the page's images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lesionsplit.images import Float
from lesionsplit.volumes.volume import Volume, Voxels


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A range of values, from black to white."""

    low: float
    high: float

    def share(self, values: Voxels) -> Float:
        """Values of any shape mapped to 0 for black to 1 for white."""
        share = (values.astype(np.float32) - np.float32(self.low)) / np.float32(self.high - self.low)
        clipped: Float = np.clip(share, 0, 1)
        return clipped

    @property
    def level(self) -> float:
        """The middle."""
        return (self.low + self.high) / 2

    @property
    def width(self) -> float:
        """From black to white."""
        return self.high - self.low


LUNG = Shown(low=-1350.0, high=150.0)
SOFT_TISSUE = Shown(low=-160.0, high=240.0)
KEPT = Shown(low=-1024.0, high=400.0)
"""Range of HU of the viewer's 8 bit, which covers the useful part of both windows."""

SAMPLED = 12
"""Slices from which the range of grey values is computed."""


def window_of(volume: Volume) -> Shown:
    """The window of the page's images: a lung window for HU, otherwise the range of the values."""
    if volume.intensity == "hu":
        return LUNG
    slices = volume.axial()
    places = np.unique(np.linspace(0, len(slices) - 1, SAMPLED).astype(int))
    ends = np.array([np.percentile(slices[place], (0.5, 99.5)) for place in places])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    return Shown(low=low, high=high if high > low else low + 1)

"""The lungs of a synthetic person in three dimensions, and the healthy slice at any height."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesionsplit.images import Float, Grey, Mask
from lesionsplit.phantom.noise import clouds, grain, ramp
from lesionsplit.phantom.vessels import Points, draw_vessels, grow

HEIGHT = 0.55
"""Height of the lungs, as a fraction of the frame."""

TIPS = 1200
"""Vessel tips in the part of each lung that is generated."""

REACH = 0.08
"""Vessels are generated this far above and below the middle of a series, as a fraction of the lung's height."""


@dataclass(frozen=True, slots=True)
class HealthySlice:
    """A slice without lesion, (size, size)."""

    grey: Float
    """0 to 255; 0 outside the lungs."""

    lungs: Mask


class Subject:
    """A person: the shape of chest and heart, the vessels, the scanner's grey scale and noise.

    Heights run from 0 (apex) to 1 (base); lengths are in pixels of a frame of ``size``.
    """

    def __init__(self, rng: np.random.Generator, size: int, height: float) -> None:
        """A person with vessels near ``height``."""
        self.size = size
        unit = size / 512
        self._unit = unit
        self._seed = int(rng.integers(2**31))
        self.centre = np.array([size / 2, size * rng.uniform(0.5, 0.56)])
        self.chest = unit * np.array([rng.uniform(128, 168), rng.uniform(96, 126)])
        self.roundness = rng.uniform(2.0, 2.4)
        self.heart = unit * np.array([rng.uniform(38, 62), rng.uniform(52, 74)])
        self.heart_side = unit * rng.uniform(6, 30)
        self.gap = unit * np.array([rng.uniform(5, 11), rng.uniform(14, 24)])
        self.spine = unit * rng.uniform(36, 48)
        self.dome = np.array([rng.uniform(0.66, 0.95), rng.uniform(0.68, 0.98)])
        self.thickness = rng.uniform(0.008, 0.05)
        self.tilt = rng.normal(0, 0.05)
        self.level = rng.normal(103, 7) if rng.random() < 0.85 else rng.uniform(120, 150)
        self.gravity = rng.uniform(8, 60)
        self.mosaic = rng.uniform(3, 13)
        self.noise = rng.uniform(5, 11)
        self.blur = rng.uniform(0.5, 1.1)
        self.contrast = rng.uniform(120, 170)
        self.fissures = rng.uniform(-0.25, 0.35, size=(2, 2))
        self.warps = [6 * unit * clouds(rng, size, 170 * unit) for _ in range(4)]
        self.bumps = [7 * unit * clouds(rng, size, 48 * unit) for _ in range(2)]
        self.vessels = self._grow_vessels(rng, height)

    def lungs(self, height: float) -> Mask:
        """The lung mask at a height."""
        return self._shape(height)[0]

    def healthy(self, height: float) -> HealthySlice:
        """The slice at a height, without any lesion."""
        lungs, dome = self._shape(height)
        rng = np.random.default_rng((self._seed, round(height * 1e4)))
        size, unit = self.size, self._unit
        x, y = self._grid(height)
        grey = self.level + self.gravity * np.clip(y / self.chest[1], -1, 1) ** 3
        grey = grey + self.mosaic * clouds(np.random.default_rng(self._seed), size, 70 * unit)
        grey = grey + 14 * self._fissure_lines(x, y, height)
        vessels = draw_vessels(self.vessels, height * HEIGHT * size, size)
        grey = grey + self.contrast * vessels
        grey = grey + 110 * dome  # liver and fat in partial volume: bright, soft, and no lesion
        depth = ndimage.distance_transform_edt(lungs)
        wall = ramp(clouds(rng, size, 40 * unit), 0.3, 1.2)
        grey = grey + 55 * wall * ramp(-depth.astype(np.float32), -2.5 * unit, 0)
        grey = grey + self.noise * grain(rng, size, self.blur * max(unit, 0.5)) + 2.5 * clouds(rng, size, 8 * unit)
        return HealthySlice(np.where(lungs, np.clip(grey, 20, 255), 0).astype(np.float32), lungs)

    def _grid(self, height: float) -> tuple[Float, Float]:
        """Coordinates relative to the chest's centre, rotated and warped for this person and height."""
        rows, columns = np.mgrid[: self.size, : self.size].astype(np.float32)
        near, far = np.cos(height * np.pi / 2), np.sin(height * np.pi / 2)
        x = columns - self.centre[0] + near * self.warps[0] + far * self.warps[1]
        y = rows - self.centre[1] + near * self.warps[2] + far * self.warps[3]
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        return (c * x + s * y).astype(np.float32), (c * y - s * x).astype(np.float32)

    def _shape(self, height: float) -> tuple[Mask, Float]:
        """The lung mask, and the fraction of each pixel that the diaphragm's dome fills."""
        x, y = self._grid(height)
        unit = self._unit
        width, depth = self.chest * (0.5 + 0.5 * min(1.0, (height / 0.42) ** 0.7))
        behind = 0.16 * np.sin(np.pi * np.clip(np.abs(x) / width, 0, 1)) * (y > 0)  # lungs reach back beside the spine
        chest = np.abs(x / width) ** self.roundness + np.abs(y / (depth * (1 + behind))) ** self.roundness < 1
        near, far = np.cos(2 * height * np.pi), np.sin(2 * height * np.pi)
        x = (
            x + near * self.bumps[0] + far * self.bumps[1]
        )  # the outline of the mediastinum is more irregular than that of the chest
        swell = 0.35 + 0.65 * np.exp(-(((height - 0.68) / 0.28) ** 2))
        heart = ((x - self.heart_side * swell) / (self.heart[0] * swell + 14 * unit)) ** 2
        heart = heart + ((y + 0.12 * depth) / (self.heart[1] * (0.5 + 0.5 * swell))) ** 2 < 1
        front, back = self.gap * (0.6 + 0.4 * min(1.0, height / 0.4))
        towards_back = ramp(y / depth, -1.0, 0.5)
        gap = np.abs(x - 0.3 * self.heart_side) < front + (back - front) * towards_back
        spine = x**2 + (y - 0.98 * depth) ** 2 < (self.spine * (0.8 + 0.2 * height)) ** 2
        solid = heart | gap | spine
        dome = np.zeros_like(x)
        for side, (lateral, top) in enumerate(zip((-0.55, 0.55), self.dome, strict=True)):
            away = ((x - lateral * width) / (0.46 * width)) ** 2 + ((y - 0.02 * depth) / (0.72 * depth)) ** 2
            above = (height - (top - 0.02 * side)) - 0.16 * away
            dome = np.maximum(dome, ramp(above.astype(np.float32), 0.0, self.thickness))
        outline = (chest & ~solid & (dome < 0.7)).astype(np.float32)
        lungs: Mask = ndimage.gaussian_filter(outline, 5 * unit) > 0.5  # round the corners
        return lungs, np.where(lungs, dome, 0).astype(np.float32)

    def _fissure_lines(self, x: Float, y: Float, height: float) -> Float:
        lines = np.zeros_like(x)
        for side, (offset, slope) in zip((-1, 1), self.fissures, strict=True):
            course = (offset + height - 0.4) * self.chest[1] + slope * (np.abs(x) - 0.5 * self.chest[0])
            near = np.exp(-(((y - course) / (2.2 * self._unit)) ** 2) / 2)
            lines = np.maximum(lines, np.where(np.sign(x) == side, near, 0))
        return lines.astype(np.float32)

    def _grow_vessels(self, rng: np.random.Generator, height: float) -> Points:
        """A tree from each hilum to tips that are spread evenly in its lung, near ``height``."""
        spots = []
        for level in np.linspace(max(height - REACH, 0.03), min(height + REACH, 1.0), 5):
            inside = ndimage.binary_erosion(self.lungs(float(level)), iterations=max(1, round(4 * self._unit)))
            rows, columns = np.nonzero(inside)
            chosen = rng.integers(len(rows), size=2 * TIPS) if len(rows) else np.zeros(0, dtype=np.intp)
            z = (level + rng.uniform(-REACH / 4, REACH / 4, len(chosen))) * HEIGHT * self.size
            spots.append(np.column_stack([columns[chosen], rows[chosen], z]))
        everywhere = np.concatenate(spots)
        trees = []
        for side in (-1, 1):
            here = everywhere[np.sign(everywhere[:, 0] - self.centre[0]) == side]
            if len(here):
                trees.append(grow(rng, self._hilum(side), here[rng.integers(len(here), size=TIPS)]))
        vessels = np.concatenate(trees)
        vessels[:, 3] *= self._unit
        return vessels

    def _hilum(self, side: int) -> npt.NDArray[np.float64]:
        reach = side * (0.36 * self.chest[0]) + 0.5 * self.heart_side
        return np.array([self.centre[0] + reach, self.centre[1] + 0.15 * self.chest[1], 0.5 * HEIGHT * self.size])


def to_grey(image: Float) -> Grey:
    """Grey clipped to 0 to 255 and rounded."""
    grey: Grey = np.rint(np.clip(image, 0, 255)).astype(np.uint8)
    return grey

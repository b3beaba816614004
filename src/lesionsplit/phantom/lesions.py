"""Phantom lesions on top of a healthy slice, with exact extent and added grey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import ndimage

from lesionsplit.images import Float, Mask
from lesionsplit.phantom.anatomy import HEIGHT, HealthySlice, Subject
from lesionsplit.phantom.noise import clouds, ramp

Kind = Literal["ground-glass", "consolidation", "crazy-paving", "subpleural-band"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FREQUENCIES = (0.4, 0.15, 0.2, 0.25)
"""Frequency of each kind."""


@dataclass(frozen=True, slots=True)
class LesionPart:
    """What lesions add to a slice, (size, size) each."""

    added: Float
    """Grey on top of the healthy slice, 0 or more; healthy + added is at most 255."""

    extent: Mask
    """The pixels of which a lesion fills at least half."""


class Lesion:
    """One lesion of a person, in three dimensions."""

    def __init__(self, rng: np.random.Generator, subject: Subject, height: float, kind: Kind) -> None:
        """Place a lesion in the lungs of a slice, most often near the pleura and at the back."""
        size = subject.size
        unit = size / 512
        self.kind = kind
        self._seed = int(rng.integers(2**31))
        self._unit = unit
        self.z = height * HEIGHT * size + rng.normal(0, 4 * unit)
        self.radii = unit * np.exp(rng.normal(np.log(22), 0.5)) * np.exp(rng.normal(0, 0.25, 3))
        self.radii[2] = max(self.radii[2], 14 * unit)
        faint = float(np.clip(np.exp(rng.normal(np.log(50), 0.4)), 20, 120))
        self.density = faint if kind != "consolidation" else rng.uniform(80, 150)
        self.edge = rng.uniform(0.12, 0.4)
        self.thickness = unit * rng.uniform(6, 18)
        lungs = subject.lungs(height)
        rows, columns = np.nonzero(lungs)
        depth = ndimage.distance_transform_edt(lungs)[rows, columns]
        behind = (rows - rows.min()) / max(np.ptp(rows), 1)
        lateral = np.abs(columns - subject.centre[0]) / subject.chest[0]
        weight = np.exp(-depth / (16 * unit)) * (0.1 + behind**2) * lateral**2
        place = rng.choice(len(rows), p=weight / weight.sum())
        self.x, self.y = float(columns[place]), float(rows[place])
        self.angle = rng.uniform(0, np.pi)

    def coverage(self, z: float, depth: Float) -> Float:
        """The fraction of each pixel that the lesion fills at a height; ``depth`` is the distance to the pleura."""
        size = len(depth)
        rng = np.random.default_rng(self._seed)
        rows, columns = np.mgrid[:size, :size].astype(np.float32)
        dx, dy = columns - np.float32(self.x), rows - np.float32(self.y)
        c, s = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        u, v = (c * dx + s * dy) / self.radii[0], (c * dy - s * dx) / self.radii[1]
        away = np.sqrt(u * u + v * v + np.float32((z - self.z) / self.radii[2]) ** 2)
        ragged = 0.22 * clouds(rng, size, 16 * self._unit) + 0.12 * clouds(rng, size, 6 * self._unit)
        inside = 1 - ramp((away + ragged).astype(np.float32), 1 - self.edge, 1 + self.edge)
        if self.kind == "subpleural-band":  # long, and no deeper than its thickness
            wide = 1 - ramp((away / 2 + ragged).astype(np.float32), 1 - self.edge, 1 + self.edge)
            deep = depth / (self.thickness * (1 + 0.35 * clouds(rng, size, 22 * self._unit)).clip(0.3, None))
            inside = wide * (1 - ramp(deep.astype(np.float32), 1 - self.edge, 1 + self.edge))
        return inside.astype(np.float32)

    def add_to(self, grey: Float, coverage: Float) -> Float:
        """The slice with the lesion; vessels stay visible except in consolidation."""
        size = len(grey)
        rng = np.random.default_rng(self._seed + 1)
        texture = 1 + 0.16 * clouds(rng, size, 10 * self._unit) + 0.08 * clouds(rng, size, 3.5 * self._unit)
        if self.kind == "consolidation":
            bronchi = ramp(np.abs(clouds(rng, size, 18 * self._unit)), 0.02, 0.10)  # thin dark lines of air
            target = (95 + self.density) * texture * (0.55 + 0.45 * bronchi)
            return grey + coverage * np.clip(target - grey, 0, None)
        added = self.density * texture
        if self.kind == "crazy-paving":
            septa = 1 - ramp(np.abs(clouds(rng, size, 11 * self._unit)), 0.05, 0.28)
            added = added * 0.75 + 38 * septa
        denser: Float = grey + coverage * added.clip(0, None)
        return denser


def add_lesions(healthy: HealthySlice, lesions: list[Lesion], height: float) -> LesionPart:
    """All lesions of a person in one slice, in integer grey, so that the parts add up exactly."""
    size = len(healthy.grey)
    depth = ndimage.distance_transform_edt(healthy.lungs).astype(np.float32)
    base = np.rint(healthy.grey)
    grey, extent = base, np.zeros_like(healthy.lungs)
    for lesion in lesions:
        coverage = np.where(healthy.lungs, lesion.coverage(height * HEIGHT * size, depth), 0)
        grey = lesion.add_to(grey, coverage)
        extent |= coverage >= 0.5
    added = np.where(healthy.lungs, np.clip(np.rint(grey), base, 255) - base, 0)
    return LesionPart(added.astype(np.float32), extent & (added > 0))

"""Synthetic disease for lungs whose mask stays the same, so that the network learns to include disease."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lesionsplit.images import Float, Mask
from lesionsplit.lungs.resample import AIR

GROUND_GLASS = (-650.0, -250.0)
CONSOLIDATION = (-50.0, 70.0)
FLUID = (-10.0, 50.0)
"""HU."""

OFTEN = (0.15, 0.35, 0.25, 0.1, 0.15)
"""Probabilities of ground glass, consolidation, fluid, collapse and masses."""


def draw_disease(rng: np.random.Generator, image: Float, lungs: Float) -> Float:
    """Add one or two kinds of disease to a slice, (SIDE, SIDE) in HU above `AIR`.

    Args:
        rng: the source of randomness.
        image: the slice.
        lungs: lung fraction of each pixel, 0 to 1.
    """
    inside = lungs > 0.5
    if np.count_nonzero(inside) < 40:
        return image
    drawn = image
    for kind in rng.choice(len(_KINDS), size=int(rng.integers(1, 3)), replace=False, p=OFTEN).tolist():
        where, level = _KINDS[kind](rng, inside)
        texture = rng.uniform(5, 60) * clouds(rng, image.shape, rng.uniform(1, 4))
        share = ndimage.gaussian_filter(where.astype(np.float32), rng.uniform(0.4, 1.2)) * lungs
        denser = np.maximum(drawn, np.float32(level - AIR) + texture)
        drawn = drawn + share * (denser - drawn)
    return drawn.astype(np.float32)


def clouds(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Float:
    """Smooth noise with mean about 0 and standard deviation 1; ``sigma`` in pixels."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma)
    normal: Float = field / max(float(field.std()), 1e-6)
    return normal


def _haze(rng: np.random.Generator, inside: Mask) -> tuple[Mask, float]:
    """Patches of ground glass in a part of the lungs or almost everywhere."""
    field = clouds(rng, inside.shape, rng.uniform(3, 14))
    return field > rng.uniform(-1.2, 1.2), rng.uniform(*GROUND_GLASS)


def _consolidation(rng: np.random.Generator, inside: Mask) -> tuple[Mask, float]:
    """Dense patches at the pleura, round or along it."""
    depth = ndimage.distance_transform_edt(inside)
    field = clouds(rng, inside.shape, rng.uniform(3, 10)) + rng.uniform(-0.5, 1.0)
    field = field - depth / rng.uniform(3, 14)
    return field > 0, rng.uniform(*CONSOLIDATION)


def _fluid(rng: np.random.Generator, inside: Mask) -> tuple[Mask, float]:
    """A band of fluid along the back, or for prone patients the front, of one or both lungs."""
    where = np.zeros_like(inside)
    rows, columns = np.indices(inside.shape)
    regions, count = ndimage.label(inside)
    for number in range(1, count + 1):
        if rng.random() < 0.4:
            continue
        lung = regions == number
        filled = np.flatnonzero(lung.any(axis=1))
        middle = np.nonzero(lung)[1].mean()
        bend = rng.uniform(0, 0.02) * (columns - middle) ** 2 * rng.choice([-1, 1])
        line = filled[-1] - rng.uniform(0.05, 0.45) * len(filled) + bend
        below = rows > line if rng.random() < 0.85 else rows < filled[0] + filled[-1] - line
        where |= lung & below
    return where, rng.uniform(*FLUID)


def _collapse(rng: np.random.Generator, inside: Mask) -> tuple[Mask, float]:
    """The part of a lung on one side of a line."""
    rows, columns = np.indices(inside.shape)
    regions, count = ndimage.label(inside)
    lung = regions == rng.integers(1, count + 1)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * columns + np.sin(angle) * rows
    return lung & (along > np.quantile(along[lung], rng.uniform(0.4, 0.9))), rng.uniform(*CONSOLIDATION)


def _masses(rng: np.random.Generator, inside: Mask) -> tuple[Mask, float]:
    """A few round masses in the lung or at its edge."""
    where = np.zeros_like(inside)
    rows, columns = np.indices(inside.shape)
    spots = np.argwhere(inside)
    for _ in range(rng.integers(1, 4)):
        row, column = spots[rng.integers(len(spots))]
        where |= np.hypot(rows - row, columns - column) < rng.uniform(1.5, 9)
    return where, rng.uniform(*CONSOLIDATION)


_KINDS = (_haze, _consolidation, _fluid, _collapse, _masses)

"""The phantom in HU with a body around its lungs: training samples with known lungs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from lesionsplit.images import Float, Mask
from lesionsplit.lungs.hu_scale import HuScale
from lesionsplit.lungs.resample import make_resampler
from lesionsplit.phantom.anatomy import Subject
from lesionsplit.phantom.lesions import FREQUENCIES, KINDS, Lesion, add_lesions
from lesionsplit.progress import Progress, silent
from lesionsplit.training.lungs.samples import Sample
from lesionsplit.training.lungs.synthetic_disease import clouds
from lesionsplit.volumes.volume import Source, Volume

SIZE = 256
"""Rows and columns of a drawn slice, finer than the coarse grid."""

LUNG_GREY, LUNG_HU, HU_A_LEVEL = 101.0, -850.0, 5.9
"""The phantom has the grey scale of covid-cell; docs/explanation/volumes.md derives these numbers."""

HIGHEST, LOWEST = 0.04, 1.3
"""Range of heights, 0 at the apex and 1 at the base: some slices are below the lungs."""

ILL = 0.5
"""Fraction of slices with lesions of the phantom."""

BELLY = 0.85
"""Minimum height of slices with bowel."""

FAT, MUSCLE, MARROW, CORTEX = -100.0, 50.0, 170.0, 500.0
"""HU."""


def phantom_samples(count: int, seed: int, progress: Progress = silent) -> list[Sample]:
    """Slices of synthetic chests, each of another person, with exactly known lungs.

    Args:
        count: how many.
        seed: of the random numbers.
        progress: receives the slices.
    """
    return [_sample(np.random.default_rng((seed, number))) for number in progress(range(count), count, "phantom")]


def _sample(rng: np.random.Generator) -> Sample:
    hu, lungs = draw_chest(rng, float(rng.uniform(HIGHEST, LOWEST)))
    pixel_mm = rng.uniform(1.55, 1.95)
    volume = Volume(
        array=hu.T[:, :, None],
        affine=np.diag([-pixel_mm, -pixel_mm, 1.0, 1.0]),
        intensity="hu",
        source=Source(kind="nifti", path=Path("phantom"), name="phantom"),
    )
    resampler = make_resampler(volume, HuScale())
    return Sample(resampler.shrink(volume.axial()[0]), resampler.cover(lungs).clip(0, 1).astype(np.float32))


def draw_chest(rng: np.random.Generator, height: float) -> tuple[Float, Mask]:
    """Draw an axial slice in HU, and its lungs with their disease; (`SIZE`, `SIZE`) each."""
    subject = Subject(rng, SIZE, min(height, 1.0))
    healthy = subject.healthy(height)
    lungs = healthy.lungs & (height <= 1)  # further down the phantom has slivers that are not lung
    grey = healthy.grey
    if rng.random() < ILL and np.count_nonzero(lungs) > 200:
        kinds = [KINDS[number] for number in rng.choice(len(KINDS), size=1 + rng.poisson(1.2), p=FREQUENCIES)]
        grey = grey + add_lesions(healthy, [Lesion(rng, subject, height, kind) for kind in kinds], height).added
    hu = _body(rng, subject, lungs, height)
    hu = np.where(lungs, LUNG_HU + HU_A_LEVEL * (grey - LUNG_GREY), hu)
    hu = ndimage.gaussian_filter(hu, rng.uniform(0.4, 0.9)) + rng.uniform(5, 30) * rng.standard_normal(hu.shape)
    return hu.astype(np.float32), lungs


def _body(rng: np.random.Generator, subject: Subject, lungs: Mask, height: float) -> Float:
    """Draw everything around the lungs: mediastinum or abdomen, spine, ribs, muscle, fat, table, air."""
    at: Float = np.indices(lungs.shape, dtype=np.float32)
    x: Float = at[1] - np.float32(subject.centre[0])
    y: Float = at[0] - np.float32(subject.centre[1])
    width, depth = subject.chest * (1.03, 1.12)
    cavity = ((x / width) ** 2 + (y / depth) ** 2 < 1) | ndimage.binary_dilation(lungs, iterations=2)
    away = ndimage.distance_transform_edt(~cavity) + 2.0 * clouds(rng, lungs.shape, 14)
    muscle, fat = rng.uniform(4, 10), rng.uniform(2, 18)  # pixels of 1.8 mm or so
    shoulders = 1.0 + 0.5 * max(0.0, 0.3 - height) * np.abs(x) / width  # wider than deep at the apex
    away = away / shoulders
    hu = np.full(lungs.shape, -1000.0)
    _lay_on_table(rng, hu, subject.centre[1] + depth + muscle + fat)
    if rng.random() < 0.15:  # arms beside the body
        arm = np.hypot(np.abs(x) - width - muscle - fat - 22, (y - rng.uniform(-20, 30)) / 1.3)
        hu[arm < 17], hu[arm < 13], hu[arm < 5] = FAT, MUSCLE, CORTEX
    hu[away < muscle + fat + 1] = MUSCLE - 20  # skin
    hu[away < muscle + fat] = FAT + 12 * rng.standard_normal()
    hu[away < muscle] = MUSCLE
    angle = np.arctan2(y / depth, x / width)
    ribs = np.sin(angle * rng.integers(7, 13) + rng.uniform(0, 6)) > rng.uniform(-0.2, 0.7)
    ring = (away > 1.2) & (away < min(6.5, muscle)) & ribs
    hu[ring] = CORTEX
    hu[ring & (away > 2.7) & (away < 5)] = MARROW
    hu[cavity] = MUSCLE + rng.uniform(-20, 30)
    hu = hu + 6 * clouds(rng, lungs.shape, 3)
    _middle(rng, subject, hu, (x, y), cavity & ~lungs, height)
    if height > BELLY:
        _bowel(rng, hu, (x / width, y / depth), cavity & (ndimage.distance_transform_edt(~lungs) > 4))
    return hu


def _bowel(rng: np.random.Generator, hu: Float, at: tuple[Float, Float], where: Mask) -> None:
    """Draw bowel gas with folds, more often in front, in place; ``at`` has radius 1 on the cavity's edge."""
    x, y = at
    loops = clouds(rng, hu.shape, rng.uniform(5, 12)) - 0.8 * (y + rng.uniform(0.0, 0.5)) - 1.5 * np.hypot(x, y) ** 8
    gas = loops > rng.uniform(0.5, 1.3)
    if rng.random() < 0.7:
        across = np.sin(rng.uniform(0.3, 0.9) * np.hypot(x * hu.shape[1] / 3, y * 10) + clouds(rng, hu.shape, 8))
        gas &= across < rng.uniform(0.6, 1.0)
    hu[where & ndimage.binary_dilation(gas, iterations=2)] = MUSCLE
    hu[where & gas] = rng.uniform(-1000, -930)


def _middle(
    rng: np.random.Generator, subject: Subject, hu: Float, at: tuple[Float, Float], solid: Mask, height: float
) -> None:
    """Draw heart, vessels, airways, fat and spine, in place; ``solid`` is the cavity without the lungs."""
    x, y = at
    depth = float(subject.chest[1])
    hu[solid & (clouds(rng, hu.shape, 5) > rng.uniform(0.4, 1.6))] = FAT
    blood = rng.uniform(30, 60) if rng.random() < 0.5 else rng.uniform(100, 320)
    heart = np.hypot((x - subject.heart_side) / subject.heart[0], (y + 0.12 * depth) / subject.heart[1])
    if height > 0.35:
        hu[solid & (heart < 0.95)] = MUSCLE + 30
        hu[solid & (heart < 0.7)] = blood
    hu[solid & (np.hypot(x - 16, y - 0.45 * depth) < rng.uniform(5, 8))] = blood  # the aorta, left of the spine
    if height < 0.5:
        hu[solid & (np.hypot(x - 0.3 * subject.heart_side, y - 0.15 * depth) < rng.uniform(3.5, 6))] = -990
    spine = np.hypot(x, y - 0.98 * depth) / (0.8 * subject.spine)
    bone = spine < 1
    hu[bone] = CORTEX
    hu[bone & (spine < 0.8)] = MARROW
    hu[np.hypot(x, y - 0.98 * depth - 0.95 * subject.spine) < 5] = 20  # the canal


def _lay_on_table(rng: np.random.Generator, hu: Float, below: float) -> None:
    """Draw a table under the body, straight or bent, and the padding outside the scanner's circle; in place."""
    rows, columns = np.indices(hu.shape)
    bend = rng.uniform(0, 0.0012) * (columns - hu.shape[1] / 2) ** 2
    under = rows - below - rng.uniform(0, 12) + bend
    hu[(under > 0) & (under < rng.uniform(2, 14))] = rng.uniform(-950, -600)
    hu[(under > 0) & (under < rng.uniform(1, 2.5))] = rng.uniform(-500, 50)
    if rng.random() < 0.5:
        outside = np.hypot(rows - hu.shape[0] / 2, columns - hu.shape[1] / 2) > hu.shape[0] / 2
        hu[outside] = rng.choice([-1024, -2048])

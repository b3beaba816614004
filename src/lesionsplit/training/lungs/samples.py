"""Training samples of the lung network: slices on the coarse grid, with the lung fraction of each pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from lesionsplit.data.lung_slice import LungSlice, bounding_box, read_slice
from lesionsplit.data.table import read_table
from lesionsplit.errors import DataError
from lesionsplit.images import Float, as_float
from lesionsplit.lungs.hu_scale import HuScale
from lesionsplit.lungs.refine import refine_edge
from lesionsplit.lungs.resample import AIR, DENSE, OUTSIDE, SIDE, make_resampler, resample_axes, shrink_all, shrinking
from lesionsplit.lungs.thresholds import body_of, fill_at_ribs, threshold_lungs
from lesionsplit.progress import Progress, silent
from lesionsplit.training.lungs.synthetic_disease import clouds, draw_disease
from lesionsplit.volumes.volume import Volume

DENSEST = DENSE - AIR
"""HU above `AIR` where the scale ends."""

TIGHT, LOOSE = (-5, 6), (0, 40)
"""Coarse pixels between a crop and the lungs; negative cuts them."""


class Sample(NamedTuple):
    """One slice; both (SIDE, SIDE)."""

    image: Float
    """HU above `AIR`: 0 in air."""

    lungs: Float
    """Lung fraction of each pixel, 0 to 1."""


def samples_of(volume: Volume) -> list[Sample]:
    """Samples from a volume of healthy lungs in HU, labelled by `threshold_lungs`.

    Raises:
        DataError: the volume is not in HU, or it has no lung.
    """
    if volume.intensity != "hu":
        raise DataError(f"{volume.source.path}: is not in HU; train on CT in HU")
    view = volume.axial()
    resampler = make_resampler(volume, HuScale())
    shrunk = shrink_all(resampler, view, len(view))
    frame = resampler.frame()
    coarse = threshold_lungs(shrunk, frame)
    if not coarse.any():
        raise DataError(f"{volume.source.path}: no lung found; train on chest CT")
    bodies = np.stack([body_of(image + np.float32(AIR), frame) for image in shrunk])
    coarse = fill_at_ribs(coarse, bodies).astype(np.float32)
    samples = []
    for image, small, share in zip(view, shrunk, coarse, strict=True):
        smooth = ndimage.gaussian_filter(share, 0.6)
        window = resampler.window(smooth)
        fine = np.zeros(image.shape, dtype=bool)
        fine[window] = refine_edge(resampler.enlarge(smooth, window), HuScale().hu(image[window]), resampler.pixel_mm)
        samples.append(Sample(small, resampler.cover(fine)))
    return samples


def lung_slices(folder: Path, take: int, seed: int, progress: Progress = silent) -> list[LungSlice]:
    """Read a random selection of lung-masked slices from a data set's split ``train``; no mask of lesions is read.

    Raises:
        DataError: the data set does not exist, or a slice is invalid.
    """
    rows = read_table(folder).split("train").without_masks().slices
    chosen = np.random.default_rng(seed).permutation(len(rows))[:take]
    return [read_slice(rows[number]) for number in progress(chosen, len(chosen), "slices")]


def embedded(rng: np.random.Generator, one: LungSlice, host: Sample) -> Sample:
    """Put the lungs of a lung-masked slice into another body: real disease and real shapes, in approximate HU.

    They are scaled to the bounding box of the host's lungs, which are filled with tissue.
    """
    image, lungs = _in_place(rng, one, host)
    return Sample((1 - lungs) * filled(rng, host).image + lungs * image, lungs)


def filled(rng: np.random.Generator, host: Sample) -> Sample:
    """Replace the lungs of a slice by soft tissue."""
    gone = ndimage.gaussian_filter(ndimage.grey_dilation(host.lungs, size=(3, 3)), 0.5)
    tissue = rng.uniform(-60, 60) - AIR + rng.uniform(0, 25) * clouds(rng, gone.shape, rng.uniform(1, 5))
    return Sample(((1 - gone) * host.image + gone * tissue).astype(np.float32), np.zeros_like(host.lungs))


def with_gas(rng: np.random.Generator, sample: Sample) -> Sample:
    """Add gas in the body outside the lungs: bowel, stomach, oesophagus, airways."""
    image = sample.image
    spots = np.argwhere((image > 900) & (ndimage.maximum_filter(sample.lungs, 3) < 0.1))
    if not len(spots):
        return sample
    rows, columns = np.indices(image.shape)
    central = spots[np.abs(spots[:, 1] - np.average(columns, weights=image > 900)) < 12]
    if len(central) and rng.random() < 0.5:
        spots = central
    for _ in range(rng.integers(1, 5)):
        row, column = spots[rng.integers(len(spots))]
        size, aspect = np.exp(rng.uniform(np.log(1.2), np.log(14))), rng.uniform(0.5, 1)
        edge = np.hypot(rows - row, (columns - column) * aspect) / size + 0.2 * clouds(rng, image.shape, 3)
        share = np.clip((1.0 - edge) * size, 0, 1) * (sample.lungs < 0.02)
        image = (1 - share) * image + share * rng.uniform(0, 60)
    return Sample(image.astype(np.float32), sample.lungs)


def with_dome(rng: np.random.Generator, sample: Sample) -> Sample:
    """Add a dome of the diaphragm to one lung: large, round, homogeneous, and not lung."""
    inside = ndimage.binary_erosion(sample.lungs > 0.5, iterations=4)
    spots = np.argwhere(inside)
    if not len(spots):
        return sample
    rows, columns = np.indices(inside.shape)
    row, column = spots[rng.integers(len(spots))]
    size, aspect = rng.uniform(7, 22), rng.uniform(0.7, 1.3)
    share = np.clip(size - np.hypot((rows - row) * aspect, columns - column), 0, 1) * (sample.lungs > 0.02)
    level = rng.uniform(20, 140) - AIR + rng.uniform(0, 15) * clouds(rng, inside.shape, 2)
    image = sample.image + share * (level - sample.image)
    return Sample(image.astype(np.float32), (sample.lungs * (1 - share)).astype(np.float32))


def _in_place(rng: np.random.Generator, one: LungSlice, host: Sample) -> Sample:
    """The lungs of a lung-masked slice on the coarse grid, at the place of the host's lungs."""
    theirs, ours = bounding_box(one.lungs), bounding_box(host.lungs > 0.5)
    weights = []
    for axis, count in enumerate(one.lungs.shape):
        size = theirs[2 + axis] / (ours[2 + axis] * rng.uniform(0.9, 1.08))
        middle = theirs[axis] + theirs[2 + axis] / 2 - 0.5
        to = ours[axis] + ours[2 + axis] / 2 + rng.uniform(-2, 2)
        weights.append(shrinking(count, (np.arange(SIDE) + 0.5 - to) * size + middle, size))
    rows, columns = weights
    cover = resample_axes(rows, one.lungs.astype(np.float32), columns)
    grey = as_float(one.grey)
    dark, dense = np.quantile(grey[one.lungs], [0.25, 0.995])
    gain = (rng.uniform(0, 120) - rng.uniform(-880, -780)) / max(float(dense - dark), 0.05)
    above = np.clip((grey - dense) * gain + rng.uniform(0, 120) - AIR, 0, DENSEST) * one.lungs
    image = resample_axes(rows, above.astype(np.float32), columns) / np.maximum(cover, 1e-3)
    return Sample(image.astype(np.float32), cover.clip(0, 1).astype(np.float32))


def draw_batch(rng: np.random.Generator, hosts: Sequence[Sample], slices: Sequence[LungSlice], size: int) -> Sample:
    """Draw a batch, (size, 1, SIDE, SIDE) each, of real and modified slices."""
    with_lungs = [host for host in hosts if _wide(host)]
    drawn = []
    for _ in range(size):
        if slices and with_lungs and rng.random() < 0.5:
            sample = embedded(
                rng, slices[int(rng.integers(len(slices)))], with_lungs[int(rng.integers(len(with_lungs)))]
            )
            diseased = 0.5
        else:
            sample, diseased = hosts[int(rng.integers(len(hosts)))], 0.85
            if rng.random() < 0.06:
                sample = filled(rng, sample)
        if rng.random() < 0.12:
            sample = with_dome(rng, sample)
        if rng.random() < diseased:
            sample = Sample(draw_disease(rng, *sample), sample.lungs)
        if rng.random() < 0.5:
            sample = with_gas(rng, sample)
        drawn.append(sample)
    images, lungs = (np.stack([one[part] for one in drawn])[:, None] for part in (0, 1))
    return Sample(images, lungs)


def _wide(host: Sample) -> bool:
    """Whether the lungs are large enough to be replaced by others."""
    lungs = host.lungs > 0.5
    return bool(lungs.any()) and bounding_box(lungs)[2] > 0.2 * SIDE and bounding_box(lungs)[3] > 0.4 * SIDE


def vary(rng: np.random.Generator, batch: Sample) -> tuple[Tensor, Tensor]:
    """Augment each sample: affine, mirror, crop, gain and offset of HU, noise."""
    count = len(batch.image)
    both = torch.from_numpy(np.concatenate(batch, axis=1))
    both = _moved(rng, both)
    for one in both:
        if rng.random() < 0.45:
            _crop(rng, one)
    image, lungs = both[:, :1], both[:, 1:].clip(0, 1)
    gain = torch.from_numpy(rng.uniform(0.88, 1.12, (count, 1, 1, 1)).astype(np.float32))
    offset = torch.from_numpy(rng.normal(0, 40, (count, 1, 1, 1)).astype(np.float32))
    level = torch.from_numpy((rng.random((count, 1, 1, 1)) * rng.choice([5, 60])).astype(np.float32))
    noise = level * torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
    return (gain * image + offset * (image > 30) + noise).clip(0, DENSEST), lungs


def _moved(rng: np.random.Generator, both: Tensor) -> Tensor:
    thetas = []
    for _ in range(len(both)):
        size = np.exp(rng.uniform(np.log(0.75), np.log(1.35)))
        angle = math.radians(rng.normal(0, 8))
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        stretch = np.diag([rng.choice([-1, 1]), rng.uniform(0.85, 1.15)]) * size
        thetas.append(np.column_stack([turn @ stretch, rng.uniform(-0.15, 0.15, 2)]))
    grid = F.affine_grid(torch.tensor(np.stack(thetas), dtype=torch.float32), list(both.shape), align_corners=False)
    outside = torch.tensor([OUTSIDE, 0.0]).view(1, 2, 1, 1)
    return outside + F.grid_sample(both - outside, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _crop(rng: np.random.Generator, one: Tensor) -> None:
    """Clear everything outside a rectangle around the lungs, like a close crop; in place."""
    lungs = (one[1] > 0.5).numpy()
    if not lungs.any():
        return
    top, left, rows, columns = bounding_box(lungs)
    above, below, before, behind = (int(margin) for margin in rng.integers(*TIGHT, 4))
    if rng.random() < 0.5:
        above, below, before, behind = (int(margin) for margin in rng.integers(*LOOSE, 4))
    out = torch.ones_like(one[0], dtype=torch.bool)
    out[max(top - above, 0) : top + rows + below, max(left - before, 0) : left + columns + behind] = False
    one[0][out], one[1][out] = OUTSIDE, 0

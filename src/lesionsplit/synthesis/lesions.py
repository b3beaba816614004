"""Synthetic lesions of COVID-19, as radiologists describe them, in normal slices.

A lesion has an extent c and an opacity o, both 0 to 1. It changes healthy grey h to ``h + o c (L - s)`` where that is
brighter; L is the grey of dense tissue and s the smoothed h. A vessel is as dense as L and does not change, so it
disappears in the lesion as o grows: below about one half is ground glass, with visible vessels, near 1 is
consolidation, without. The noise h - s of the slice is kept inside and outside the lesion; a network would learn an
edge in the noise instead of lesions.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import torch
from msgspec import Meta
from torch import Tensor

from lesionsplit.settings import Fraction, NonNegative, Positive, Settings
from lesionsplit.synthesis.fields import LungField, blur, clouds, lung_field, ramp, uniform


class LesionSettings(Settings, frozen=True):
    """Frequency, number, size and density; lengths in pixels of the canvas."""

    slice_fraction: Fraction = 0.8
    """Fraction of normal slices that get lesions; the others do not change."""

    max_count: Annotated[int, Meta(ge=1, le=30)] = 10
    """Largest number of lesions in a slice; small numbers are more likely."""

    radius: Positive = 8.0
    """Median radius; most are between half and twice as large."""

    min_opacity: Fraction = 0.12
    """Opacity of the faintest ground glass."""

    opacity_skew: Positive = 1.0
    """Above 1: faint lesions are more likely than dense ones."""

    pleural_band_fraction: Fraction = 0.0
    """Fraction of lesions that form a band along the pleura."""

    central_weight: NonNegative = 0.1
    """Likelihood of a lesion in the middle of a lung, relative to the pleura at the back."""

    min_contrast: NonNegative = 0.04
    """The smallest contrast of a lesion, as a fraction of the grey difference between parenchyma and dense vessels."""

    decoy_fraction: Fraction = 0.3
    """Fraction of slices that get dense structures that are no lesion: vessel cross-sections, a fissure, a bright
    rim, dependent haze."""


class SyntheticLesions(NamedTuple):
    """Slices with synthetic lesions and their parts; (B, 1, H, W) each, in network grey."""

    images: Tensor
    """The slices with lesions."""

    healthy: Tensor
    """The slices without their lesions."""

    extent: Tensor
    """1 where a lesion is, 0 elsewhere."""

    lungs: Tensor
    """1 inside the lungs."""


def add_synthetic_lesions(normal: Tensor, settings: LesionSettings) -> SyntheticLesions:
    """Add lesions and decoys to normal slices.

    Args:
        normal: (B, 1, H, W), network grey, black outside the lungs.
        settings: of the lesions.
    """
    field = lung_field(normal)
    healthy = add_decoys(normal, field, settings)
    extent, opacity = draw_extents(normal, field, settings)
    scale = field.dense - field.parenchyma
    dense = field.parenchyma + scale * uniform(normal, 0.7, 1.1)
    fill = (dense - blur(healthy, 1.0)).clip(min=0)
    images = (healthy + texture(opacity, normal) * fill).clip(max=1)
    images = torch.where(field.lungs > 0, images, healthy)
    visible = blur(images - healthy, 1.0) > settings.min_contrast * scale
    return SyntheticLesions(images, healthy, ((extent > 0.5) & visible).to(normal.dtype), field.lungs)


def draw_extents(like: Tensor, field: LungField, settings: LesionSettings) -> tuple[Tensor, Tensor]:
    """Extent and opacity of all lesions of each slice, (B, 1, H, W) both, 0 to 1."""
    batch, _, height, width = like.shape
    most = settings.max_count
    count = (torch.rand(batch, device=like.device) * math.log(most + 1)).exp().floor().clip(max=most)
    count = torch.where(torch.rand(batch, device=like.device) < settings.slice_fraction, count, 0)

    def each(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, most, 1, 1, 1, device=like.device)

    def spread(log_sigma: float, *, of_slice: float = 0.0) -> Tensor:
        own = log_sigma * torch.randn(batch, most, 1, 1, 1, device=like.device)
        return (own + of_slice * torch.randn(batch, 1, 1, 1, 1, device=like.device)).exp()

    weight = field.lungs * (settings.central_weight + (1 - field.depth).square() * (0.15 + field.behind.square()))
    place = torch.multinomial(weight.flatten(1) + 1e-8, most, replacement=True)
    row, column = ((at.view(batch, most, 1, 1, 1)) for at in (place // width, place % width))
    radius = (settings.radius * spread(0.6, of_slice=0.35)).clip(1.5, 45)
    longer, angle = spread(0.35), each(0, math.pi)
    edge, is_band, is_ring = each(0.08, 0.5), each(0, 1) < settings.pleural_band_fraction, each(0, 1) < 0.04
    opacity = 0.6 * torch.rand(batch, 1, 1, 1, 1, device=like.device) + 0.4 * each(0, 1)
    opacity = settings.min_opacity + (1 - settings.min_opacity) * opacity**settings.opacity_skew
    ragged = uniform(like, 0, 0.5) * (0.8 * clouds(like, 14) + 0.6 * clouds(like, 5))
    deep = uniform(like, 0.3, 0.9) * (1 + 0.15 * clouds(like, 14))
    down = torch.arange(height, device=like.device, dtype=like.dtype).view(1, 1, -1, 1)
    right = torch.arange(width, device=like.device, dtype=like.dtype).view(1, 1, 1, -1)
    extent, through = torch.zeros_like(like), torch.ones_like(like)
    for k in range(int(count.max()) if batch else 0):
        there = (k < count).view(-1, 1, 1, 1)
        y, x = down - row[:, k], right - column[:, k]
        cosine, sine = angle[:, k].cos(), angle[:, k].sin()
        along = (cosine * x + sine * y) / (radius[:, k] * longer[:, k])
        across = (cosine * y - sine * x) / (radius[:, k] / longer[:, k])
        away = (along.square() + across.square()).sqrt()
        away = away + (ragged if k % 2 else -ragged)
        cover = 1 - ramp(away, 1 - edge[:, k], 1 + edge[:, k])
        band = (1 - ramp(away / 2, 0.7, 1.3)) * (1 - ramp(field.depth, deep - 0.15, deep + 0.15))
        cover = torch.where(is_band[:, k], band, cover) * field.lungs * there
        extent = torch.maximum(extent, cover)
        hollow = torch.where(is_ring[:, k], 0.25 + 0.75 * ramp(away, 0.35, 0.65), 1.0)
        through = through * (1 - opacity[:, k] * hollow * cover)
    return extent, 1 - through


def texture(opacity: Tensor, like: Tensor) -> Tensor:
    """An opacity, (B, 1, H, W), with texture: patches, in some slices thickened septa, in others air bronchograms."""
    patchy = 1 + sum(
        uniform(like, 0, strength) * clouds(like, grain) for grain, strength in ((14, 0.35), (5, 0.25), (2.5, 0.2))
    )
    septa = 1 - ramp(clouds(like, 7).abs(), 0.0, 0.35)
    crazy = (uniform(like, 0, 1) < 0.25) * (0.8 * septa - 0.3)
    bronchi = (uniform(like, 0, 1) < 0.3) * (1 - ramp(clouds(like, 12).abs(), 0.02, 0.1))
    return (opacity * (patchy + crazy).clip(0.1, 2.2) * (1 - 0.8 * bronchi)).clip(0, 1)


def add_decoys(normal: Tensor, field: LungField, settings: LesionSettings) -> Tensor:
    """Slices with additional dense structures that are no lesion, (B, 1, H, W)."""
    scale = field.dense - field.parenchyma
    has = [(uniform(normal, 0, 1) < settings.decoy_fraction).to(normal.dtype) for _ in range(4)]
    rim = has[0] * uniform(normal, 0, 0.5) * (1 - ramp(field.depth, 0.0, 0.25))
    haze = has[1] * uniform(normal, 0, 0.12) * field.behind.square()
    sheet = (clouds(normal, 60) + 0.15 * clouds(normal, 20)).abs()
    fissure = has[2] * uniform(normal, 0, 0.3) * (1 - ramp(sheet, 0.0, 0.05))
    dots = clouds(normal, 5)
    vessels = has[3] * uniform(normal, 0.4, 1.0) * ramp(dots, 2.6, 3.0) * ramp(field.depth, 0.2, 0.8)
    share = (rim + haze + fissure + vessels).clip(0, 1) * field.lungs
    room = (field.parenchyma + scale - blur(normal, 1.0)).clip(min=0)
    return normal + share * room

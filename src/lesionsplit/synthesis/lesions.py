"""Lesions of COVID-19 as radiologists describe them, drawn into normal slices.

A lesion has an extent c, 0 to 1, and an opacity o: what it makes of healthy grey h is
``h + o c (L - s)`` where that is brighter, with L the grey of dense tissue and s the smoothed h. A
vessel is as dense as L and stays where it is, so it fades into the lesion as o grows: ground glass,
in which vessels are seen, below about one half, consolidation, in which they are not, near 1. The
noise h - s of the slice stays as it is, inside and outside: noise that stops at an edge is what a
network would learn instead of lesions.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import torch
from msgspec import Meta
from torch import Tensor

from lesionsplit.settings import Settings
from lesionsplit.synthesis.fields import LungField, blur, clouds, ramp, study, uniform

Share = Annotated[float, Meta(ge=0, le=1)]


class LesionSettings(Settings, frozen=True):
    """How often, how many, how large and how dense; lengths in pixels of the canvas."""

    share: Share = 0.8
    """Of the normal slices that get lesions; the rest are left as they are."""

    most: Annotated[int, Meta(ge=1, le=30)] = 10
    """Lesions in a slice; fewer are likelier."""

    radius: Annotated[float, Meta(gt=0)] = 8.0
    """Median; most are between half and twice that."""

    faintest: Share = 0.12
    """Opacity of the faintest ground glass."""

    skew: Annotated[float, Meta(gt=0)] = 1.0
    """Above 1: faint lesions are likelier than dense ones."""

    bands: Share = 0.0
    """Of the lesions that lie along the pleura."""

    anywhere: Annotated[float, Meta(ge=0)] = 0.1
    """How likely the middle of a lung is, the pleura at the back being 1."""

    visible: Annotated[float, Meta(ge=0)] = 0.04
    """What a lesion must add to count, as a share of the way from parenchyma to dense vessels."""

    decoys: Share = 0.3
    """Of the slices that get something dense that is no lesion: vessels cut across, a fissure, a bright
    rim, the haze of lung that is lain upon."""


class Drawn(NamedTuple):
    """Slices with lesions, and both of their parts; (B, 1, H, W) each, in network grey."""

    images: Tensor
    """What the network is shown."""

    healthy: Tensor
    """The slices without their lesions."""

    extent: Tensor
    """1 where a lesion is, 0 elsewhere."""

    lungs: Tensor
    """1 inside the lungs."""


def draw_lesions(normal: Tensor, settings: LesionSettings) -> Drawn:
    """Draw lesions, and what looks like them, into normal slices.

    Args:
        normal: (B, 1, H, W), network grey, black outside the lungs.
        settings: of what kinds, and how often.
    """
    field = study(normal)
    healthy = add_decoys(normal, field, settings)
    extent, opacity = draw_extents(normal, field, settings)
    scale = field.dense - field.parenchyma
    dense = field.parenchyma + scale * uniform(normal, 0.7, 1.1)
    fill = (dense - blur(healthy, 1.0)).clip(min=0)
    images = (healthy + texture(opacity, normal) * fill).clip(max=1)
    images = torch.where(field.lungs > 0, images, healthy)
    seen = blur(images - healthy, 1.0) > settings.visible * scale
    return Drawn(images, healthy, ((extent > 0.5) & seen).to(normal.dtype), field.lungs)


def draw_extents(like: Tensor, field: LungField, settings: LesionSettings) -> tuple[Tensor, Tensor]:
    """Extent and opacity of all lesions of each slice, (B, 1, H, W) both, 0 to 1."""
    batch, _, height, width = like.shape
    most = settings.most
    count = (torch.rand(batch, device=like.device) * math.log(most + 1)).exp().floor().clip(max=most)
    count = torch.where(torch.rand(batch, device=like.device) < settings.share, count, 0)

    def each(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, most, 1, 1, 1, device=like.device)

    def spread(log_sigma: float, *, of_slice: float = 0.0) -> Tensor:
        own = log_sigma * torch.randn(batch, most, 1, 1, 1, device=like.device)
        return (own + of_slice * torch.randn(batch, 1, 1, 1, 1, device=like.device)).exp()

    weight = field.lungs * (settings.anywhere + (1 - field.depth).square() * (0.15 + field.behind.square()))
    place = torch.multinomial(weight.flatten(1) + 1e-8, most, replacement=True)
    row, column = ((at.view(batch, most, 1, 1, 1)) for at in (place // width, place % width))
    radius = (settings.radius * spread(0.6, of_slice=0.35)).clip(1.5, 45)
    longer, angle = spread(0.35), each(0, math.pi)
    edge, is_band, is_ring = each(0.08, 0.5), each(0, 1) < settings.bands, each(0, 1) < 0.04
    opacity = 0.6 * torch.rand(batch, 1, 1, 1, 1, device=like.device) + 0.4 * each(0, 1)
    opacity = settings.faintest + (1 - settings.faintest) * opacity**settings.skew
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
    """An opacity, (B, 1, H, W), made uneven: patchy, with thickened septa in some slices, air in bronchi in others."""
    patchy = 1 + sum(
        uniform(like, 0, strength) * clouds(like, grain) for grain, strength in ((14, 0.35), (5, 0.25), (2.5, 0.2))
    )
    septa = 1 - ramp(clouds(like, 7).abs(), 0.0, 0.35)
    crazy = (uniform(like, 0, 1) < 0.25) * (0.8 * septa - 0.3)
    bronchi = (uniform(like, 0, 1) < 0.3) * (1 - ramp(clouds(like, 12).abs(), 0.02, 0.1))
    return (opacity * (patchy + crazy).clip(0.1, 2.2) * (1 - 0.8 * bronchi)).clip(0, 1)


def add_decoys(normal: Tensor, field: LungField, settings: LesionSettings) -> Tensor:
    """Slices with more of what is dense and no lesion, (B, 1, H, W)."""
    scale = field.dense - field.parenchyma
    has = [(uniform(normal, 0, 1) < settings.decoys).to(normal.dtype) for _ in range(4)]
    rim = has[0] * uniform(normal, 0, 0.5) * (1 - ramp(field.depth, 0.0, 0.25))
    haze = has[1] * uniform(normal, 0, 0.12) * field.behind.square()
    sheet = (clouds(normal, 60) + 0.15 * clouds(normal, 20)).abs()
    fissure = has[2] * uniform(normal, 0, 0.3) * (1 - ramp(sheet, 0.0, 0.05))
    dots = clouds(normal, 5)
    vessels = has[3] * uniform(normal, 0.4, 1.0) * ramp(dots, 2.6, 3.0) * ramp(field.depth, 0.2, 0.8)
    share = (rim + haze + fissure + vessels).clip(0, 1) * field.lungs
    room = (field.parenchyma + scale - blur(normal, 1.0)).clip(min=0)
    return normal + share * room

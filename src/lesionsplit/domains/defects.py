"""Drawn defects in normal images of anything, from the user's own images.

A defect covers an extent, 0 to 1 with a soft edge, whose shape is a cloud (as the Perlin noise of DRAEM, Zavrtanik et
al. 2021), a patch (as CutPaste, Li et al. 2021) or a scar. Inside, healthy grey h becomes ``h + o (f - h)``, where o is
the opacity and the fill f is one of

* a part of another image, shifted, mirrored and with another brightness;
* the image itself, warped by smooth noise;
* the image itself, brighter or darker, of another colour where there are colours;
* the image itself, smoothed;
* noise.

What changes nothing that can be seen is not part of the defect, so that no target asks for what is not there.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor

from lesionsplit.data.kind import FLOOR
from lesionsplit.settings import Fraction, NonNegative, Positive, Settings
from lesionsplit.synthesis.fields import blur, clouds, ramp, uniform
from lesionsplit.synthesis.lesions import SyntheticLesions

FILLS = 5

EDGE = 1.5
"""Pixels of a defect's soft edge."""


class DefectSettings(Settings, frozen=True):
    """Frequency, number, size and strength; lengths in pixels of the canvas."""

    image_fraction: Fraction = 0.8
    """Fraction of normal images that get defects; the others do not change."""

    max_count: Annotated[int, Meta(ge=1, le=12)] = 5
    """Largest number of defects in an image, of different shapes and fills."""

    radius: Positive = 6.0
    """Median radius of patches; most are between two fifths and five halves as large. Clouds have a grain of about
    three times that."""

    min_opacity: Fraction = 0.3
    """Opacity of the faintest defect."""

    min_contrast: NonNegative = 0.06
    """The smallest visible change, in network grey, whose range is -1 to 1."""


def add_defects(normal: Tensor, region: Tensor, others: Tensor, settings: DefectSettings) -> SyntheticLesions:
    """Draw defects in normal images.

    Args:
        normal: (B, C, H, W), network grey, at least `FLOOR` inside the region.
        region: (B, 1, H, W), 1 inside.
        others: (N, C, H, W), images that fills are taken from.
        settings: of the defects.
    """
    images, extent, places = normal, torch.zeros_like(region), _places(normal, region)
    drawn = (uniform(normal, 0, 1) < settings.image_fraction).to(normal.dtype)
    count = uniform(normal, 0, 1).square() * settings.max_count  # small numbers are more likely
    for number in range(settings.max_count):
        shape = _shapes(places, settings.radius) * drawn * (count > number) * region
        opacity = uniform(normal, settings.min_opacity, 1)
        images = images + shape * opacity * (_fills(images, others) - images)
        extent = torch.maximum(extent, shape)
    images = torch.where(region > 0, images.clip(FLOOR, 1), normal)
    change = (images - normal).abs().amax(dim=1, keepdim=True)
    change = torch.maximum(blur(change, 1.0), blur(change, 2.5))  # textures may agree in places inside a defect
    seen = (extent > 0.5) & (change > settings.min_contrast)
    return SyntheticLesions(images, normal, seen.to(normal.dtype), region)


def _places(images: Tensor, region: Tensor) -> Tensor:
    """How likely a defect is centred on each pixel, (B, 1, H, W): more so on an object than on its background.

    One half of the defects are anywhere in the region; the other half where the image differs from its median.
    """
    usual = images.flatten(2).median(dim=2).values[..., None, None]
    apart = blur((images - usual).abs().mean(dim=1, keepdim=True), 2.0) * region
    return region + apart * (region.sum((2, 3), keepdim=True) / apart.sum((2, 3), keepdim=True).clip(min=1e-6))


def _shapes(places: Tensor, radius: float) -> Tensor:
    """The extent of one defect in each image, (B, 1, H, W), 0 to 1; ``places``: how likely its centre is where."""
    kind = uniform(places, 0, 1)
    cloud = _clouds(places, radius)
    patch, scar = _ellipses(places, radius)
    return torch.where(kind < 0.3, cloud, torch.where(kind < 0.7, patch, scar))


def _clouds(places: Tensor, radius: float) -> Tensor:
    """Parts of an ellipse where smooth noise is high."""
    near, _ = _ellipses(places, 3 * radius)
    grain = 2 * radius * float(torch.empty(1).uniform_(0.7, 2))
    noise = clouds(places, grain)
    return near * ramp(noise, uniform(places, 0.2, 0.8), uniform(places, 0.9, 1.2))


def _ellipses(places: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """An ellipse or rectangle in each image, and a thin bent line through it."""
    batch, _, height, width = places.shape
    place = torch.multinomial(places.flatten(1) + 1e-8, 1)
    down = torch.arange(height, device=places.device, dtype=places.dtype).view(1, 1, -1, 1)
    right = torch.arange(width, device=places.device, dtype=places.dtype).view(1, 1, 1, -1)
    y, x = down - (place // width).view(-1, 1, 1, 1), right - (place % width).view(-1, 1, 1, 1)
    angle = uniform(places, 0, math.pi)
    bend = 2.5 * clouds(places, 3 * radius)
    along, across = angle.cos() * x + angle.sin() * y + bend, angle.cos() * y - angle.sin() * x + bend
    size = radius * torch.randn(batch, 1, 1, 1, device=places.device).mul(0.7).exp()
    longer = torch.randn(batch, 1, 1, 1, device=places.device).mul(0.4).exp()
    first, second = along.abs() / (size * longer), across.abs() / (size / longer)
    square = uniform(places, 0, 1) < 0.4
    away = torch.where(square, torch.maximum(first, second), (first.square() + second.square()).sqrt())
    soft = (EDGE / size.clip(min=EDGE)).clip(max=0.9)
    patch = 1 - ramp(away, 1 - soft, 1 + soft)
    thick = uniform(places, 0.5, 2.0)
    long = radius * uniform(places, 1, 5)
    scar = (1 - ramp(across.abs(), thick, thick + EDGE)) * (1 - ramp(along.abs() / long, 0.9, 1.1))
    return patch, scar


def _fills(images: Tensor, others: Tensor) -> Tensor:
    """What one defect of each image is made of, (B, C, H, W)."""
    count, kind = len(images), uniform(images, 0, FILLS).floor()
    channel = torch.randn(count, images.shape[1], 1, 1, device=images.device)
    shift = uniform(images, 0.15, 0.9) * torch.where(uniform(images, 0, 1) < 0.5, -1.0, 1.0)
    shift = shift if images.shape[1] == 1 else shift * (0.5 + channel.clip(-1, 1))
    fills = [
        _parts_of(others, count) * uniform(images, 0.6, 1.4) + uniform(images, -0.25, 0.25),
        _warped(images),
        images + shift,
        blur(images, 3.0) + uniform(images, -0.2, 0.2),
        images.mean(dim=(2, 3), keepdim=True) + shift / 2 + 0.4 * channel * clouds(images, 3.0),
    ]
    chosen = fills[0]
    for number, fill in enumerate(fills[1:], 1):
        chosen = torch.where(kind == number, fill, chosen)
    return chosen


def _parts_of(others: Tensor, count: int) -> Tensor:
    """Other images, shifted, mirrored and turned over, (count, C, H, W)."""
    chosen = others[torch.randint(len(others), (count,), device=others.device)]
    height, width = chosen.shape[-2:]
    down, right = (int(torch.randint(side, (1,))) for side in (height, width))
    moved = chosen.roll((down, right), dims=(2, 3))
    moved = torch.where(uniform(moved, 0, 1) < 0.5, moved.flip(3), moved)
    moved = torch.where(uniform(moved, 0, 1) < 0.5, moved.flip(2), moved)
    return moved.clip(min=FLOOR)


def _warped(images: Tensor) -> Tensor:
    """Images displaced by smooth noise of a few pixels, and by a shift of more."""
    batch, _, height, width = images.shape
    identity = torch.eye(2, 3, device=images.device).expand(batch, 2, 3)
    grid = F.affine_grid(identity, [batch, 1, height, width], align_corners=False)
    strength = uniform(images, 2, 8)
    by = [
        (strength * clouds(images, 8.0) + uniform(images, -12, 12)).squeeze(1) * (2 / side) for side in (width, height)
    ]
    moved = grid + torch.stack(by, dim=-1)
    return F.grid_sample(images, moved, mode="bilinear", padding_mode="reflection", align_corners=False)

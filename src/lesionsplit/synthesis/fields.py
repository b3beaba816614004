"""What is drawn with: random fields, smoothing, and what a lung slice says of itself."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

DARKEST_LUNG = 0.06
"""Network grey above black from which a pixel is lung: `data.lungs.BLACK` after the usual normalisation."""

TOP = 0.995
"""Quantile of a lung's grey that is taken for the densest there is: vessels in cross-section."""

NEAR = 5.0
"""Pixels over which the pleura is felt."""


class LungField(NamedTuple):
    """What the synthesis needs to know of lung slices; each (B, 1, H, W) or (B, 1, 1, 1)."""

    lungs: Tensor
    """1 inside the lungs, 0 outside; pin holes closed."""

    parenchyma: Tensor
    """Median grey of the slice's lungs."""

    dense: Tensor
    """Grey of its densest vessels: with `parenchyma`, the scale on which lesions are drawn."""

    depth: Tensor
    """How deep below the pleura: about 0 on it, 1 from twice `NEAR` pixels on."""

    behind: Tensor
    """0 at the front (top) of the lungs, 1 at the back."""


def study(images: Tensor) -> LungField:
    """Lungs, grey scale and depth of lung-masked slices, (B, 1, H, W), black outside the lungs."""
    inside = _not_black(images)
    lungs = lungs_of(images)
    grey = torch.where(inside, images, torch.nan).flatten(1)
    parenchyma, dense = torch.nanquantile(grey, torch.tensor([0.5, TOP], device=grey.device), dim=1).nan_to_num()
    depth = (2 * blur(lungs, NEAR) - 1).clip(0, 1) * lungs
    down = torch.linspace(0, 1, images.shape[2], device=images.device).view(1, 1, -1, 1)
    filled = lungs.amax(dim=3, keepdim=True) > 0
    top = torch.where(filled, down, 1.0).amin(dim=2, keepdim=True)
    bottom = torch.where(filled, down, 0.0).amax(dim=2, keepdim=True)
    behind = ((down - top) / (bottom - top).clip(min=1e-3)).clip(0, 1)
    return LungField(lungs, _each(parenchyma), _each(dense), depth, behind.expand_as(images))


def lungs_of(images: Tensor) -> Tensor:
    """1 inside the lungs of lung-masked slices, (B, 1, H, W), 0 outside; pin holes closed."""
    inside = _not_black(images).to(images.dtype)
    return (blur(inside, 1.5) > 0.5).to(images.dtype)


def _not_black(images: Tensor) -> Tensor:
    return images > images.amin(dim=(2, 3), keepdim=True) + DARKEST_LUNG


def clouds(like: Tensor, grain: float) -> Tensor:
    """Smooth noise of mean about 0 and standard deviation 1, of the shape of (B, 1, H, W); ``grain`` in pixels."""
    batch, _, height, width = like.shape
    cells = [max(2, round(side / grain) + 1) for side in (height, width)]
    coarse = torch.randn(batch, 1, *cells, device=like.device, dtype=like.dtype)
    field = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)
    return field / field.std(dim=(2, 3), keepdim=True).clip(min=1e-6)


def blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian smoothing of (B, 1, H, W), zeros outside."""
    reach = int(3 * sigma)
    at = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-at.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    down = F.conv2d(images, kernel.view(1, 1, -1, 1), padding=(reach, 0))
    return F.conv2d(down, kernel.view(1, 1, 1, -1), padding=(0, reach))


def ramp(values: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """0 up to ``low``, 1 from ``high``, smooth between."""
    share = ((values - low) / (high - low)).clip(0, 1)
    return share * share * (3 - 2 * share)


def uniform(like: Tensor, low: float, high: float) -> Tensor:
    """One number for each slice, (B, 1, 1, 1)."""
    return low + (high - low) * torch.rand(len(like), 1, 1, 1, device=like.device, dtype=like.dtype)


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)

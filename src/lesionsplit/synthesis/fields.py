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

USUAL = 0.5
"""Where parenchyma lies at most on the way from black to `TOP`, where nothing is left to measure it on: three
quarters of the normal slices that thresholds are set on have it lower."""

FEW = 0.02
"""Share of the lung on which parenchyma is measured half, and taken to be as is `USUAL` half."""

SORTED = 1 << 24
"""Values that `torch.quantile` takes, at most."""


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
    parenchyma, dense = _quantiles(images, inside, [0.5, TOP]).nan_to_num()
    depth = (2 * blur(lungs, NEAR) - 1).clip(0, 1) * lungs
    down = torch.linspace(0, 1, images.shape[2], device=images.device).view(1, 1, -1, 1)
    filled = lungs.amax(dim=3, keepdim=True) > 0
    top = torch.where(filled, down, 1.0).amin(dim=2, keepdim=True)
    bottom = torch.where(filled, down, 0.0).amax(dim=2, keepdim=True)
    behind = ((down - top) / (bottom - top).clip(min=1e-3)).clip(0, 1)
    return LungField(lungs, _each(parenchyma), _each(dense), depth, behind.expand_as(images))


def spared_grey(images: Tensor, field: LungField, healthy: Tensor) -> Tensor:
    """Grey of the parenchyma of slices of which any share may be lesion, (B, 1, 1, 1).

    It is the median over what counts as healthy; the median over the whole lung is lesion's where more than half
    of it is. Where next to nothing is healthy, there is nothing to measure, and the median goes over into what is
    usual beside the densest (`USUAL`). It is never above the median over the whole lung.

    Args:
        images: (B, 1, H, W), black outside the lungs.
        field: what `study` says of them.
        healthy: (B, 1, H, W), true where a pixel counts as healthy, if it is lung.
    """
    inside = _not_black(images)
    counted = inside & healthy
    share = _each(counted.flatten(1).sum(1) / inside.flatten(1).sum(1).clip(min=1))
    median = _each(_quantiles(images, counted, [0.5])[0])
    median = torch.fmin(median, field.parenchyma)  # of the two, the one that is a number
    black = images.amin(dim=(2, 3), keepdim=True)
    usual = black + USUAL * (field.dense - black)
    return torch.minimum(median, usual + share / (share + FEW) * (median - usual))


def lungs_of(images: Tensor) -> Tensor:
    """1 inside the lungs of lung-masked slices, (B, 1, H, W), 0 outside; pin holes closed."""
    inside = _not_black(images).to(images.dtype)
    return (blur(inside, 1.5) > 0.5).to(images.dtype)


def over_the_edge(score: Tensor, lungs: Tensor, share: float) -> Tensor:
    """Scores, (B, 1, H, W), a pixel just outside the lungs having at least a share of its neighbours' highest."""
    beside = share * F.max_pool2d(score * lungs, 3, 1, 1)
    return torch.where(lungs > 0, score, torch.maximum(score, beside))


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


def _quantiles(images: Tensor, counted: Tensor, at: list[float]) -> Tensor:
    """Quantiles of the counted pixels of each slice, (len(at), B); NaN where there are none."""
    grey = torch.where(counted, images, torch.nan).flatten(1)
    return torch.nanquantile(grey, torch.tensor(at, device=grey.device), dim=1)


def quantile(values: Tensor, at: float) -> Tensor:
    """The quantile of any number of values, a scalar: `torch.quantile` stops at `SORTED` of them.

    Beyond, it is the nearest value instead of a mean of two, which lie closer together than it matters.
    """
    if values.numel() <= SORTED:
        return torch.quantile(values, at)
    return values.flatten().kthvalue(1 + round(at * (values.numel() - 1))).values


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)

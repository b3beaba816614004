"""Random fields, smoothing, and properties of lung slices, for the synthesis of lesions."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

DARKEST_LUNG = 0.06
"""Network grey above black from which a pixel is lung: `data.lung_slice.BLACK` after the usual normalisation."""

DENSE_QUANTILE = 0.995
"""Quantile of a lung's grey that stands for its densest vessels."""

PLEURA_SIGMA = 5.0
"""Standard deviation, in pixels, of the smoothing that measures depth below the pleura."""

USUAL = 0.5
"""The highest grey of parenchyma where no healthy lung is left to measure it, as a fraction of the difference between
black and the densest vessels. In three quarters of the normal slices that set thresholds it is lower."""

HALF_WEIGHT = 0.02
"""Fraction of healthy lung at which the measured grey of parenchyma and that of `USUAL` have equal weight."""

MAX_QUANTILE_VALUES = 1 << 24
"""Largest number of values for `torch.quantile`."""


class LungField(NamedTuple):
    """Properties of lung slices for the synthesis; each (B, 1, H, W) or (B, 1, 1, 1)."""

    lungs: Tensor
    """1 inside the lungs, 0 outside; small holes closed."""

    parenchyma: Tensor
    """Median grey of the slice's lungs."""

    dense: Tensor
    """Grey of the densest vessels; with `parenchyma`, the grey scale of synthetic lesions."""

    depth: Tensor
    """Depth below the pleura: about 0 at the pleura, 1 from twice `PLEURA_SIGMA` pixels."""

    behind: Tensor
    """0 at the front (top) of the lungs, 1 at the back."""


def lung_field(images: Tensor) -> LungField:
    """Lungs, grey scale and depth of lung-masked slices, (B, 1, H, W), black outside the lungs."""
    inside = _not_black(images)
    lungs = lungs_of(images)
    parenchyma, dense = _quantiles(images, inside, [0.5, DENSE_QUANTILE]).nan_to_num()
    depth = (2 * blur(lungs, PLEURA_SIGMA) - 1).clip(0, 1) * lungs
    down = torch.linspace(0, 1, images.shape[2], device=images.device).view(1, 1, -1, 1)
    filled = lungs.amax(dim=3, keepdim=True) > 0
    top = torch.where(filled, down, 1.0).amin(dim=2, keepdim=True)
    bottom = torch.where(filled, down, 0.0).amax(dim=2, keepdim=True)
    behind = ((down - top) / (bottom - top).clip(min=1e-3)).clip(0, 1)
    return LungField(lungs, _each(parenchyma), _each(dense), depth, behind.expand_as(images))


def parenchyma_grey(images: Tensor, field: LungField, healthy: Tensor) -> Tensor:
    """Grey of the parenchyma of slices with lesions of any extent, (B, 1, 1, 1).

    It is the median over healthy pixels, since the median over the whole lung is that of the lesion where more than
    half of it is lesion. With few healthy pixels, `USUAL` replaces the median gradually. The result is never above
    the median over the whole lung.

    Args:
        images: (B, 1, H, W), black outside the lungs.
        field: `lung_field` of the images.
        healthy: (B, 1, H, W), true where a lung pixel is healthy.
    """
    inside = _not_black(images)
    counted = inside & healthy
    fraction = _each(counted.flatten(1).sum(1) / inside.flatten(1).sum(1).clip(min=1))
    median = _each(_quantiles(images, counted, [0.5])[0])
    # Without a healthy pixel the median is NaN, and fmin takes the other value.
    median = torch.fmin(median, field.parenchyma)
    black = images.amin(dim=(2, 3), keepdim=True)
    usual = black + USUAL * (field.dense - black)
    return torch.minimum(median, usual + fraction / (fraction + HALF_WEIGHT) * (median - usual))


def lungs_of(images: Tensor) -> Tensor:
    """1 inside the lungs of lung-masked slices, (B, 1, H, W), 0 outside; small holes closed."""
    inside = _not_black(images).to(images.dtype)
    return (blur(inside, 1.5) > 0.5).to(images.dtype)


def score_pleural_margin(score: Tensor, lungs: Tensor, fraction: float) -> Tensor:
    """Scores, (B, 1, H, W), with at least a fraction of the neighbours' highest score just outside the lungs."""
    beside = fraction * F.max_pool2d(score * lungs, 3, 1, 1)
    return torch.where(lungs > 0, score, torch.maximum(score, beside))


def _not_black(images: Tensor) -> Tensor:
    return images > images.amin(dim=(2, 3), keepdim=True) + DARKEST_LUNG


def clouds(like: Tensor, grain: float) -> Tensor:
    """Smooth noise of mean about 0 and standard deviation 1, (B, 1, H, W) for (B, C, H, W); ``grain`` in pixels."""
    batch, _, height, width = like.shape
    cells = [max(2, round(side / grain) + 1) for side in (height, width)]
    coarse = torch.randn(batch, 1, *cells, device=like.device, dtype=like.dtype)
    field = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)
    return field / field.std(dim=(2, 3), keepdim=True).clip(min=1e-6)


def blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian smoothing of (B, C, H, W), zeros outside."""
    if images.shape[1] > 1:
        return blur(images.flatten(0, 1).unsqueeze(1), sigma).view_as(images)
    reach = int(3 * sigma)
    at = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-at.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    down = F.conv2d(images, kernel.view(1, 1, -1, 1), padding=(reach, 0))
    return F.conv2d(down, kernel.view(1, 1, 1, -1), padding=(0, reach))


def ramp(values: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """0 up to ``low``, 1 from ``high``, a smooth step between."""
    position = ((values - low) / (high - low)).clip(0, 1)
    return position * position * (3 - 2 * position)


def uniform(like: Tensor, low: float, high: float) -> Tensor:
    """A random number between ``low`` and ``high`` for each slice, (B, 1, 1, 1)."""
    return low + (high - low) * torch.rand(len(like), 1, 1, 1, device=like.device, dtype=like.dtype)


def _quantiles(images: Tensor, counted: Tensor, at: list[float]) -> Tensor:
    """Quantiles of the counted pixels of each slice, (len(at), B); NaN for a slice without any."""
    grey = torch.where(counted, images, torch.nan).flatten(1)
    return torch.nanquantile(grey, torch.tensor(at, device=grey.device), dim=1)


def quantile(values: Tensor, at: float) -> Tensor:
    """The quantile of any number of values, a scalar.

    `torch.quantile` takes at most `MAX_QUANTILE_VALUES`. With more values the result is the nearest one instead of
    an interpolation of two; the difference is negligible.
    """
    if values.numel() <= MAX_QUANTILE_VALUES:
        return torch.quantile(values, at)
    return values.flatten().kthvalue(1 + round(at * (values.numel() - 1))).values


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)

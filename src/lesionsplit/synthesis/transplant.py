"""Lesions that were taken off slices, put into normal ones: both parts of these are known, and real."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lesionsplit.synthesis.fields import uniform

LEAST = 0.05
"""Network grey that a lesion adds at least where it is transplanted."""


class Transplanted(NamedTuple):
    """Normal slices with lesions from others; (B, C, H, W) each, in network grey."""

    images: Tensor
    lesion: Tensor
    """What was added, exactly."""


def _not_brighter_than_white(images: Tensor) -> Tensor:
    return images.clip(max=1)


def transplanted(
    normal: Tensor, lungs: Tensor, lesion: Tensor, visible: Callable[[Tensor], Tensor] = _not_brighter_than_white
) -> Transplanted:
    """Normal slices with what was taken off others: mirrored or not, of half to one and a half times the density.

    Args:
        normal: (B, C, H, W), network grey.
        lungs: (B, 1, H, W), of the normal slices.
        lesion: (B, C, H, W), G2 of slices with lesion.
        visible: clips network grey to what images have.
    """
    lesion = torch.where(uniform(lesion, 0, 1) < 0.5, lesion.flip(3), lesion).detach()
    lesion = torch.where(lesion.abs() > LEAST, lesion, 0.0) * uniform(lesion, 0.5, 1.5) * lungs
    images = torch.where(lungs > 0, visible(normal + lesion), normal)
    return Transplanted(images, images - normal)

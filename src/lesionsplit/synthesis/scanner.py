"""What differs between scanners and should not matter: sharpness and noise."""

from __future__ import annotations

from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor

from lesionsplit.settings import Settings
from lesionsplit.synthesis.fields import blur, uniform


class ScannerSettings(Settings, frozen=True):
    """How much a slice may change; 0 turns it off."""

    sharpness: Annotated[float, Meta(ge=0, le=1)] = 0.7
    """Blurred by up to this share of a Gaussian of one pixel, or sharpened by two thirds of that."""

    noise: Annotated[float, Meta(ge=0)] = 0.06
    """Largest standard deviation, in network grey, fine or grainy."""


def rescan(images: Tensor, lungs: Tensor, settings: ScannerSettings) -> Tensor:
    """Slices, (B, 1, H, W) in network grey, as another scanner might have given them.

    Noise stays inside the lungs; the black beside them and at the frame's edge blurs a little.
    """
    if settings.sharpness:
        amount = uniform(images, -settings.sharpness, settings.sharpness)
        detail = images - blur(images, 1.0)
        images = images - detail * torch.where(amount > 0, amount, amount * (2 / 3))
    if settings.noise:
        fine = torch.randn_like(images)
        grainy = torch.lerp(fine, 2.5 * blur(fine, 0.8), uniform(images, 0, 1))
        images = images + grainy * uniform(images, 0, settings.noise) * lungs
    return images.clip(-1, 1)

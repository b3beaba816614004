"""Augmentation of what differs between scanners: sharpness and noise."""

from __future__ import annotations

import torch
from torch import Tensor

from lesionsplit.settings import Fraction, NonNegative, Settings
from lesionsplit.synthesis.fields import blur, uniform


class ScannerSettings(Settings, frozen=True):
    """How much a slice may change; 0 turns it off."""

    sharpness: Fraction = 0.7
    """Largest weight of a Gaussian blur of one pixel; sharpening has up to two thirds of it."""

    noise: NonNegative = 0.06
    """Largest standard deviation of the noise, in network grey; its grain varies."""


def simulate_scanner(images: Tensor, lungs: Tensor, settings: ScannerSettings) -> Tensor:
    """Slices, (B, 1, H, W) in network grey, with the sharpness and noise of another scanner.

    Noise is added inside the lungs only; blurring and sharpening also affect the black beside them.
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

from __future__ import annotations

import torch

from lesionsplit.synthesis.fields import blur
from lesionsplit.synthesis.scanner import ScannerSettings, simulate_scanner


def test_nothing_changes_when_all_is_off() -> None:
    images = torch.rand(3, 1, 16, 24) - 0.5
    assert torch.equal(simulate_scanner(images, torch.ones_like(images), ScannerSettings(sharpness=0, noise=0)), images)


def test_noise_stays_inside_the_lungs_and_in_range() -> None:
    torch.manual_seed(0)
    images, lungs = torch.full((4, 1, 16, 24), 0.98), torch.zeros(4, 1, 16, 24)
    lungs[..., 8:] = 1
    noisy = simulate_scanner(images, lungs, ScannerSettings(sharpness=0, noise=0.2))
    assert torch.equal(noisy[..., :8], images[..., :8])
    assert (noisy[..., 8:] != images[..., 8:]).any()
    assert noisy.max() <= 1


def test_sharpness_goes_both_ways() -> None:
    torch.manual_seed(0)
    images = torch.rand(64, 1, 16, 24) * 0.2
    changed = simulate_scanner(images, torch.ones_like(images), ScannerSettings(sharpness=0.7, noise=0))
    detail = (images - blur(images, 1.0)).flatten(1)
    gained = ((changed - images).flatten(1) * detail).sum(1) / detail.square().sum(1)
    assert gained.min() < -0.4  # blurred
    assert gained.max() > 0.3  # sharpened

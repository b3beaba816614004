from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from lesionsplit.errors import SettingsError
from lesionsplit.methods.healing import HealingSettings, healing_target, median_filter

SETTINGS = HealingSettings(nothing_below=0.04, all_from=0.22, floor=1.5)

CLOSE = 0.003
"""Parenchyma is mixed with a little of what is usual: `parenchyma_grey`."""


def slice_with_a_lesion() -> tuple[torch.Tensor, torch.Tensor]:
    """A lesion of 0.4 above parenchyma of -0.5, and m: 0.3 there, well below the scores of most thresholds."""
    images = torch.full((1, 1, 48, 48), -0.5)
    images[..., :3] = -1.0
    images[:, :, 10:36, 10:36] = -0.1
    chance = torch.zeros_like(images)
    chance[:, :, 10:36, 10:36] = 0.3
    return images, chance


@pytest.mark.parametrize("side", [3, 5, 7])
def test_the_median_filter_is_that_of_scipy(side: int) -> None:
    images = torch.rand(2, 1, 20, 24, generator=torch.Generator().manual_seed(0))
    expected = ndimage.median_filter(images.numpy(), size=(1, 1, side, side), mode="mirror")
    np.testing.assert_array_equal(median_filter(images, side).numpy(), expected)


def test_a_lesion_is_taken_off_down_to_parenchyma_and_nothing_else() -> None:
    images, chance = slice_with_a_lesion()
    target = healing_target(images, chance, SETTINGS)
    inside = target[:, :, 16:30, 16:30]
    torch.testing.assert_close(inside, torch.full_like(inside, 0.4), rtol=0, atol=CLOSE)
    assert not target[:, :, :, 42:].any()
    assert not healing_target(images, 0.1 * chance, SETTINGS)[:, :, 16:30, 16:30].any()


def test_between_the_two_chances_a_part_is_taken_off() -> None:
    images, chance = slice_with_a_lesion()
    target = healing_target(images, chance * (0.13 / 0.3), SETTINGS)[:, :, 16:30, 16:30]
    torch.testing.assert_close(target, torch.full_like(target, 0.2), rtol=0, atol=CLOSE)


def test_a_vessel_in_the_lesion_stays_as_bright_above_what_surrounds_it() -> None:
    images, chance = slice_with_a_lesion()
    images[:, :, 16:30, 22:24] = 0.6  # two pixels wide
    healed = images - healing_target(images, chance, SETTINGS)
    torch.testing.assert_close(healed[:, :, 18:28, 22:24], torch.full((1, 1, 10, 2), 0.2), rtol=0, atol=CLOSE)
    torch.testing.assert_close(healed[:, :, 18:28, 16:20], torch.full((1, 1, 10, 4), -0.5), rtol=0, atol=CLOSE)


def test_air_in_a_lesion_does_not_become_darker_than_the_noise_of_lung() -> None:
    images, chance = slice_with_a_lesion()
    generator = torch.Generator().manual_seed(1)
    images += torch.where(images > -1, 0.02 * torch.randn(images.shape, generator=generator), 0)
    images[:, :, 20:22, 20:22] = -0.55  # a bronchus
    air = (slice(None), slice(None), slice(20, 22), slice(20, 22))
    floored = (images - healing_target(images, chance, SETTINGS))[air]
    assert (floored >= -0.55 - 1e-6).all()
    free = HealingSettings(nothing_below=0.04, all_from=0.22, floor=100.0)
    assert ((images - healing_target(images, chance, free))[air] < -0.85).all()


def test_chances_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"^method.healing: all_from is 0.1 and nothing_below 0.2; it must be larg"):
        HealingSettings(nothing_below=0.2, all_from=0.1)

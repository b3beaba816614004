"""What a healthy version takes off: the target of G2 for a network that learns it apart from the score.

In slices with lesion, G2 is what the neighbourhood adds to parenchyma wherever the network's own m is above a small
value:

    G2 = ramp(m) (x~ - p)+,  at most x - (p - f s)

x~ is the slice through median filters, which leave vessels and noise to the healthy version; p and s are the grey of
spared parenchyma and the standard deviation of its noise. The bound keeps air in a lesion, such as bronchi, from
becoming darker than lung. m needs to be above a small value only, since what is taken off need not be what is scored.
Where a lesion is synthetic, G2 is what was added.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lesionsplit.errors import SettingsError
from lesionsplit.settings import Fraction, NonNegative, Settings
from lesionsplit.synthesis.fields import blur, lung_field, parenchyma_grey, ramp

SPARED_BELOW = 0.1
"""m below which lung is spared, where parenchyma is measured."""

WINDOWS = (5, 7)
"""Sides of the median filters, in pixels of the canvas, whose mean is x~. A smaller window removes more, and more of
the vessels."""


class HealingSettings(Settings, frozen=True):
    """How healthy versions are made; a branch of the network learns it."""

    nothing_below: Fraction = 0.03
    """m up to which a pixel stays."""

    all_from: Fraction = 0.15
    """m from which all that a lesion adds is taken off."""

    floor: NonNegative = 1.5
    """f: how far below parenchyma a healed pixel may be, in standard deviations of the noise."""

    def __post_init__(self) -> None:
        if self.all_from <= self.nothing_below:
            raise SettingsError(
                f"method.healing: all_from is {self.all_from} and nothing_below {self.nothing_below}; it must be larger"
            )


def healing_target(images: Tensor, chance: Tensor, settings: HealingSettings) -> Tensor:
    """What the lesions of slices add, in network grey, (B, 1, H, W), not negative.

    Args:
        images: (B, 1, H, W), network grey, black outside the lungs.
        chance: m of the same shape, 0 to 1.
        settings: from which m, and how much.
    """
    field = lung_field(images)
    chance = blur(chance, 1.0)
    spared = chance < SPARED_BELOW
    parenchyma = parenchyma_grey(images, field, spared)
    filled = torch.where(field.lungs > 0, images, parenchyma)
    usual = torch.stack([median_filter(filled, side) for side in WINDOWS]).mean(0)
    added = ramp(chance, settings.nothing_below, settings.all_from) * (usual - parenchyma).clip(min=0)
    noise = _noise((filled - usual).clip(max=0), spared * field.lungs)
    return torch.minimum(added, (images - parenchyma + settings.floor * noise).clip(min=0)) * field.lungs


def median_filter(images: Tensor, side: int) -> Tensor:
    """The median of a square window of an odd ``side``, of (B, 1, H, W); mirrored at the border."""
    around = F.pad(images, (side // 2,) * 4, mode="reflect").unfold(2, side, 1).unfold(3, side, 1)
    return around.flatten(4).median(dim=4).values


def _noise(below: Tensor, where: Tensor) -> Tensor:
    """Standard deviation of the noise of each slice, (B, 1, 1, 1), from its half below the median; 0 without pixels.

    The other half has vessels in it.
    """
    return (2 * (below.square() * where).sum((2, 3), keepdim=True) / where.sum((2, 3), keepdim=True).clip(min=1)).sqrt()

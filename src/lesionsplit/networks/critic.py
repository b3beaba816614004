"""Critics: how much a slice, or each patch of it, resembles the normal slices.

`Critic` is that of the paper (section 3.1); `PatchCritic` rates patches of noised slices.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from lesionsplit.errors import SettingsError
from lesionsplit.settings import Settings, Width


class CriticSettings(Settings, frozen=True):
    """Width and normalisation of the critic."""

    channels: tuple[Width, Width, Width, Width] = (64, 128, 256, 512)
    """Features after each of the four down-sampling convolutions."""

    norm: Literal["none", "instance", "layer", "batch"] = "none"
    """``batch``, as in the authors' code, is refused; see `__post_init__`."""

    def __post_init__(self) -> None:
        if self.norm == "batch":
            raise SettingsError(
                "critic.norm: batch normalisation couples the slices of a batch, but the gradient penalty is per slice "
                "(Gulrajani et al. 2017, section 4); allowed: none, instance, layer"
            )


class Critic(nn.Module):
    """Seven convolutions: four halve the resolution; the last three scales get one more each.

    The outputs at those three scales are pooled globally and concatenated; one linear layer follows. The
    paper has a "seven-layer CNN, with the outputs of three down-samplings pooled globally". One further
    layer for each pooled scale is our interpretation: it uses all seven layers.
    """

    def __init__(self, settings: CriticSettings, channels: int = 1) -> None:
        super().__init__()
        first, *pooled = settings.channels
        self.stem = _layer(channels, first, 2, "none")  # no norm: it would remove the slice's own grey level
        widths = [first, *pooled]
        self.downs = nn.ModuleList(_layer(fine, coarse, 2, settings.norm) for fine, coarse in pairwise(widths))
        self.scales = nn.ModuleList(_layer(width, width, 1, settings.norm) for width in pooled)
        self.score = nn.Linear(sum(pooled), 1)

    def forward(self, image: Tensor) -> Tensor:
        """Rate a batch of images (B, C, H, W); (B,), higher is more like a normal slice, unbounded."""
        features, pooled = self.stem(image), []
        for down, scale in zip(self.downs, self.scales, strict=True):
            features = down(features)
            pooled.append(scale(features).mean(dim=(2, 3)))
        rating: Tensor = self.score(torch.cat(pooled, dim=1))
        return rating.squeeze(1)


def _layer(inputs: int, outputs: int, stride: int, norm: str) -> nn.Sequential:
    kernel, padding = (4, 1) if stride == 2 else (3, 1)
    norms: dict[str, list[nn.Module]] = {
        "none": [],
        "instance": [nn.InstanceNorm2d(outputs, affine=True)],
        "layer": [nn.GroupNorm(1, outputs)],
    }
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding), *norms[norm], nn.LeakyReLU(0.2, inplace=True)
    )


class PatchCriticSettings(Settings, frozen=True):
    """Width of a critic of patches."""

    channels: tuple[Width, Width, Width] = (32, 32, 64)
    """Features after each convolution; the first two halve the resolution."""


class PatchCritic(nn.Module):
    """Four convolutions, of which the first two halve the resolution: a rating for each 4 x 4 pixels.

    A rating depends on 26 x 26 pixels only, so that little of the lungs' outline can decide it.
    """

    STRIDE = 4

    def __init__(self, settings: PatchCriticSettings, channels: int = 1) -> None:
        super().__init__()
        first, second, third = settings.channels
        self.layers = nn.Sequential(
            _layer(channels + 1, first, 2, "none"),
            _layer(first, second, 2, "none"),
            _layer(second, third, 1, "none"),
            nn.Conv2d(third, 1, 3, padding=1),
        )

    def forward(self, images: Tensor, lungs: Tensor) -> Tensor:
        """Rate the patches of images (B, C, H, W) with lungs (B, 1, H, W); (B, 1, H / 4, W / 4), unbounded logits."""
        ratings: Tensor = self.layers(torch.cat([images * lungs, lungs], dim=1))
        return ratings

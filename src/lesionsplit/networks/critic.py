"""The critic D: how much a slice looks like one of the normal slices (section 3.1)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.errors import SettingsError
from lesionsplit.settings import Settings

Width = Annotated[int, Meta(ge=1)]


class CriticSettings(Settings, frozen=True):
    """Width and normalisation of the critic."""

    channels: tuple[Width, Width, Width, Width] = (64, 128, 256, 512)
    """Features after each of the four down-sampling convolutions."""

    norm: Literal["none", "instance", "layer", "batch"] = "none"
    """``batch`` is what the authors' code has; it is refused, see `__post_init__`."""

    def __post_init__(self) -> None:
        if self.norm == "batch":
            raise SettingsError(
                "critic.norm: batch normalisation ties the slices of a batch together, so the gradient penalty, "
                "which is per slice, no longer means what it should (Gulrajani et al. 2017, section 4); "
                "allowed: none, instance, layer"
            )


class Critic(nn.Module):
    """Seven convolutions: four halve the resolution; the last three scales get one more each.

    The outputs at those three scales are pooled globally, concatenated, and weighed by one linear
    layer. (The paper says "seven-layer CNN, with the outputs of three down-samplings pooled
    globally"; giving each pooled scale one of the three remaining layers is our reading of it, and
    leaves no layer without use.)
    """

    def __init__(self, settings: CriticSettings) -> None:
        super().__init__()
        first, *pooled = settings.channels
        self.stem = _layer(1, first, 2, "none")  # no norm here: it would hide the slice's own grey level
        widths = [first, *pooled]
        self.downs = nn.ModuleList(_layer(fine, coarse, 2, settings.norm) for fine, coarse in pairwise(widths))
        self.scales = nn.ModuleList(_layer(width, width, 1, settings.norm) for width in pooled)
        self.score = nn.Linear(sum(pooled), 1)

    def forward(self, image: Tensor) -> Tensor:
        """Rate a batch of images (B, 1, H, W); (B,), higher is more like a normal slice, unbounded."""
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

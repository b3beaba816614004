"""The noise of the diffusion model, and a small U-Net that separates slice and noise, given level and label.

Levels of noise are from 0, no noise, to 1, pure noise: the cosine schedule of Nichol and Dhariwal (2021) without its
offset, in continuous time.
"""

from __future__ import annotations

import math
from enum import IntEnum
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.errors import SettingsError
from lesionsplit.networks.unet import Channels, UNetSettings

GROUPS = 8
"""Groups of the group norm; fewer where this does not divide the features."""

FINEST = 1000.0
"""Highest frequency of the level's embedding: the usual number of diffusion steps."""


class Parts(NamedTuple):
    """The denoiser's estimate of the parts of a noisy slice; (B, 1, H, W) each."""

    clean: Tensor
    noise: Tensor


def strengths(level: Tensor | float) -> tuple[Tensor, Tensor]:
    """Weights of slice and noise at a level, (...): cosine and sine, whose squares add up to 1."""
    angle = torch.as_tensor(level) * (math.pi / 2)
    return angle.cos(), angle.sin()


def noised(clean: Tensor, noise: Tensor, level: Tensor | float) -> Tensor:
    """A sample of q(x_t | x_0) (Ho et al. 2020, eq. 4), the level (B, 1, 1, 1) or one for all; like ``clean``."""
    signal, sigma = strengths(level)
    return signal * clean + sigma * noise


def clean_and_noise(noisy: Tensor, v: Tensor, level: Tensor | float) -> Parts:
    """Slice and noise from v = signal * noise - sigma * slice: the inverse of the rotation in `noised`."""
    signal, sigma = strengths(level)
    return Parts(signal * noisy - sigma * v, sigma * noisy + signal * v)


def coloured(white: Tensor, colour: float) -> Tensor:
    """White noise, (..., H, W), of variance 1, coloured: its amplitude is proportional to frequency**-colour.

    The variance stays 1. With a colour of 1, each octave has the same power, so that large structures are hidden
    at the same level as small ones.
    """
    if colour == 0:
        return white
    height, width = white.shape[-2:]
    down, right = torch.fft.fftfreq(height, device=white.device), torch.fft.fftfreq(width, device=white.device)
    frequency = (down[:, None].square() + right.square()).sqrt()
    frequency[0, 0] = 1 / max(height, width)  # the mean has no frequency; it gets the lowest one
    gain = frequency**-colour
    gain = gain / gain.square().mean().sqrt()
    noise: Tensor = torch.fft.ifft2(torch.fft.fft2(white) * gain).real
    return noise


class Condition(IntEnum):
    """The label of a slice, as the network's input."""

    NONE = 0
    NORMAL = 1
    LESION = 2
    HEALED = 3
    """A slice with lesion, made healthy by a network; for a denoiser that serves as its critic."""


class DenoiserSettings(UNetSettings, frozen=True):
    """Width and depth; ``channels`` are relative to the inner resolution, see ``patch``."""

    channels: Channels = (32, 48, 64, 64)

    patch: Literal[1, 2, 4] = 2
    """The inner resolution is that of the canvas divided by this: a patch of so many by so many pixels becomes the
    features of one position, and back. 1 takes three times as long, and lesions are not that fine."""

    embedding: Annotated[int, Meta(ge=4, le=4096, multiple_of=2)] = 64
    """Length of the embedding of level and condition."""

    @property
    def stride(self) -> int:
        """Sides of the canvas must be multiples of it."""
        return int(self.patch) * super().stride


class Denoiser(nn.Module):
    """Predicts v (Salimans and Ho 2022, appendix D) of noisy slices; see `forward`.

    Level and condition set a scale and a shift of the features in every block. Group norm keeps the slices of
    a batch independent.
    """

    def __init__(self, settings: DenoiserSettings, outputs: int = 1, *, conditions: int = 3, channels: int = 1) -> None:
        """See the class.

        Args:
            settings: width and depth.
            outputs: number of output images, by default one for v.
            conditions: how many of `Condition` it knows.
            channels: of the slices.
        """
        super().__init__()
        widths, embedding = settings.channels, settings.embedding
        coarse_to_fine = list(reversed(widths))
        self.stride = settings.stride
        self.patch = int(settings.patch)
        self.level = nn.Sequential(nn.Linear(embedding, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.condition = nn.Embedding(conditions, embedding)
        self.stem = nn.Conv2d((channels + 1) * self.patch**2, widths[0], kernel_size=3, padding=1)
        self.falling = nn.ModuleList(Block(fine, fine, embedding) for fine in widths)
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2, stride=2) for coarse, fine in pairwise(coarse_to_fine)
        )
        self.rising = nn.ModuleList(Block(2 * fine, fine, embedding) for fine in coarse_to_fine[1:])
        self.norm = group_norm(widths[0])
        self.head = nn.Conv2d(widths[0], outputs * self.patch**2, kernel_size=3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]  # our head has one

    def forward(self, noisy: Tensor, lungs: Tensor, level: Tensor, condition: Tensor) -> Tensor:
        """v, from which slice and noise follow, (B, outputs, H, W).

        Args:
            noisy: (B, C, H, W); pixels outside the lungs are ignored.
            lungs: (B, 1, H, W), 1 inside, 0 outside.
            level: (B,), of the noise, 0 to 1.
            condition: (B,), int64, a `Condition` each.

        Raises:
            SettingsError: H or W is not a multiple of its stride.
        """
        features, _, _ = self._features(noisy, lungs, level, condition)
        return self._images(features)

    def _features(
        self, noisy: Tensor, lungs: Tensor, level: Tensor, condition: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The features that the last layer reads, the patches of the input, both (B, C, h, w), and the embedding."""
        self._check(noisy)
        embedded = F.silu(self.level(waves(level, self.condition.embedding_dim)) + self.condition(condition))
        patches = F.pixel_unshuffle(torch.cat([noisy * lungs, lungs], dim=1), self.patch)
        features = self.stem(patches.contiguous(memory_format=torch.channels_last))
        skips: list[Tensor] = []
        for place, block in enumerate(self.falling):
            features = block(self.downs[place - 1](features) if place else features, embedded)
            skips.append(features)
        for up, block, skip in zip(self.ups, self.rising, reversed(skips[:-1]), strict=True):
            features = block(torch.cat([skip, up(features)], dim=1), embedded)
        return features, patches, embedded

    def _images(self, features: Tensor) -> Tensor:
        output: Tensor = F.pixel_shuffle(self.head(F.silu(self.norm(features))), self.patch)
        return output

    def start_from(self, value: float) -> None:
        """Make the first output image of the untrained network ``value`` everywhere, instead of 0."""
        pixels = self.patch**2  # features of the last layer that become that image
        nn.init.constant_(self.head.bias[:pixels], value)  # type: ignore[index]  # our head has one

    def _check(self, image: Tensor) -> None:
        height, width = image.shape[-2:]
        if height % self.stride or width % self.stride:
            raise SettingsError(
                f"placement: the network's input is {height} x {width} pixels; with {len(self.falling)} levels and a "
                f"patch of {self.patch} both sides must be multiples of {self.stride}"
            )


def apply_without_noise(network: nn.Module, images: Tensor, lungs: Tensor) -> Tensor:
    """The output of a denoiser for slices at noise level 0, (B, outputs, H, W); it must be trained for that.

    Args:
        network: a `Denoiser`.
        images: (B, C, H, W), in units of the denoiser.
        lungs: (B, 1, H, W), 1 inside, 0 outside.
    """
    count, device = images.shape[0], images.device  # not len(), which is a constant in an exported graph
    level = torch.zeros(count, device=device)
    condition = torch.full((count,), int(Condition.LESION), device=device)
    output: Tensor = network(images, lungs, level, condition)
    return output


class Block(nn.Module):
    """Two 3 x 3 convolutions with a shortcut; the embedding of level and condition scales and shifts the features."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.first_norm, self.second_norm = group_norm(inputs), group_norm(outputs)
        self.first = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, kernel_size=1) if inputs != outputs else nn.Identity()

    def forward(self, features: Tensor, embedded: Tensor) -> Tensor:
        """(B, inputs, H, W) and (B, embedding) to (B, outputs, H, W)."""
        scale, shift = self.modulation(embedded)[:, :, None, None].chunk(2, dim=1)
        inner = self.second_norm(self.first(F.silu(self.first_norm(features)))) * (1 + scale) + shift
        output: Tensor = self.shortcut(features) + self.second(F.silu(inner))
        return output


def waves(level: Tensor, count: int) -> Tensor:
    """Levels, (B,), as sines and cosines of ``count`` / 2 frequencies, 1 to `FINEST`, (B, count)."""
    rates = torch.exp(torch.linspace(0, math.log(FINEST), count // 2, device=level.device))
    angles = level[:, None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def group_norm(width: int) -> nn.GroupNorm:
    """A group norm of `GROUPS` groups, or of as many as divide the features."""
    return nn.GroupNorm(math.gcd(GROUPS, width), width)

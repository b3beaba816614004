"""A small U-Net that tells slice from noise, given how much noise and what is said of the slice; the noise itself.

Levels of noise run from 0, none, to 1, nothing else: the cosine schedule of Nichol and Dhariwal (2021) without its
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
from lesionsplit.networks.unet import stride_of
from lesionsplit.settings import Settings

Width = Annotated[int, Meta(ge=1)]

GROUPS = 8
"""Features that are normalised together are an eighth of all, or the next larger share that divides them."""

FINEST = 1000.0
"""Waves of the level's embedding between 0 and 1, at most: the steps that levels usually are counted in."""


class Parts(NamedTuple):
    """What a noisy slice is made of, as far as the denoiser can tell; (B, 1, H, W) each."""

    clean: Tensor
    noise: Tensor


def strengths(level: Tensor | float) -> tuple[Tensor, Tensor]:
    """Of slice and of noise at a level, (...): cos and sin of a quarter turn, so that their squares add up to 1."""
    angle = torch.as_tensor(level) * (math.pi / 2)
    return angle.cos(), angle.sin()


def noised(clean: Tensor, noise: Tensor, level: Tensor | float) -> Tensor:
    """A sample of q(x_t | x_0) (Ho et al. 2020, eq. 4), the level (B, 1, 1, 1) or one for all; like ``clean``."""
    signal, sigma = strengths(level)
    return signal * clean + sigma * noise


def taken_apart(noisy: Tensor, v: Tensor, level: Tensor | float) -> Parts:
    """Slice and noise from v = signal * noise - sigma * slice, whose like is turned a quarter from `noised`."""
    signal, sigma = strengths(level)
    return Parts(signal * noisy - sigma * v, sigma * noisy + signal * v)


def coloured(white: Tensor, colour: float) -> Tensor:
    """White noise, (..., H, W), of variance 1, as noise of variance 1 whose amplitude falls with frequency**-colour.

    With 1, each octave has the same power, so that what is large drowns as soon as what is small.
    """
    if colour == 0:
        return white
    height, width = white.shape[-2:]
    down, right = torch.fft.fftfreq(height, device=white.device), torch.fft.fftfreq(width, device=white.device)
    frequency = (down[:, None].square() + right.square()).sqrt()
    frequency[0, 0] = 1 / max(height, width)  # the mean has no frequency; it gets the lowest there is
    gain = frequency**-colour
    gain = gain / gain.square().mean().sqrt()
    noise: Tensor = torch.fft.ifft2(torch.fft.fft2(white) * gain).real
    return noise


class Condition(IntEnum):
    """What the network is told of a slice."""

    NONE = 0
    NORMAL = 1
    LESION = 2


class DenoiserSettings(Settings, frozen=True):
    """Width and depth."""

    channels: Annotated[tuple[Width, ...], Meta(min_length=2, max_length=7)] = (32, 48, 64, 64)
    """Features at 1, 1/2, 1/4 ... of the inner resolution: their number is the depth of the U-Net."""

    patch: Literal[1, 2, 4] = 2
    """The inner resolution is the canvas' divided by this: so many by so many pixels enter, and leave, as features
    of one place. 1 costs three times as much and is finer than lesions are."""

    embedding: Annotated[int, Meta(ge=4, multiple_of=2)] = 64
    """Numbers that the level of noise and the condition are told in."""

    @property
    def stride(self) -> int:
        """Sides of the canvas must be multiples of it."""
        return int(self.patch) * stride_of(self.channels)


class Denoiser(nn.Module):
    """Predicts v (Salimans and Ho 2022, appendix D) of noisy slices; see `forward`.

    Every block is told the level of noise and the condition by a scale and a shift of its features. Group
    norm, so that a slice's answer is its own.
    """

    def __init__(self, settings: DenoiserSettings, outputs: int = 1) -> None:
        """``outputs``: images that it draws; one for v."""
        super().__init__()
        channels, told = settings.channels, settings.embedding
        coarse_to_fine = list(reversed(channels))
        self.stride = settings.stride
        self.patch = int(settings.patch)
        self.level = nn.Sequential(nn.Linear(told, told), nn.SiLU(), nn.Linear(told, told))
        self.condition = nn.Embedding(len(Condition), told)
        self.stem = nn.Conv2d(2 * self.patch**2, channels[0], kernel_size=3, padding=1)
        self.falling = nn.ModuleList(Block(fine, fine, told) for fine in channels)
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(channels))
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2, stride=2) for coarse, fine in pairwise(coarse_to_fine)
        )
        self.rising = nn.ModuleList(Block(2 * fine, fine, told) for fine in coarse_to_fine[1:])
        self.norm = _norm(channels[0])
        self.head = nn.Conv2d(channels[0], outputs * self.patch**2, kernel_size=3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]  # our head has one

    def forward(self, noisy: Tensor, lungs: Tensor, level: Tensor, condition: Tensor) -> Tensor:
        """What separates slice and noise, v, (B, outputs, H, W).

        Args:
            noisy: (B, 1, H, W); what lies outside the lungs is not looked at.
            lungs: (B, 1, H, W), 1 inside, 0 outside.
            level: (B,), how much noise there is, 0 to 1.
            condition: (B,), int64, a `Condition` each.

        Raises:
            SettingsError: H or W is not a multiple of its stride.
        """
        self._check(noisy)
        told = F.silu(self.level(waves(level, self.condition.embedding_dim)) + self.condition(condition))
        seen = F.pixel_unshuffle(torch.cat([noisy * lungs, lungs], dim=1), self.patch)
        features = self.stem(seen.contiguous(memory_format=torch.channels_last))
        skips: list[Tensor] = []
        for place, block in enumerate(self.falling):
            features = block(self.downs[place - 1](features) if place else features, told)
            skips.append(features)
        for up, block, skip in zip(self.ups, self.rising, reversed(skips[:-1]), strict=True):
            features = block(torch.cat([skip, up(features)], dim=1), told)
        drawn: Tensor = F.pixel_shuffle(self.head(F.silu(self.norm(features))), self.patch)
        return drawn

    def expect(self, value: float) -> None:
        """Let the untrained network answer ``value`` all over the first image that it draws, instead of 0."""
        pixels = self.patch**2  # features of the last layer that become that image
        nn.init.constant_(self.head.bias[:pixels], value)  # type: ignore[index]  # our head has one

    def _check(self, image: Tensor) -> None:
        height, width = image.shape[-2:]
        if height % self.stride or width % self.stride:
            raise SettingsError(
                f"placement: the network is given {height} x {width} pixels; with {len(self.falling)} levels and a "
                f"patch of {self.patch} both sides must be multiples of {self.stride}"
            )


def seen_clean(network: nn.Module, images: Tensor, lungs: Tensor) -> Tensor:
    """What a denoiser, trained to do so, says of slices as they are, (B, outputs, H, W): all noise is told to be gone.

    Args:
        network: a `Denoiser`.
        images: (B, 1, H, W), on the denoiser's scale.
        lungs: (B, 1, H, W), 1 inside, 0 outside.
    """
    count, device = images.shape[0], images.device  # and not len(), which an exported graph would take for a constant
    level = torch.zeros(count, device=device)
    condition = torch.full((count,), int(Condition.LESION), device=device)
    said: Tensor = network(images, lungs, level, condition)
    return said


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, their features scaled and shifted by what the network is told."""

    def __init__(self, inputs: int, outputs: int, told: int) -> None:
        super().__init__()
        self.first_norm, self.second_norm = _norm(inputs), _norm(outputs)
        self.first = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1)
        self.told = nn.Linear(told, 2 * outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, kernel_size=1) if inputs != outputs else nn.Identity()

    def forward(self, features: Tensor, told: Tensor) -> Tensor:
        """(B, inputs, H, W) and what is told, (B, embedding), to (B, outputs, H, W)."""
        scale, shift = self.told(told)[:, :, None, None].chunk(2, dim=1)
        inner = self.second_norm(self.first(F.silu(self.first_norm(features)))) * (1 + scale) + shift
        changed: Tensor = self.shortcut(features) + self.second(F.silu(inner))
        return changed


def waves(level: Tensor, count: int) -> Tensor:
    """Levels, (B,), as sines and cosines of ``count`` / 2 frequencies, 1 to `FINEST`, (B, count)."""
    rates = torch.exp(torch.linspace(0, math.log(FINEST), count // 2, device=level.device))
    angles = level[:, None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(GROUPS, width), width)

"""A decomposition that holds exactly: what a lesion adds is taken off the slice, and nothing else."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.networks.unet import Decoder, Encoder, Norm, check_stride
from lesionsplit.settings import Settings

Width = Annotated[int, Meta(ge=1)]

Odd = Literal[3, 5, 7, 9, 11, 13, 15]

AT_FIRST = -3.0
"""What the untrained network answers where it is asked for a lesion: a chance of 5 %."""


class AdditiveSettings(Settings, frozen=True):
    """Width and depth."""

    channels: Annotated[tuple[Width, ...], Meta(min_length=2, max_length=7)] = (12, 24, 48, 64, 64)
    """Features at 1, 1/2, 1/4 ... of the resolution: their number is the depth of the U-Net."""

    norm: Norm = "none"
    """Normalisation after each convolution."""

    openings: tuple[Odd, ...] = (5, 9)
    """Sizes, in pixels, of the grey openings that the network is shown beside the slice: what is left
    of it when all that is narrower, most vessels, is taken away. Finding that out by itself takes a
    network half of a short training."""


class Additive(NamedTuple):
    """What the network says of slices; (B, 1, H, W) each."""

    logit: Tensor
    """Of the chance that a pixel is lesion."""

    added: Tensor
    """G2, what the lesion adds to the healthy slice, in network grey; below 0 in training only, see `lesion`."""

    @property
    def lesion(self) -> Tensor:
        """G2 as it is read: never negative."""
        return self.added.clip(min=0)

    @property
    def chance(self) -> Tensor:
        """m, the chance that a pixel is lesion, 0 to 1."""
        return self.logit.sigmoid()


class AdditiveNet(nn.Module):
    """One encoder and one decoder with two outputs: where a lesion is (m), and what it adds (G2).

    A lesion is denser than lung, so G2 is read as max(G2, 0). The healthy version is x less that, so that x = G1 + G2
    (eq. 1) holds by construction and needs no loss.
    """

    usual: Tensor
    """Logit that is seldom passed in normal lung, kept with the weights: the zero of the score.
    Whoever trains the network sets it; 0 until then."""

    def __init__(self, settings: AdditiveSettings) -> None:
        super().__init__()
        self.openings = settings.openings
        self.encoder = Encoder(settings.channels, settings.norm, inputs=1 + len(settings.openings))
        self.decoder = Decoder(settings.channels, settings.norm, outputs=2)
        self.register_buffer("usual", torch.zeros(()))
        self.decoder.silence()
        nn.init.constant_(self.decoder.head.bias[:1], AT_FIRST)  # type: ignore[index]  # our head has one

    def forward(self, image: Tensor) -> Additive:
        """Read a batch of images, (B, 1, H, W), in network grey.

        Raises:
            SettingsError: H or W is not a multiple of the encoder's stride.
        """
        check_stride(image, self.encoder)
        seen = torch.cat([image, *(opening(image, size) for size in self.openings)], dim=1)
        seen = seen.contiguous(memory_format=torch.channels_last)
        logit, added = self.decoder(self.encoder(seen)).chunk(2, dim=1)
        return Additive(logit, added)

    def both_ways(self, image: Tensor) -> Additive:
        """The mean of what it says of images and of their mirror images: neither side of the chest comes first."""
        here, there = self(image), self(image.flip(3))
        return Additive((here.logit + there.logit.flip(3)) / 2, (here.lesion + there.lesion.flip(3)) / 2)


def opening(image: Tensor, size: int) -> Tensor:
    """Grey opening of (B, 1, H, W) by a square of an odd ``size``: the lowest, then the highest, about each pixel."""
    return _highest(-_highest(-image, size), size)


def _highest(image: Tensor, size: int) -> Tensor:
    rows = F.max_pool2d(image, (size, 1), 1, (size // 2, 0))
    return F.max_pool2d(rows, (1, size), 1, (0, size // 2))

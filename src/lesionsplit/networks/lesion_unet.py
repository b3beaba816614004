"""A U-Net that predicts where a lesion is and what it adds; slice minus lesion is exactly the healthy version."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.networks.unet import Channels, Decoder, Encoder, Norm, UNetSettings

Odd = Literal[3, 5, 7, 9, 11, 13, 15]

INITIAL_LOGIT = -3.0
"""Logit of the untrained network, a lesion probability of 5 %."""


class LesionUNetSettings(UNetSettings, frozen=True):
    """Width, depth and inputs."""

    channels: Channels = (12, 24, 48, 64, 64)

    norm: Norm = "none"
    """Normalisation after each convolution."""

    openings: Annotated[tuple[Odd, ...], Meta(max_length=7)] = (5, 9)
    """Sizes, in pixels, of the grey openings that are further inputs beside the slice. An opening removes
    everything bright that is narrower, such as most vessels; a network needs half of a short training to
    learn this by itself."""


class LesionOutput(NamedTuple):
    """The network's output for slices; (B, 1, H, W) each."""

    logit: Tensor
    """Of the probability that a pixel is lesion."""

    added: Tensor
    """G2, what the lesion adds to the healthy slice, in network grey; can be negative, see `lesion`."""

    @property
    def lesion(self) -> Tensor:
        """G2 without its negative values: lesions are denser than lung."""
        return self.added.clip(min=0)

    @property
    def probability(self) -> Tensor:
        """m, the probability that a pixel is lesion, 0 to 1."""
        return self.logit.sigmoid()


class LesionUNet(nn.Module):
    """One encoder and one decoder with two outputs: where a lesion is (m), and what it adds (G2).

    The healthy version is x - max(G2, 0), so that x = G1 + G2 (eq. 1) holds by construction and needs no loss.
    """

    logit_offset: Tensor
    """The logit that normal lung seldom exceeds, stored with the weights. It is the zero of the score; 0 until
    training sets it."""

    def __init__(self, settings: LesionUNetSettings) -> None:
        super().__init__()
        self.openings = settings.openings
        self.encoder = Encoder(settings.channels, settings.norm, inputs=1 + len(settings.openings))
        self.decoder = Decoder(settings.channels, settings.norm, outputs=2)
        self.register_buffer("logit_offset", torch.zeros(()))
        self.decoder.start_from_zero()
        nn.init.constant_(self.decoder.head.bias[:1], INITIAL_LOGIT)  # type: ignore[index]  # our head has one

    def forward(self, image: Tensor) -> LesionOutput:
        """Find lesions in a batch of images, (B, 1, H, W), in network grey.

        Raises:
            SettingsError: H or W is not a multiple of the encoder's stride.
        """
        inputs = torch.cat([image, *(opening(image, size) for size in self.openings)], dim=1)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        logit, added = self.decoder(self.encoder(inputs)).chunk(2, dim=1)
        return LesionOutput(logit, added)

    def with_mirror(self, image: Tensor) -> LesionOutput:
        """The mean of the outputs for images and for their mirror images; ``added`` is not negative."""
        direct, mirrored = self(image), self(image.flip(3))
        return LesionOutput((direct.logit + mirrored.logit.flip(3)) / 2, (direct.lesion + mirrored.lesion.flip(3)) / 2)


def opening(image: Tensor, size: int) -> Tensor:
    """Grey opening of (B, 1, H, W) by a square of an odd ``size``: minimum filter, then maximum filter."""
    return _maximum(-_maximum(-image, size), size)


def _maximum(image: Tensor, size: int) -> Tensor:
    rows = F.max_pool2d(image, (size, 1), 1, (size // 2, 0))
    return F.max_pool2d(rows, (1, size), 1, (0, size // 2))

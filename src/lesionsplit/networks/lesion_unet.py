"""A U-Net that predicts where a lesion is and what it adds; slice minus lesion is exactly the healthy version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.data.normalise import SPREAD
from lesionsplit.networks.denoiser import Denoiser, DenoiserSettings, apply_without_noise
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

    backbone: Literal["plain", "residual"] = "plain"
    """``plain``: encoder and decoder. ``residual``: the U-Net of `diffusion`, which is normalised, and so learns the
    patterns of textures; ``channels`` are then those of half the resolution."""

    @property
    def stride(self) -> int:
        """Sides of the canvas must be multiples of it."""
        return self.denoiser.stride if self.backbone == "residual" else super().stride

    @property
    def denoiser(self) -> DenoiserSettings:
        """Those of a residual backbone."""
        return DenoiserSettings(channels=self.channels)


class LesionOutput(NamedTuple):
    """The network's output for slices."""

    logit: Tensor
    """(B, 1, H, W), of the probability that a pixel is lesion."""

    added: Tensor
    """(B, C, H, W), G2, what the lesion adds to the healthy slice, in network grey; can be negative."""

    @property
    def probability(self) -> Tensor:
        """m, the probability that a pixel is lesion, 0 to 1."""
        return self.logit.sigmoid()


class LesionUNet(nn.Module):
    """One encoder and one decoder with two outputs: where a lesion is (m), and what it adds (G2).

    The healthy version is x - G2, of lungs x - max(G2, 0), so that x = G1 + G2 (eq. 1) holds by construction and needs
    no loss.
    """

    logit_offset: Tensor
    """The logit that normal lung seldom exceeds, stored with the weights. It is the zero of the score; 0 until
    training sets it."""

    def __init__(self, settings: LesionUNetSettings, channels: int = 1) -> None:
        super().__init__()
        self.openings = settings.openings
        inputs = channels * (1 + len(settings.openings))
        self.register_buffer("logit_offset", torch.zeros(()))
        self.denoiser: Denoiser | None = None
        if settings.backbone == "residual":
            self.denoiser = Denoiser(settings.denoiser, 1 + channels, channels=inputs)
            self.denoiser.start_from(INITIAL_LOGIT)
            return
        self.encoder = Encoder(settings.channels, settings.norm, inputs=inputs)
        self.decoder = Decoder(settings.channels, settings.norm, outputs=1 + channels)
        self.decoder.start_from_zero()
        nn.init.constant_(self.decoder.head.bias[:1], INITIAL_LOGIT)  # type: ignore[index]  # our head has one

    def forward(self, image: Tensor) -> LesionOutput:
        """Find lesions in a batch of images, (B, C, H, W), in network grey.

        Raises:
            SettingsError: H or W is not a multiple of the encoder's stride.
        """
        inputs = torch.cat([image, *(opening(image, size) for size in self.openings)], dim=1)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        if self.denoiser is not None:
            region = (image.amax(dim=1, keepdim=True) > -1).to(image.dtype)
            output = apply_without_noise(self.denoiser, inputs * SPREAD, region)
        else:
            output = self.decoder(self.encoder(inputs))
        return LesionOutput(output[:, :1], output[:, 1:])

    def with_mirror(self, image: Tensor, lesion_part: Callable[[Tensor], Tensor]) -> LesionOutput:
        """The mean of the outputs for images and their mirror images, of ``added`` the part that a lesion can have."""
        direct, mirrored = self(image), self(image.flip(3))
        return LesionOutput(
            (direct.logit + mirrored.logit.flip(3)) / 2,
            (lesion_part(direct.added) + lesion_part(mirrored.added).flip(3)) / 2,
        )


def opening(image: Tensor, size: int) -> Tensor:
    """Grey opening of (B, C, H, W) by a square of an odd ``size``: minimum filter, then maximum filter."""
    return _maximum(-_maximum(-image, size), size)


def _maximum(image: Tensor, size: int) -> Tensor:
    rows = F.max_pool2d(image, (size, 1), 1, (size // 2, 0))
    return F.max_pool2d(rows, (1, size), 1, (0, size // 2))

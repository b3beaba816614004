"""Encoder and decoder of a U-Net (Ronneberger et al. 2015), apart, so that one encoder can serve two decoders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.errors import SettingsError
from lesionsplit.settings import Settings, Width

Norm = Literal["batch", "instance", "none"]
Channels = Annotated[tuple[Width, ...], Meta(min_length=2, max_length=7)]


class UNetSettings(Settings, frozen=True):
    """Width and depth of a U-Net."""

    channels: Channels = (64, 128, 256, 512, 1024)
    """Features at 1, 1/2, 1/4 ... of the resolution; their number is the depth of the U-Net."""

    @property
    def stride(self) -> int:
        """Both sides of a slice must be multiples of it."""
        return stride_of(self.channels)


class ConvBlock(nn.Sequential):
    """Two 3 x 3 convolutions, each normalised and rectified; (B, inputs, H, W) to (B, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__(*_conv(inputs, outputs, norm), *_conv(outputs, outputs, norm))


class Encoder(nn.Module):
    """Computes features at halving resolutions; ``channels[i]`` features at 1 / 2**i of the image's.

    A strided convolution halves the resolution, as in the authors' code; section 2.2 does not specify it.
    """

    def __init__(self, channels: Sequence[int], norm: Norm, inputs: int = 1) -> None:
        super().__init__()
        self.stride = stride_of(channels)
        self.blocks = nn.ModuleList(ConvBlock(fine, coarse, norm) for fine, coarse in pairwise([inputs, *channels]))
        self.downs = nn.ModuleList(nn.Conv2d(width, width, kernel_size=2, stride=2) for width in channels[:-1])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of (B, inputs, H, W) from fine to coarse.

        Raises:
            SettingsError: H or W is not a multiple of ``stride``.
        """
        height, width = image.shape[-2:]
        if height % self.stride or width % self.stride:
            raise SettingsError(
                f"placement: the network's input is {height} x {width} pixels; with {len(self.blocks)} levels both "
                f"sides must be multiples of {self.stride}"
            )
        features = [self.blocks[0](image)]
        for down, block in zip(self.downs, self.blocks[1:], strict=True):
            features.append(block(down(features[-1])))
        return features


class Decoder(nn.Module):
    """Computes ``outputs`` images, unbounded, from an encoder's features."""

    def __init__(self, channels: Sequence[int], norm: Norm, outputs: int = 1) -> None:
        super().__init__()
        coarse_to_fine = list(reversed(channels))
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, kernel_size=2, stride=2) for coarse, fine in pairwise(coarse_to_fine)
        )
        self.blocks = nn.ModuleList(ConvBlock(2 * fine, fine, norm) for fine in coarse_to_fine[1:])
        self.head = nn.Conv2d(channels[0], outputs, kernel_size=1)

    def start_from_zero(self) -> None:
        """Make the output of the untrained decoder zero."""
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]  # our head has one

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features from fine to coarse, as `Encoder` returns them, to (B, outputs, H, W)."""
        *skips, image = features
        for up, block, skip in zip(self.ups, self.blocks, reversed(skips), strict=True):
            image = block(torch.cat([skip, up(image)], dim=1))
        output: Tensor = self.head(image)
        return output


def stride_of(channels: Sequence[int]) -> int:
    """Pixels of the finest features per pixel of the coarsest, along each side."""
    stride: int = 2 ** (len(channels) - 1)
    return stride


def _conv(inputs: int, outputs: int, norm: Norm) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=norm == "none")
    norms: dict[Norm, list[nn.Module]] = {
        "batch": [nn.BatchNorm2d(outputs)],
        "instance": [nn.InstanceNorm2d(outputs, affine=True)],
        "none": [],
    }
    return [conv, *norms[norm], nn.ReLU(inplace=True)]

"""The two halves of a U-Net (Ronneberger et al. 2015), so that one encoder can serve two decoders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from lesionsplit.errors import SettingsError

Norm = Literal["batch", "instance", "none"]


class ConvBlock(nn.Sequential):
    """Two 3 x 3 convolutions, each normalised and rectified; (B, inputs, H, W) to (B, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__(*_conv(inputs, outputs, norm), *_conv(outputs, outputs, norm))


class Encoder(nn.Module):
    """Reads an image at halving resolutions; ``channels[i]`` features at 1 / 2**i of it.

    Resolution is halved by a strided convolution, not by pooling (section 2.2 leaves it open; the
    authors' code does the same).
    """

    def __init__(self, channels: Sequence[int], norm: Norm, inputs: int = 1) -> None:
        super().__init__()
        self.stride = stride_of(channels)
        self.blocks = nn.ModuleList(ConvBlock(fine, coarse, norm) for fine, coarse in pairwise([inputs, *channels]))
        self.downs = nn.ModuleList(nn.Conv2d(width, width, kernel_size=2, stride=2) for width in channels[:-1])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of (B, inputs, H, W) from fine to coarse; H and W are multiples of ``stride``."""
        features = [self.blocks[0](image)]
        for down, block in zip(self.downs, self.blocks[1:], strict=True):
            features.append(block(down(features[-1])))
        return features


class Decoder(nn.Module):
    """Draws ``outputs`` images, unbounded, from an encoder's features."""

    def __init__(self, channels: Sequence[int], norm: Norm, outputs: int = 1) -> None:
        super().__init__()
        coarse_to_fine = list(reversed(channels))
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, kernel_size=2, stride=2) for coarse, fine in pairwise(coarse_to_fine)
        )
        self.blocks = nn.ModuleList(ConvBlock(2 * fine, fine, norm) for fine in coarse_to_fine[1:])
        self.head = nn.Conv2d(channels[0], outputs, kernel_size=1)

    def silence(self) -> None:
        """Have it draw zeros until it is trained."""
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]  # our head has one

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features from fine to coarse, as `Encoder` returns them, to (B, outputs, H, W)."""
        *skips, image = features
        for up, block, skip in zip(self.ups, self.blocks, reversed(skips), strict=True):
            image = block(torch.cat([skip, up(image)], dim=1))
        drawn: Tensor = self.head(image)
        return drawn


def stride_of(channels: Sequence[int]) -> int:
    """Pixels of the finest features for one of the coarsest, along each side."""
    stride: int = 2 ** (len(channels) - 1)
    return stride


def check_stride(image: Tensor, encoder: Encoder) -> None:
    """Refuse images, (B, C, H, W), that cannot be halved as often as an encoder does.

    Raises:
        SettingsError: H or W is not a multiple of its stride.
    """
    height, width = image.shape[-2:]
    if height % encoder.stride or width % encoder.stride:
        raise SettingsError(
            f"placement: the network is given {height} x {width} pixels; with {len(encoder.blocks)} levels both "
            f"sides must be multiples of {encoder.stride}"
        )


def _conv(inputs: int, outputs: int, norm: Norm) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=norm == "none")
    norms: dict[Norm, list[nn.Module]] = {
        "batch": [nn.BatchNorm2d(outputs)],
        "instance": [nn.InstanceNorm2d(outputs, affine=True)],
        "none": [],
    }
    return [conv, *norms[norm], nn.ReLU(inplace=True)]

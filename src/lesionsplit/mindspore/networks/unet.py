"""Encoder and decoder of a U-Net (Ronneberger et al. 2015), apart, so that one encoder can serve two decoders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mindspore import Tensor, nn, ops

from lesionsplit.mindspore.networks.norms import BatchNorm, GroupNorm
from lesionsplit.networks.unet import Norm


class ConvBlock(nn.SequentialCell):
    """Two 3 x 3 convolutions, each normalised and rectified; (B, inputs, H, W) to (B, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__(*_conv(inputs, outputs, norm), *_conv(outputs, outputs, norm))


class Encoder(nn.Cell):
    """Computes features at halving resolutions; ``channels[i]`` features at 1 / 2**i of the image's."""

    def __init__(self, channels: Sequence[int], norm: Norm, inputs: int = 1) -> None:
        super().__init__()
        self.blocks = nn.CellList([ConvBlock(fine, coarse, norm) for fine, coarse in pairwise([inputs, *channels])])
        self.downs = nn.CellList([halving(width, width) for width in channels[:-1]])

    def construct(self, image: Tensor) -> list[Tensor]:
        """Features of (B, inputs, H, W) from fine to coarse; H and W are multiples of the stride of the settings."""
        features = [self.blocks[0](image)]
        for level in range(len(self.downs)):
            features.append(self.blocks[level + 1](self.downs[level](features[-1])))
        return features


class Decoder(nn.Cell):
    """Computes ``outputs`` images, unbounded, from an encoder's features."""

    def __init__(self, channels: Sequence[int], norm: Norm, outputs: int = 1) -> None:
        super().__init__()
        coarse_to_fine = list(reversed(channels))
        self.ups = nn.CellList([doubling(coarse, fine) for coarse, fine in pairwise(coarse_to_fine)])
        self.blocks = nn.CellList([ConvBlock(2 * fine, fine, norm) for fine in coarse_to_fine[1:]])
        self.head = conv(channels[0], outputs, kernel=1)

    def construct(self, features: Sequence[Tensor]) -> Tensor:
        """Features from fine to coarse, as `Encoder` returns them, to (B, outputs, H, W)."""
        image = features[-1]
        for level in range(len(self.ups)):
            skip = features[len(self.ups) - 1 - level]
            image = self.blocks[level](ops.cat((skip, self.ups[level](image)), axis=1))
        return self.head(image)


def conv(inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int = 0, bias: bool = True) -> nn.Cell:
    """`torch.nn.Conv2d`."""
    return nn.Conv2d(inputs, outputs, kernel, stride, pad_mode="pad", padding=padding, has_bias=bias)


def halving(inputs: int, outputs: int) -> nn.Cell:
    """A strided convolution that halves the resolution."""
    return conv(inputs, outputs, kernel=2, stride=2)


def doubling(inputs: int, outputs: int) -> nn.Cell:
    """A transposed convolution that doubles the resolution."""
    return nn.Conv2dTranspose(inputs, outputs, 2, 2, pad_mode="pad", has_bias=True)


def _conv(inputs: int, outputs: int, norm: Norm) -> list[nn.Cell]:
    norms: dict[Norm, list[nn.Cell]] = {
        "batch": [BatchNorm(outputs)],
        "instance": [GroupNorm(outputs, outputs)],
        "none": [],
    }
    return [conv(inputs, outputs, kernel=3, padding=1, bias=norm == "none"), *norms[norm], nn.ReLU()]

"""ResNet-18 (He et al. 2016) for slices: predicts whether a whole slice has a lesion."""

from __future__ import annotations

from itertools import pairwise
from typing import Final, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from lesionsplit.networks.pointwise import StridedPointwiseConv
from lesionsplit.settings import Settings, Width

STAGES = 4
"""Each has two blocks and twice the features of the stage before."""

Stage = Literal[1, 2, 3, 4]

STRIDES: Final = {"imagenet": (1, 2, 2, 2), "fine": (1, 2, 2, 1)}
"""Of each stage, by stem."""


class ResNetSettings(Settings, frozen=True):
    """Width and resolution."""

    width: Width = 64
    """Features of the first stage; 64 in the paper."""

    stem: Literal["imagenet", "fine"] = "imagenet"
    """``imagenet``: a 7 x 7 convolution and a pooling, each halving the resolution, as in the paper; the
    last features are at 1/32 of the slice's resolution. ``fine``: one 3 x 3 convolution that halves it, and a
    last stage that does not, so 1/8, for canvases much smaller than the paper's 224 x 224."""

    @property
    def stride(self) -> int:
        """1: the canvas may have any size."""
        return 1


class ResNet(nn.Module):
    """Four stages of two residual blocks, the mean over pixels, one linear layer."""

    def __init__(self, settings: ResNetSettings, channels: int = 1) -> None:
        super().__init__()
        widths = [settings.width * 2**stage for stage in range(STAGES)]
        kernel = 7 if settings.stem == "imagenet" else 3
        layers = [*_conv(channels, widths[0], kernel, 2), nn.ReLU(inplace=True)]
        if settings.stem == "imagenet":
            layers.append(nn.MaxPool2d(3, 2, 1))
        self.stem = nn.Sequential(*layers)
        strides = STRIDES[settings.stem]
        self.stages = nn.ModuleList(
            nn.Sequential(Block(inputs, outputs, stride), Block(outputs, outputs, 1))
            for (inputs, outputs), stride in zip(pairwise([widths[0], *widths]), strides, strict=True)
        )
        self.head = nn.Linear(widths[-1], 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        """Logit, (B,), of the probability that a slice has a lesion, for slices (B, C, H, W) in network grey."""
        return self.classify(self.features(image))

    def features(self, image: Tensor, stage: Stage = 4) -> Tensor:
        """Features of slices (B, C, H, W) after a stage, (B, C, h, w), rectified."""
        features: Tensor = self.stem(image)
        for layers in self.stages[:stage]:
            features = layers(features)
        return features

    def classify(self, features: Tensor, stage: Stage = 4) -> Tensor:
        """The logit, (B,), from the features after a stage: the layers that `features` leaves out."""
        for layers in self.stages[stage:]:
            features = layers(features)
        logit: Tensor = self.head(features.mean(dim=(2, 3)))
        return logit.squeeze(1)


class Block(nn.Module):
    """Two 3 x 3 convolutions with a shortcut; (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_conv(inputs, outputs, 3, stride), nn.ReLU(inplace=True), *_conv(outputs, outputs, 3, 1)
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            conv = StridedPointwiseConv(inputs, outputs, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Rectified features."""
        return F.relu(self.layers(features) + self.shortcut(features))


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)]

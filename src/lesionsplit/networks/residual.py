"""ResNet-18 (He et al. 2016) for slices of one channel: says of a whole slice whether it has a lesion."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Final, Literal

import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.settings import Settings

STAGES = 4
"""Each has two blocks and, but for the first, twice the features of the one before."""

Stage = Literal[1, 2, 3, 4]

STRIDES: Final = {"imagenet": (1, 2, 2, 2), "fine": (1, 2, 2, 1)}
"""Of the stages, by stem."""


class ResNetSettings(Settings, frozen=True):
    """Width, and at how fine a scale it sees."""

    width: Annotated[int, Meta(ge=1)] = 64
    """Features of the first stage; 64 in the paper."""

    stem: Literal["imagenet", "fine"] = "imagenet"
    """``imagenet``: a 7 x 7 convolution and a pooling, each halving the resolution, as in the paper; the
    last features are at 1/32 of the slice's. ``fine``: one 3 x 3 convolution that halves it, and a last
    stage that does not: 1/8, for canvases that are a fraction of the paper's 224 x 224."""


class ResNet(nn.Module):
    """Four stages of two residual blocks, the mean over pixels, one linear layer."""

    def __init__(self, settings: ResNetSettings) -> None:
        super().__init__()
        widths = [settings.width * 2**stage for stage in range(STAGES)]
        kernel = 7 if settings.stem == "imagenet" else 3
        layers = [*_conv(1, widths[0], kernel, 2), nn.ReLU(inplace=True)]
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
        """Logit of the chance that a slice has a lesion, (B,), of slices (B, 1, H, W) in network grey."""
        return self.judge(self.look(image))

    def look(self, image: Tensor, stage: Stage = 4) -> Tensor:
        """Features of slices (B, 1, H, W) after a stage, (B, C, h, w), rectified."""
        features: Tensor = self.stem(image)
        for layers in self.stages[:stage]:
            features = layers(features)
        return features

    def judge(self, features: Tensor, stage: Stage = 4) -> Tensor:
        """The logit, (B,), of features after a stage; what `look` leaves to be done."""
        for layers in self.stages[stage:]:
            features = layers(features)
        logit: Tensor = self.head(features.mean(dim=(2, 3)))
        return logit.squeeze(1)


class Block(nn.Module):
    """Two 3 x 3 convolutions, what came in added; (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_conv(inputs, outputs, 3, stride), nn.ReLU(inplace=True), *_conv(outputs, outputs, 3, 1)
        )
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*_conv(inputs, outputs, 1, stride))

    def forward(self, features: Tensor) -> Tensor:
        """Rectified features."""
        return F.relu(self.layers(features) + self.shortcut(features))


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)]

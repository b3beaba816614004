"""The critic of the paper (section 3.1): how much a slice resembles the normal slices."""

from __future__ import annotations

from itertools import pairwise

from mindspore import Tensor, nn, ops

from lesionsplit.mindspore.networks.norms import GroupNorm
from lesionsplit.mindspore.networks.unet import conv
from lesionsplit.networks.critic import CriticSettings


class Critic(nn.Cell):
    """Seven convolutions: four halve the resolution; the last three scales get one more each.

    The outputs at those three scales are pooled globally and concatenated; one linear layer follows.
    """

    def __init__(self, settings: CriticSettings) -> None:
        super().__init__()
        first, *pooled = settings.channels
        self.stem = _layer(1, first, 2, "none")  # no norm: it would remove the slice's own grey level
        widths = [first, *pooled]
        self.downs = nn.CellList([_layer(fine, coarse, 2, settings.norm) for fine, coarse in pairwise(widths)])
        self.scales = nn.CellList([_layer(width, width, 1, settings.norm) for width in pooled])
        self.score = nn.Dense(sum(pooled), 1)

    def construct(self, image: Tensor) -> Tensor:
        """Rate a batch of images (B, 1, H, W); (B,), higher is more like a normal slice, unbounded."""
        features, pooled = self.stem(image), []
        for scale in range(len(self.downs)):
            features = self.downs[scale](features)
            pooled.append(self.scales[scale](features).mean(axis=(2, 3)))
        return self.score(ops.cat(pooled, axis=1)).squeeze(1)


class LeakyReLU(nn.Cell):
    """`torch.nn.LeakyReLU(0.2)` as a product, whose gradient is six times as fast as that of MindSpore's own."""

    def construct(self, features: Tensor) -> Tensor:
        """Features of the same shape."""
        positive = ops.cast(features > 0, features.dtype)
        return features * ops.stop_gradient(0.2 + 0.8 * positive)


def _layer(inputs: int, outputs: int, stride: int, norm: str) -> nn.SequentialCell:
    kernel = 4 if stride == 2 else 3
    norms: dict[str, list[nn.Cell]] = {
        "none": [],
        "instance": [GroupNorm(outputs, outputs)],
        "layer": [GroupNorm(1, outputs)],
    }
    return nn.SequentialCell(conv(inputs, outputs, kernel, stride=stride, padding=1), *norms[norm], LeakyReLU())

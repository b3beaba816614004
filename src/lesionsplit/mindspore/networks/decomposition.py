"""The paper's network (Figure 1): one encoder E, a decoder G1 for the healthy part, G2 for the lesion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from mindspore import Tensor, nn, ops

from lesionsplit.mindspore.networks.unet import Decoder, Encoder
from lesionsplit.networks.decomposition import NetworkSettings

Parts: TypeAlias = tuple[Tensor, Tensor]
"""Healthy part and lesion, (B, 1, H, W) each, in network grey, each in (-1, 1)."""


class DecompositionNet(nn.Cell):
    """Encodes a slice once and decodes it twice: as healthy lung, and as lesion."""

    def __init__(self, encoder: nn.Cell, decoders: Mapping[str, nn.Cell], start: Literal["random", "identity"]) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoders = nn.CellDict(dict(decoders))
        self.start = start

    @classmethod
    def build(cls, settings: NetworkSettings) -> DecompositionNet:
        """The network; its weights are those of a PyTorch twin or a file, see `tensors.load`."""
        channels, norm = settings.channels, settings.norm
        names = ["healthy", "lesion"] if settings.decoders == "separate" else ["both"]
        decoders = {name: Decoder(channels, norm, outputs=2 // len(names)) for name in names}
        return cls(Encoder(channels, norm), decoders, settings.start)

    def construct(self, image: Tensor) -> Parts:
        """Split a batch of images, (B, 1, H, W), in network grey."""
        features = self.encoder(image)
        parts = ops.tanh(ops.cat([decoder(features) for decoder in self.decoders.values()], axis=1))
        healthy, lesion = parts[:, :1], parts[:, 1:]
        if self.start == "identity":
            healthy = ops.clamp(image + healthy, -1, 1)
        return healthy, lesion

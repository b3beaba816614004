"""The paper's network (Figure 1): one encoder E, a decoder G1 for the healthy part, G2 for the lesion."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from lesionsplit.networks.unet import Decoder, Encoder, Norm, UNetSettings, check_stride


class NetworkSettings(UNetSettings, frozen=True):
    """Width, depth, and the choice in which the paper and its authors' code differ."""

    decoders: Literal["separate", "shared"] = "separate"
    """``separate``: G1 and G2 share no weights (the paper). ``shared``: they differ only in the last 1 x 1
    convolution (the authors' code, which appends one up-convolution module to both)."""

    start: Literal["random", "identity"] = "random"
    """``random``: G1 outputs the healthy version itself (the paper); most of a short training goes into
    learning to copy. ``identity``: G1 outputs a change of the slice, in (-1, 1), and both decoders start from
    zero, so that the untrained network returns the slice as healthy and no lesion."""

    norm: Norm = "batch"
    """Normalisation after each convolution."""


class Decomposition(NamedTuple):
    """An image split into two parts, whose sum approximates it (eq. 1).

    Both parts are (B, 1, H, W) in network grey, each in (-1, 1).
    """

    healthy: Tensor
    lesion: Tensor

    @property
    def whole(self) -> Tensor:
        """The sum of the two parts."""
        return self.healthy + self.lesion


class DecompositionNet(nn.Module):
    """Encodes a slice once and decodes it twice: as healthy lung, and as lesion."""

    def __init__(self, encoder: Encoder, decoders: dict[str, Decoder], start: Literal["random", "identity"]) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoders = nn.ModuleDict(decoders)
        self.start = start
        if start == "identity":
            for decoder in decoders.values():
                decoder.start_from_zero()

    @classmethod
    def build(cls, settings: NetworkSettings) -> DecompositionNet:
        """The network with fresh weights."""
        channels, norm = settings.channels, settings.norm
        if settings.decoders == "separate":
            decoders = {"healthy": Decoder(channels, norm), "lesion": Decoder(channels, norm)}
        else:
            decoders = {"both": Decoder(channels, norm, outputs=2)}
        return cls(Encoder(channels, norm), decoders, settings.start)

    def forward(self, image: Tensor) -> Decomposition:
        """Split a batch of images, (B, 1, H, W), in network grey.

        Raises:
            SettingsError: H or W is not a multiple of the encoder's stride.
        """
        check_stride(image, self.encoder)
        features = self.encoder(image)
        parts = torch.tanh(torch.cat([decoder(features) for decoder in self.decoders.values()], dim=1))
        healthy, lesion = parts.chunk(2, dim=1)
        if self.start == "identity":
            healthy = (image + healthy).clip(-1, 1)
        return Decomposition(healthy, lesion)

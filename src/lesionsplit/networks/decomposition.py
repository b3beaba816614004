"""The paper's network (Figure 1): one encoder E, a decoder G1 for the healthy part, G2 for the lesion."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import torch
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.networks.unet import Decoder, Encoder, Norm, check_stride
from lesionsplit.settings import Settings

Width = Annotated[int, Meta(ge=1)]


class NetworkSettings(Settings, frozen=True):
    """Width, depth and the one choice on which the paper and its authors' code differ."""

    channels: Annotated[tuple[Width, ...], Meta(min_length=2, max_length=7)] = (64, 128, 256, 512, 1024)
    """Features at 1, 1/2, 1/4 ... of the resolution: their number is the depth of the U-Net."""

    decoders: Literal["separate", "shared"] = "separate"
    """``separate``: G1 and G2 share nothing (the paper). ``shared``: they differ in the last 1 x 1
    convolution only (the authors' code, which appends one up-convolution module to both)."""

    start: Literal["random", "identity"] = "random"
    """``random``: G1 draws the healthy version from nothing (the paper), and spends most of a short
    training on learning to copy. ``identity``: G1 draws a change of the slice, in (-1, 1), and both
    decoders start from zero, so that the untrained network says "all healthy, no lesion"."""

    norm: Norm = "batch"
    """Normalisation after each convolution."""


class Decomposition(NamedTuple):
    """An image taken apart: ``healthy + lesion`` is the network's account of it (eq. 1).

    Both parts are (B, 1, H, W) in network grey, each in (-1, 1).
    """

    healthy: Tensor
    lesion: Tensor

    @property
    def whole(self) -> Tensor:
        """The image put together again."""
        return self.healthy + self.lesion


class DecompositionNet(nn.Module):
    """Reads a slice once and explains it twice: as healthy lung, and as lesion on top."""

    def __init__(self, encoder: Encoder, decoders: dict[str, Decoder], start: Literal["random", "identity"]) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoders = nn.ModuleDict(decoders)
        self.start = start
        if start == "identity":
            for decoder in decoders.values():
                decoder.silence()

    @classmethod
    def build(cls, settings: NetworkSettings) -> DecompositionNet:
        """Make the network that the settings describe, with fresh weights."""
        channels, norm = settings.channels, settings.norm
        if settings.decoders == "separate":
            decoders = {"healthy": Decoder(channels, norm), "lesion": Decoder(channels, norm)}
        else:
            decoders = {"both": Decoder(channels, norm, outputs=2)}
        return cls(Encoder(channels, norm), decoders, settings.start)

    def forward(self, image: Tensor) -> Decomposition:
        """Take apart a batch of images, (B, 1, H, W), in network grey.

        Raises:
            SettingsError: H or W is not a multiple of the encoder's stride.
        """
        check_stride(image, self.encoder)
        features = self.encoder(image)
        drawn = torch.tanh(torch.cat([decoder(features) for decoder in self.decoders.values()], dim=1))
        healthy, lesion = drawn.chunk(2, dim=1)
        if self.start == "identity":
            healthy = (image + healthy).clip(-1, 1)
        return Decomposition(healthy, lesion)

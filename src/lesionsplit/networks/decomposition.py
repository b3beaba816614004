"""The paper's network (Figure 1): one encoder E, a decoder G1 for the healthy part, G2 for the lesion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from lesionsplit.errors import SettingsError
from lesionsplit.networks.backbone import BackboneSettings, ResidualUNet
from lesionsplit.networks.unet import Decoder, Encoder


class NetworkSettings(BackboneSettings, frozen=True):
    """Width, depth, kind, and the choice in which the paper and its authors' code differ."""

    decoders: Literal["separate", "shared"] = "separate"
    """``separate``: G1 and G2 share no weights (the paper). ``shared``: they differ only in the last convolution (the
    authors' code, which appends one up-convolution module to both; a residual backbone)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backbone == "residual" and self.decoders == "separate":
            raise SettingsError("method.network.backbone: is residual, which has one decoder; set decoders to shared")


class Decomposition(NamedTuple):
    """An image split into two parts, whose sum approximates it (eq. 1).

    Both parts are (B, C, H, W) in network grey, each in (-1, 1).
    """

    healthy: Tensor
    lesion: Tensor

    @property
    def whole(self) -> Tensor:
        """The sum of the two parts."""
        return self.healthy + self.lesion


class DecompositionNet(nn.Module):
    """Encodes a slice once and decodes it twice: as healthy lung, and as lesion."""

    def __init__(
        self, encoder: nn.Module, decoders: Mapping[str, nn.Module], start: Literal["random", "identity"]
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoders = nn.ModuleDict(dict(decoders))
        self.start = start

    @classmethod
    def build(cls, settings: NetworkSettings, channels: int = 1) -> DecompositionNet:
        """The network with fresh weights."""
        if settings.backbone == "residual":
            return cls(nn.Identity(), {"both": ResidualUNet(settings, 2 * channels, channels)}, settings.start)
        widths, norm = settings.channels, settings.norm
        names = ["healthy", "lesion"] if settings.decoders == "separate" else ["both"]
        decoders = {name: Decoder(widths, norm, outputs=2 * channels // len(names)) for name in names}
        if settings.start == "identity":
            for decoder in decoders.values():
                decoder.start_from_zero()
        return cls(Encoder(widths, norm, channels), decoders, settings.start)

    def forward(self, image: Tensor) -> Decomposition:
        """Split a batch of images, (B, C, H, W), in network grey.

        Raises:
            SettingsError: H or W is not a multiple of the encoder's stride.
        """
        features = self.encoder(image)
        parts = torch.tanh(torch.cat([decoder(features) for decoder in self.decoders.values()], dim=1))
        healthy, lesion = parts.chunk(2, dim=1)
        if self.start == "identity":
            healthy = (image + healthy).clip(-1, 1)
        return Decomposition(healthy, lesion)

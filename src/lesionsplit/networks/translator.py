"""From slice to image, for the methods that translate slices into healthy ones."""

from __future__ import annotations

from torch import Tensor, nn

from lesionsplit.networks.backbone import BackboneSettings, ResidualUNet
from lesionsplit.networks.unet import Decoder, Encoder


class TranslatorSettings(BackboneSettings, frozen=True):
    """Width, depth, kind and initial state of the backbone."""


def build_translator(settings: TranslatorSettings, channels: int = 1) -> nn.Module:
    """A network from (B, C, H, W), in network grey, to (B, C, H, W), unbounded, with fresh weights."""
    if settings.backbone == "residual":
        return ResidualUNet(settings, channels, channels)
    return Translator(settings, channels)


class Translator(nn.Module):
    """One encoder, one decoder, skips between them."""

    def __init__(self, settings: TranslatorSettings, channels: int = 1) -> None:
        super().__init__()
        self.encoder = Encoder(settings.channels, settings.norm, channels)
        self.decoder = Decoder(settings.channels, settings.norm, channels)
        if settings.start == "identity":
            self.decoder.start_from_zero()

    def forward(self, image: Tensor) -> Tensor:
        """Translate a batch of images, (B, C, H, W), in network grey.

        Raises:
            SettingsError: H or W is not a multiple of the encoder's stride.
        """
        output: Tensor = self.decoder(self.encoder(image))
        return output

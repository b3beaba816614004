"""From slice to image, for the methods that translate slices into healthy ones."""

from __future__ import annotations

from torch import Tensor, nn

from lesionsplit.networks.backbone import BackboneSettings, ResidualUNet
from lesionsplit.networks.unet import Decoder, Encoder


class TranslatorSettings(BackboneSettings, frozen=True):
    """Width, depth, kind and initial state of the backbone."""


def build_translator(settings: TranslatorSettings) -> nn.Module:
    """A network from (B, 1, H, W), in network grey, to (B, 1, H, W), unbounded, with fresh weights."""
    return ResidualUNet(settings, outputs=1) if settings.backbone == "residual" else Translator(settings)


class Translator(nn.Module):
    """One encoder, one decoder, skips between them."""

    def __init__(self, settings: TranslatorSettings) -> None:
        super().__init__()
        self.encoder = Encoder(settings.channels, settings.norm)
        self.decoder = Decoder(settings.channels, settings.norm)
        if settings.start == "identity":
            self.decoder.start_from_zero()

    def forward(self, image: Tensor) -> Tensor:
        """Translate a batch of images, (B, 1, H, W), in network grey.

        Raises:
            SettingsError: H or W is not a multiple of the encoder's stride.
        """
        output: Tensor = self.decoder(self.encoder(image))
        return output

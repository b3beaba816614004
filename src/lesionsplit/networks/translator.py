"""A U-Net from slice to image, for the methods that translate slices into healthy ones."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from lesionsplit.networks.unet import Decoder, Encoder, Norm, UNetSettings, check_stride


class TranslatorSettings(UNetSettings, frozen=True):
    """Width, depth and initial state."""

    norm: Norm = "batch"
    """Normalisation after each convolution."""

    start: Literal["random", "identity"] = "random"
    """``random``: random weights, as in the papers. ``identity``: the output is a change of the slice and starts
    from zero, so that the untrained network returns every slice unchanged; a short training then does not
    have to learn to copy."""


class Translator(nn.Module):
    """One encoder, one decoder, skips between them; (B, 1, H, W) to (B, 1, H, W), unbounded."""

    def __init__(self, settings: TranslatorSettings) -> None:
        super().__init__()
        self.start = settings.start
        self.encoder = Encoder(settings.channels, settings.norm)
        self.decoder = Decoder(settings.channels, settings.norm)
        if settings.start == "identity":
            self.decoder.start_from_zero()

    def forward(self, image: Tensor) -> Tensor:
        """Translate a batch of images, (B, 1, H, W), in network grey.

        Raises:
            SettingsError: H or W is not a multiple of the encoder's stride.
        """
        check_stride(image, self.encoder)
        output: Tensor = self.decoder(self.encoder(image))
        return output

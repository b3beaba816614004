"""A U-Net that draws one image from a slice: of methods that turn slices into healthy ones as a whole."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.networks.unet import Decoder, Encoder, Norm, check_stride, stride_of
from lesionsplit.settings import Settings

Width = Annotated[int, Meta(ge=1)]


class TranslatorSettings(Settings, frozen=True):
    """Width, depth and where training starts from."""

    channels: Annotated[tuple[Width, ...], Meta(min_length=2, max_length=7)] = (64, 128, 256, 512, 1024)
    """Features at 1, 1/2, 1/4 ... of the resolution: their number is the depth of the U-Net."""

    norm: Norm = "batch"
    """Normalisation after each convolution."""

    start: Literal["random", "identity"] = "random"
    """``random``: fresh weights, as in the papers. ``identity``: what is drawn is a change of the slice and
    starts from zero, so that the untrained network gives every slice back as it is: a short training is
    not spent on learning to leave slices alone."""

    @property
    def stride(self) -> int:
        """Both sides of a slice must be multiples of it."""
        return stride_of(self.channels)


class Translator(nn.Module):
    """One encoder, one decoder, skips between them; (B, 1, H, W) to (B, 1, H, W), unbounded."""

    def __init__(self, settings: TranslatorSettings) -> None:
        super().__init__()
        self.start = settings.start
        self.encoder = Encoder(settings.channels, settings.norm)
        self.decoder = Decoder(settings.channels, settings.norm)
        if settings.start == "identity":
            self.decoder.silence()

    def forward(self, image: Tensor) -> Tensor:
        """Draw from a batch of images, (B, 1, H, W), in network grey.

        Raises:
            SettingsError: H or W is not a multiple of the encoder's stride.
        """
        check_stride(image, self.encoder)
        drawn: Tensor = self.decoder(self.encoder(image))
        return drawn

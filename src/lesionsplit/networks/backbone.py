"""From slice to images: the encoder and decoder of the papers, or the denoiser's residual U-Net without noise."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from lesionsplit.data.normalise import SPREAD
from lesionsplit.errors import SettingsError
from lesionsplit.networks.denoiser import Denoiser, DenoiserSettings, apply_without_noise
from lesionsplit.networks.unet import Norm, UNetSettings


class BackboneSettings(UNetSettings, frozen=True):
    """Width, depth, kind and initial state."""

    norm: Norm = "batch"
    """Normalisation after each convolution of a plain backbone."""

    start: Literal["random", "identity"] = "random"
    """``random``: random weights, as in the papers; most of a short training goes into learning to copy. ``identity``:
    the healthy version is the slice plus the output, which starts from zero, so that the untrained network returns
    every slice unchanged."""

    backbone: Literal["plain", "residual"] = "plain"
    """``plain``: encoder and decoder of the papers. ``residual``: the U-Net of `diffusion` and `separation`, with one
    decoder; ``channels`` are then those of half the resolution, and it begins from ``identity``."""

    def __post_init__(self) -> None:
        if self.backbone == "residual" and (self.start != "identity" or self.norm != "none"):
            raise SettingsError(
                f"method.network.backbone: is residual, with start {self.start} and norm {self.norm}; set start to "
                "identity and norm to none"
            )

    @property
    def stride(self) -> int:
        """Sides of the canvas must be multiples of it."""
        return self.denoiser.stride if self.backbone == "residual" else super().stride

    @property
    def denoiser(self) -> DenoiserSettings:
        """Those of a residual backbone."""
        return DenoiserSettings(channels=self.channels)


class ResidualUNet(nn.Module):
    """A denoiser that gets slices without noise; its untrained outputs are zero."""

    def __init__(self, settings: BackboneSettings, outputs: int, channels: int = 1) -> None:
        super().__init__()
        self.denoiser = Denoiser(settings.denoiser, outputs, channels=channels)

    def forward(self, image: Tensor) -> Tensor:
        """Images of (B, outputs, H, W), unbounded, from slices of (B, C, H, W) in network grey.

        Raises:
            SettingsError: H or W is not a multiple of its stride.
        """
        return apply_without_noise(
            self.denoiser, image * SPREAD, (image.amax(dim=1, keepdim=True) > -1).to(image.dtype)
        )

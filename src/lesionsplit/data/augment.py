"""Data augmentation: small random changes of slices in training."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor

from lesionsplit.settings import Settings

Amount = Annotated[float, Meta(ge=0, le=0.5)]


class Augmentation(Settings, frozen=True):
    """How much a slice may change; each value is the largest change in either direction, 0 turns it off."""

    flip: bool = True
    """Mirror left and right with probability one half."""

    rotation: Annotated[float, Meta(ge=0, le=45)] = 8.0
    """Degrees."""

    scale: Amount = 0.08
    """Fraction of the size."""

    shift: Amount = 0.03
    """Fraction of the canvas, on each axis."""

    gain: Amount = 0.08
    """Fraction of the grey."""

    offset: Amount = 0.02
    """Fraction of full scale, for pixels that are not black."""

    def apply(self, images: Tensor, generator: torch.Generator, greys: int = 1, *, with_region: bool = False) -> Tensor:
        """Change each slice of (B, C, H, W) independently.

        The first ``greys`` channels are grey, 0 to 1, and get the same change; black stays black. The others, such
        as masks, are only moved.

        What is outside of the canvas is black. ``with_region`` it is the mirror image instead, the last channel is the
        fraction of each pixel inside the region, and the grey of pixels on its rim is that of the part inside.
        """
        moved = self._move(images, generator, "reflection" if with_region else "zeros")
        if with_region:
            inside = moved[:, -1:]
            moved = torch.cat([moved[:, :greys] / torch.where(inside > 0, inside, 1), moved[:, greys:]], dim=1)
        grey = self._recolour(moved[:, :greys], generator)
        return grey if moved.shape[1] == greys else torch.cat([grey, moved[:, greys:]], dim=1)

    def _move(self, images: Tensor, generator: torch.Generator, padding: Literal["zeros", "reflection"]) -> Tensor:
        if not (self.flip or self.rotation or self.scale or self.shift):
            return images
        draw = torch.rand(5, len(images), generator=generator) * 2 - 1
        mirror = torch.where(draw[0] < 0, -1.0, 1.0) if self.flip else torch.ones(len(images))
        angle = draw[1] * math.radians(self.rotation)
        size = 1 + draw[2] * self.scale
        aspect = images.shape[-2] / images.shape[-1]  # so that a rotation is one on a canvas that is not square
        cosine, sine = torch.cos(angle) * size, torch.sin(angle) * size
        rows = [
            torch.stack([mirror * cosine, -mirror * sine * aspect, 2 * self.shift * draw[3]], dim=1),
            torch.stack([sine / aspect, cosine, 2 * self.shift * draw[4]], dim=1),
        ]
        grid = F.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid.to(images.device), mode="bilinear", padding_mode=padding, align_corners=False)

    def _recolour(self, grey: Tensor, generator: torch.Generator) -> Tensor:
        if not (self.gain or self.offset):
            return grey
        draw = (torch.rand(2, len(grey), 1, 1, 1, generator=generator) * 2 - 1).to(grey.device)
        return ((1 + self.gain * draw[0]) * grey + self.offset * draw[1] * (grey > 0)).clip(0, 1)

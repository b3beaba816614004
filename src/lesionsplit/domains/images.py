"""Images of anything, grey or in colour: a defect may be of any shape, brighter or darker, anywhere in the region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lesionsplit.data.kind import FLOOR, Channels
from lesionsplit.domains.base import Conspicuity, Drawing
from lesionsplit.domains.defects import add_defects
from lesionsplit.synthesis.fields import blur, uniform
from lesionsplit.synthesis.lesions import SyntheticLesions
from lesionsplit.synthesis.scanner import ScannerSettings

OUTSIDE = (FLOOR - 1) / 2
"""Network grey between that of pixels outside the region and the lowest inside."""


@dataclass(frozen=True, slots=True)
class ImageDomain:
    """Images whose network grey is -1 outside the region, and at least `FLOOR` inside."""

    channels: Channels = 1
    signed: ClassVar[bool] = True
    softness: ClassVar[float] = 3.0
    """Drawn defects are told from normal images more clearly than lesions from lung: logits are larger."""

    def region(self, images: Tensor) -> Tensor:
        """What is not outside."""
        return (images.amax(dim=1, keepdim=True) > OUTSIDE).to(images.dtype)

    def lesion_part(self, change: Tensor) -> Tensor:
        """All of it."""
        return change

    def size(self, change: Tensor) -> Tensor:
        """The mean over channels of the absolute change."""
        return change.abs().mean(dim=1, keepdim=True)

    def visible(self, images: Tensor) -> Tensor:
        """From `FLOOR` to white."""
        return images.clip(FLOOR, 1)

    def with_rim(self, region: Tensor) -> Tensor:
        """The region alone: a mask says exactly what counts."""
        return region

    def score_rim(self, score: Tensor, region: Tensor, fraction: float) -> Tensor:  # noqa: ARG002
        """No score outside the region."""
        return score * region

    def conspicuity(self, images: Tensor, logit: Tensor, settings: Conspicuity) -> Tensor:  # noqa: ARG002
        """One: nothing is known of what a reader would outline."""
        return torch.ones_like(logit)

    def settled(self, predicted: Tensor) -> Tensor:
        """The more normal half of each image, and what has at least half of its highest logit.

        Predictions fall off over a few pixels around a defect, and its edge is about where they are half as high. What
        is between, such as a halo or a fainter defect, is neither learnt nor unlearnt.
        """
        flat = predicted.flatten(1)
        middle, highest = (one.view(-1, 1, 1, 1) for one in (flat.median(dim=1).values, flat.amax(dim=1)))
        return ((predicted <= middle) | (predicted >= (highest / 2).clip(min=0))).to(predicted.dtype)

    def draw(self, normal: Tensor, others: Tensor, settings: Drawing) -> SyntheticLesions:
        """See `defects`."""
        return add_defects(normal, self.region(normal), others, settings.defects)

    def share(self, healthy: Tensor, added: Tensor) -> Tensor:  # noqa: ARG002
        """Of half the range of network grey."""
        return self.size(added)

    def vary(self, images: Tensor, region: Tensor, settings: ScannerSettings) -> Tensor:
        """Sharpness and noise of another camera, inside the region."""
        varied = images
        if settings.sharpness:
            amount = uniform(images, -settings.sharpness, settings.sharpness)
            usual = blur(images * region, 1.0) / blur(region, 1.0).clip(min=1e-3)  # the rim is not mixed with black
            detail = images - usual
            varied = varied - detail * torch.where(amount > 0, amount, amount * (2 / 3))
        if settings.noise:
            varied = varied + torch.randn_like(images) * uniform(images, 0, settings.noise)
        return torch.where(region > 0, self.visible(varied), images)

    def full_lesion(self, images: Tensor, targets: Tensor, healthy: Tensor) -> Tensor:  # noqa: ARG002
        """What teachers remove: there is no grey that all healthy pixels share."""
        return images - healthy

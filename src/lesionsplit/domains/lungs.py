"""Lungs in CT: lesions are denser than lung, lie anywhere in it, and reach its rim."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from lesionsplit.domains.base import Conspicuity, Drawing
from lesionsplit.synthesis.fields import blur, lung_field, lungs_of, parenchyma_grey, score_pleural_margin
from lesionsplit.synthesis.lesions import SyntheticLesions, add_synthetic_lesions
from lesionsplit.synthesis.scanner import ScannerSettings, simulate_scanner

CONTRAST_SIGMA = 1.5
"""Standard deviation, in pixels of the canvas, of the smoothing before contrast is measured."""

PARENCHYMA_BELOW, LESION_FROM = 0.1, 0.5
"""Soft targets below the first are parenchyma, from the second on lesion, where contrast is measured."""


class LungDomain:
    """Slices that are black outside the lungs."""

    channels: ClassVar[int] = 1
    signed: ClassVar[bool] = False
    softness: ClassVar[float] = 1.0

    def region(self, images: Tensor) -> Tensor:
        """The lungs: what is not black, small holes closed."""
        return lungs_of(images)

    def lesion_part(self, change: Tensor) -> Tensor:
        """What is denser."""
        return change.clip(min=0)

    def size(self, change: Tensor) -> Tensor:
        """The change itself."""
        return change

    def visible(self, images: Tensor) -> Tensor:
        """Not brighter than white."""
        return images.clip(max=1)

    def with_rim(self, region: Tensor) -> Tensor:
        """The lungs and one pixel around them, which heat maps need when they are resampled."""
        return F.max_pool2d(region, 3, 1, 1)

    def score_rim(self, score: Tensor, region: Tensor, fraction: float) -> Tensor:
        """See `score_pleural_margin`."""
        return score_pleural_margin(score, region, fraction)

    def conspicuity(self, images: Tensor, logit: Tensor, settings: Conspicuity) -> Tensor:
        """By the contrast to the parenchyma: readers outline what stands out."""
        field = lung_field(images)
        lung_fraction = blur(field.lungs, CONTRAST_SIGMA).clip(min=0.05)
        parenchyma = parenchyma_grey(images, field, logit < -settings.healthy)
        contrast = blur(images * field.lungs, CONTRAST_SIGMA) / lung_fraction - parenchyma
        contrast = (contrast / (field.dense - parenchyma).clip(min=1e-3)).clip(min=0)
        return ((settings.faint + contrast) / (settings.faint + settings.conspicuous)).clip(max=1)

    def settled(self, predicted: Tensor) -> Tensor:
        """Everywhere."""
        return torch.ones_like(predicted)

    def draw(self, normal: Tensor, others: Tensor, settings: Drawing) -> SyntheticLesions:  # noqa: ARG002
        """See `synthesis.lesions`."""
        return add_synthetic_lesions(normal, settings.lesions)

    def share(self, healthy: Tensor, added: Tensor) -> Tensor:
        """Of the grey difference between parenchyma and dense vessels."""
        field = lung_field(healthy)
        return added.clip(min=0) / (field.dense - field.parenchyma).clip(min=1e-3)

    def vary(self, images: Tensor, region: Tensor, settings: ScannerSettings) -> Tensor:
        """See `simulate_scanner`."""
        return simulate_scanner(images, region, settings)

    def full_lesion(self, images: Tensor, targets: Tensor, healthy: Tensor) -> Tensor:
        """What the lesions of slices add, in network grey, (B, 1, H, W): what teachers remove, or more.

        Noise does not hide a large lesion completely, so teachers remove less than half of it. Where their confidence
        is high, the lesion is at least the contrast between the smoothed slice and parenchyma; vessels and noise stay.

        Args:
            images: slices, black outside the lungs.
            targets: soft targets from the teachers, 0 to 1.
            healthy: the teachers' healthy versions.
        """
        field = lung_field(images)
        smoothed = blur(images * field.lungs, CONTRAST_SIGMA) / blur(field.lungs, CONTRAST_SIGMA).clip(min=1e-3)
        contrast = (smoothed - parenchyma_grey(images, field, targets < PARENCHYMA_BELOW)) * field.lungs
        removed = images - healthy
        return removed + (targets / LESION_FROM).clip(max=1) * (contrast - removed).clip(min=0)


LUNGS = LungDomain()

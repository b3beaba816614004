"""Our method: one network that learns from the scores of diffusion models and from synthetic lesions.

Its teachers (`Distillation`) are trained first, on image labels alone, and applied to the slices of train labelled
lesion (`training.distillation`). Their combined confidence is the soft target there (Hinton et al. 2015), so that the
student ranks pixels as they do. The target of slices labelled normal is zero, whatever the teachers' scores are: the
labels are more reliable. Half of these slices get synthetic lesions, more severe than those of train, with a known
target.

The network is the denoiser of `diffusion` with another last layer, and starts from the first teacher's weights. A
teacher needs 24 forward passes for a slice and its mirror image, the student two.

To change a term of the loss, change `objective`; to combine teachers differently, `training.distillation.soft_targets`.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.data.normalise import SPREAD
from lesionsplit.data.sampling import Batch
from lesionsplit.errors import DataError
from lesionsplit.losses import Terms, masked_mean
from lesionsplit.methods.base import Distillation, MethodOutput, MethodSettings
from lesionsplit.methods.optimisation import SingleNetworkMethod
from lesionsplit.networks.denoiser import Denoiser, DenoiserSettings, apply_without_noise
from lesionsplit.networks.lesion_unet import INITIAL_LOGIT, LesionOutput
from lesionsplit.settings import Count, Fraction, NonNegative, Positive, Settings, to_table
from lesionsplit.synthesis.fields import blur, lung_field, lungs_of, parenchyma_grey, score_pleural_margin
from lesionsplit.synthesis.lesions import LesionSettings, SyntheticLesions, add_synthetic_lesions
from lesionsplit.synthesis.scanner import ScannerSettings, simulate_scanner

CONTRAST_SIGMA = 1.5
"""Standard deviation, in pixels of the canvas, of the smoothing before contrast is measured."""

PARENCHYMA_BELOW, LESION_FROM = 0.1, 0.5
"""Soft targets below the first are parenchyma, from the second on lesion, where contrast is measured."""


class Objective(Settings, frozen=True):
    """Weights of the terms of the loss; zero removes a term."""

    chance: NonNegative = 1.0
    """Cross-entropy between the probability m and the soft targets, or the targets of synthetic lesions."""

    lesion: NonNegative = 5.0
    """Mean |G2 - target|: what the teachers remove, or `lesion_contrast`, or what a synthetic lesion adds."""


class SyntheticLesionSettings(Settings, frozen=True):
    """Synthetic lesions in normal slices, where both parts are known; more severe than in any slice of train."""

    lesions: LesionSettings = LesionSettings(slice_fraction=0.5, radius=16.0)

    half_confidence_contrast: Positive = 0.1
    """The target of a synthetic lesion is one half where it adds this fraction of the grey difference between
    parenchyma and dense vessels."""


class DistilledSettings(MethodSettings, frozen=True, tag_field="name", tag="distilled"):
    """All settings of the method."""

    margin_pixels: ClassVar[int] = 1

    distillation: Distillation = Distillation(teachers=("diffusion",))
    network: DenoiserSettings = DenoiserSettings()
    synthetic_lesions: SyntheticLesionSettings = SyntheticLesionSettings()
    scanner: ScannerSettings = ScannerSettings()
    objective: Objective = Objective()
    score_odds: Annotated[float, Meta(ge=1e-3, le=1e3)] = 2.0
    logit_scale: Annotated[float, Meta(ge=0.01, le=100)] = 1.0
    """The odds of the score are ``score_odds`` times the odds of m to the power of ``logit_scale``. Before
    `pleural_margin` and `neighbour_weight`, this keeps the ranking of pixels by m. The values of `distilled.toml` were
    set on val of covid-cell, by `experiments/chances.py`."""

    full_lesion_removal: bool = False
    """The target of G2 in slices with lesion: false: what the teachers remove; true: `lesion_contrast`, with which
    healthy versions keep a quarter of a lesion instead of more than half."""

    pleural_margin: Fraction = 0.5
    """Fraction of its neighbours' highest score that a pixel just outside the lungs gets at least. The edge of the
    lung mask runs through pixels that are half lung, and annotators outline lesions at the pleura beyond it."""

    neighbour_weight: Fraction = 0.0
    """Weight of the score of a neighbouring slice of the same series, relative to the slice's own; a single slice has
    no neighbours."""

    learning_rate: Positive = 1e-3
    warmup_steps: Count = 50
    """Steps over which the learning rate rises to `learning_rate`."""

    def build(self) -> DistilledMethod:
        """The method, with fresh weights."""
        return DistilledMethod(self)

    def build_network(self) -> Denoiser:
        """The network alone, with fresh weights."""
        network = Denoiser(self.network, outputs=2)
        network.start_from(INITIAL_LOGIT)
        return network

    def infer(self, network: nn.Module, images: Tensor) -> MethodOutput:
        """Score and healthy version of slices (B, 1, H, W) in network grey, averaged over slices and mirror images."""
        direct, mirrored = decompose(network, images), decompose(network, images.flip(3))
        parts = LesionOutput(*((one + other.flip(3)) / 2 for one, other in zip(direct, mirrored, strict=True)))
        lungs = lungs_of(images)
        score = (self.logit_scale * parts.logit + math.log(self.score_odds)).sigmoid() * with_margin(lungs)
        return MethodOutput(score_pleural_margin(score, lungs, self.pleural_margin), images - parts.lesion)


def decompose(network: nn.Module, images: Tensor) -> LesionOutput:
    """The output of the network, a denoiser at noise level 0, for slices (B, 1, H, W) in network grey."""
    logit, added = apply_without_noise(network, images * SPREAD, lungs_of(images)).chunk(2, dim=1)
    return LesionOutput(logit, added)


def with_margin(lungs: Tensor) -> Tensor:
    """The lungs, (B, 1, H, W), and one pixel around them, which heat maps need when they are resampled."""
    return F.max_pool2d(lungs, 3, 1, 1)


def synthetic_targets(synthetic: SyntheticLesions, half: float) -> Tensor:
    """Targets for m in slices with synthetic lesions, (B, 1, H, W), 0 to 1: a / (a + half) within their extent.

    Args:
        synthetic: slices with synthetic lesions.
        half: see `SyntheticLesionSettings.half_confidence_contrast`; a, what the lesion adds, is in the same unit.
    """
    field = lung_field(synthetic.healthy)
    added = blur(synthetic.images - synthetic.healthy, 1.0).clip(min=0) / (field.dense - field.parenchyma).clip(
        min=1e-3
    )
    return synthetic.extent * added / (added + half)


def lesion_contrast(images: Tensor, targets: Tensor, healthy: Tensor) -> Tensor:
    """What the lesions of slices add, in network grey, (B, 1, H, W): what teachers remove, or more.

    Noise does not hide a large lesion completely, so teachers remove less than half of it. Where their confidence is
    high, the lesion is at least the contrast between the smoothed slice and parenchyma; vessels and noise stay.

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


def objective(parts: LesionOutput, targets: Tensor, added: Tensor, lungs: Tensor) -> Terms:
    """The terms of the loss, not yet weighted.

    Args:
        parts: the network's output for slices.
        targets: (B, 1, H, W), for m, from the teachers or of synthetic lesions, 0 to 1.
        added: (B, 1, H, W), what lesions add, in network grey, from the teachers or of synthetic lesions.
        lungs: (B, 1, H, W), 1 inside.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(parts.logit, targets, reduction="none")
    return {
        "chance": masked_mean(cross_entropy, with_margin(lungs)),
        "lesion": masked_mean((parts.added - added).abs(), lungs),
    }


class DistilledMethod(SingleNetworkMethod):
    """Trains the network on the soft targets of its teachers, and on normal slices with synthetic lesions."""

    def __init__(self, settings: DistilledSettings) -> None:
        self.settings = settings
        super().__init__(settings.build_network(), settings)

    def step(self, batch: Batch, number: int) -> Terms:
        """Learn from one batch.

        Raises:
            DataError: the slices have no teacher outputs.
        """
        if batch.teacher_outputs is None:
            raise DataError(
                "the slices have no teacher outputs; call `fit` with those of "
                "`training.distillation.with_teacher_outputs`"
            )
        settings = self.settings
        synthetic = add_synthetic_lesions(batch.normal, settings.synthetic_lesions.lesions)
        images = torch.cat([synthetic.images, batch.lesion])
        targets, healthy = batch.teacher_outputs
        added = batch.lesion - healthy
        if settings.full_lesion_removal:
            added = lesion_contrast(batch.lesion, targets, healthy)
        lungs = lungs_of(images)
        terms = objective(
            decompose(self.network, simulate_scanner(images, lungs, settings.scanner)),
            torch.cat([synthetic_targets(synthetic, settings.synthetic_lesions.half_confidence_contrast), targets]),
            torch.cat([synthetic.images - synthetic.healthy, added]),
            lungs,
        )
        return self.learn(terms, to_table(settings.objective), number)

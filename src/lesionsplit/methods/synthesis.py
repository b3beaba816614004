"""Synthetic lesions in normal slices, then self-training on slices with lesion.

No mask is used. Synthetic lesions (`synthesis`) are added to slices labelled normal, so that both parts of the
slice are known exactly and G1 and G2 get a direct loss instead of a critic's. Later the network also learns
from slices labelled lesion: the predictions of its own running average are the targets there, and pixels
with uncertain predictions are left out.

To change a term of the loss, change `objective`; to change its weight, change `Objective`.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.data.sampling import Batch
from lesionsplit.losses import Terms, overlap_loss
from lesionsplit.methods.base import MethodOutput, MethodSettings, bare
from lesionsplit.methods.optimisation import SingleNetworkMethod
from lesionsplit.networks.lesion_unet import LesionOutput, LesionUNet, LesionUNetSettings
from lesionsplit.settings import BelowOne, Count, Fraction, NonNegative, NonNegativeInt, Positive, Settings, to_table
from lesionsplit.synthesis.fields import blur, lung_field, lungs_of, parenchyma_grey, quantile, score_pleural_margin
from lesionsplit.synthesis.lesions import LesionSettings, SyntheticLesions, add_synthetic_lesions
from lesionsplit.synthesis.scanner import ScannerSettings, simulate_scanner

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CONTRAST_SIGMA = 1.5
"""Standard deviation, in pixels of the canvas, of the smoothing before contrast is measured."""


class Objective(Settings, frozen=True):
    """Weights of the terms of the loss; zero removes a term."""

    extent: NonNegative = 1.0
    """Cross-entropy between the probability m and the extent of synthetic lesions."""

    overlap: NonNegative = 1.0
    """One minus the soft Dice of the two."""

    lesion: NonNegative = 0.2
    """Mean |G2 - what the synthetic lesion adds| inside lesions; this determines G1, too, since x = G1 + G2."""

    elsewhere: NonNegative = 1.0
    """The same outside lesions: the healthy version keeps healthy tissue."""

    own: NonNegative = 1.0
    """Cross-entropy and Dice with the network's own predictions in slices labelled lesion. Zero: no self-training."""


class SelfTraining(Settings, frozen=True):
    """When and where the network's own predictions become targets."""

    start_step: NonNegativeInt = 1200
    """Steps on synthetic lesions alone; the term's weight then rises over the next ``ramp_steps``."""

    ramp_steps: Count = 100

    logit_margin: NonNegative = 0.7
    """A pixel whose logit is nearer than this to that of `Calibration.fpr` is left out."""

    ema_decay: BelowOne = 0.99
    """Of the running average of the weights, which makes the predictions."""


class Calibration(Settings, frozen=True):
    """From the network's probability, which holds for synthetic lesions, to a score; no mask is needed."""

    fpr: Annotated[float, Meta(gt=0, lt=1)] = 0.005
    """The zero of the score is the logit that this fraction of the lung of normal slices exceeds."""

    temperature: Positive = 2.0
    """Logits relative to that zero are divided by this."""

    update_every: Count = 5
    """Steps between two updates of that zero."""

    ema_decay: BelowOne = 0.95
    """Of the running mean over these updates."""

    faint: Positive = 0.1
    conspicuous: Positive = 0.6
    """The score has full weight where the smoothed slice exceeds parenchyma by this fraction of the grey difference
    between parenchyma and dense vessels, and the weight ``faint / (faint + conspicuous)`` where it does not exceed
    it: of two equally likely lesions, readers outline the denser."""

    healthy: NonNegative = 3.0
    """A pixel whose logit is at least this far below the zero of the score counts as parenchyma when its grey is
    measured. The whole lung cannot be used: where more than half of it is lesion, its median is lesion."""

    pleural_margin: Fraction = 0.15
    """Fraction of its neighbours' highest score that a pixel just outside the lungs gets at least. The edge of the
    lung mask runs through pixels that are half lung, and annotators outline lesions at the pleura beyond it."""


class SynthesisSettings(MethodSettings, frozen=True, tag_field="name", tag="synthesis"):
    """All settings of the method."""

    margin_pixels: ClassVar[int] = 1

    network: LesionUNetSettings = LesionUNetSettings()
    lesions: LesionSettings = LesionSettings()
    scanner: ScannerSettings = ScannerSettings()
    objective: Objective = Objective()
    self_training: SelfTraining = SelfTraining()
    calibration: Calibration = Calibration()
    learning_rate: Positive = 1e-3
    warmup_steps: Count = 50
    """Steps over which the learning rate rises to `learning_rate`."""

    def build(self) -> SynthesisMethod:
        """The method, with fresh weights."""
        return SynthesisMethod(self)

    def build_network(self) -> LesionUNet:
        """The network alone, with fresh weights."""
        return LesionUNet(self.network)

    def infer(self, network: nn.Module, images: Tensor) -> MethodOutput:
        """Score and healthy version of slices (B, 1, H, W) in network grey."""
        net = cast(LesionUNet, bare(network))
        parts = net.with_mirror(images)
        return MethodOutput(score(parts.logit - net.logit_offset, images, self.calibration), images - parts.lesion)


def score(logit: Tensor, images: Tensor, settings: Calibration) -> Tensor:
    """The score of every pixel, 0 to 1, (B, 1, H, W), on one scale for all slices.

    Args:
        logit: (B, 1, H, W), relative to the logit that normal lung seldom exceeds.
        images: (B, 1, H, W), network grey.
        settings: of the conversion.
    """
    field = lung_field(images)
    lung_fraction = blur(field.lungs, CONTRAST_SIGMA).clip(min=0.05)
    parenchyma = parenchyma_grey(images, field, logit < -settings.healthy)
    contrast = blur(images * field.lungs, CONTRAST_SIGMA) / lung_fraction - parenchyma
    contrast = (contrast / (field.dense - parenchyma).clip(min=1e-3)).clip(min=0)
    weight = ((settings.faint + contrast) / (settings.faint + settings.conspicuous)).clip(max=1)
    inside = (logit / settings.temperature).sigmoid() * weight * field.lungs
    return score_pleural_margin(inside, field.lungs, settings.pleural_margin)


def objective(parts: LesionOutput, synthetic: SyntheticLesions) -> Terms:
    """The terms of the loss on slices with synthetic lesions, inside the lungs, not yet weighted."""
    inside, outside = synthetic.lungs * synthetic.extent, synthetic.lungs * (1 - synthetic.extent)
    cross_entropy = F.binary_cross_entropy_with_logits(parts.logit, synthetic.extent, reduction="none")
    error = (parts.added - (synthetic.images - synthetic.healthy)).abs()
    return {
        "extent": mean_over(cross_entropy, synthetic.lungs),
        "overlap": overlap_loss(parts.probability * synthetic.lungs, synthetic.extent),
        "lesion": mean_over(error, inside),
        "elsewhere": mean_over(error, outside),
    }


def mean_over(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of (B, 1, H, W) over a batch, with one more pixel of value 0: the mean over no pixel is 0."""
    return (values * weights).sum() / (weights.sum() + 1)


def self_training_loss(parts: LesionOutput, predicted: Tensor, lungs: Tensor, margin: float) -> Tensor:
    """Cross-entropy and Dice with the predictions of the network's running average; a scalar.

    Args:
        parts: the network's output for slices with lesion.
        predicted: (B, 1, H, W), the average's logit, relative to the logit that normal lung seldom exceeds.
        lungs: (B, 1, H, W), 1 inside.
        margin: predictions nearer to 0 are left out.
    """
    target = (predicted > 0).to(predicted.dtype)
    counted = lungs * (predicted.abs() >= margin)
    cross_entropy = F.binary_cross_entropy_with_logits(parts.logit, target, reduction="none")
    return mean_over(cross_entropy, counted) + overlap_loss(parts.probability * counted, target * counted)


class SynthesisMethod(SingleNetworkMethod):
    """Trains the network on synthetic lesions and, later, on its own predictions."""

    def __init__(self, settings: SynthesisSettings) -> None:
        self.settings = settings
        super().__init__(settings.build_network(), settings)
        self.teacher: nn.Module = copy.deepcopy(self.network).requires_grad_(False).eval()

    def setup(self, fabric: Fabric) -> None:
        """Hand modules and optimiser to Fabric, once, before the first step."""
        super().setup(fabric)
        self.teacher.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def state(self) -> dict[str, Any]:
        """Network, its average and the optimiser."""
        return {**super().state(), "teacher": self.teacher}

    def step(self, batch: Batch, number: int) -> Terms:
        """Learn from one batch: its normal slices with synthetic lesions and, later, its slices with lesion."""
        settings = self.settings
        self._calibrate(batch.normal, number)
        own = settings.objective.own * self._self_training_weight(number)
        synthetic = add_synthetic_lesions(batch.normal, settings.lesions)
        images = simulate_scanner(synthetic.images, synthetic.lungs, settings.scanner)
        if own:
            lungs = lungs_of(batch.lesion)
            images = torch.cat([images, simulate_scanner(batch.lesion, lungs, settings.scanner)])
        parts: LesionOutput = self.network(images.contiguous(memory_format=torch.channels_last))
        paired = LesionOutput._make(part[: len(batch.normal)] for part in parts)
        terms = objective(paired, synthetic)
        weights = to_table(settings.objective) | {"own": own}
        if own:
            terms["own"] = self_training_loss(
                LesionOutput._make(part[len(batch.normal) :] for part in parts),
                self._predict(batch.lesion),
                lungs,
                settings.self_training.logit_margin,
            )
        learnt = self.learn(terms, weights, number)
        self._update_average()
        return learnt

    def _self_training_weight(self, number: int) -> float:
        """Relative weight of self-training at a step, 0 to 1."""
        schedule = self.settings.self_training
        return min(1.0, max(0.0, (number + 1 - schedule.start_step) / schedule.ramp_steps))

    @torch.no_grad()
    def _predict(self, images: Tensor) -> Tensor:
        """The average's logits for slices, (B, 1, H, W), relative to the logit that normal lung seldom exceeds."""
        teacher = cast(LesionUNet, self.teacher)
        logit: Tensor = teacher.with_mirror(images).logit - teacher.logit_offset
        return logit

    @torch.no_grad()
    def _calibrate(self, normal: Tensor, number: int) -> None:
        """Update the running mean of the logit that normal lung seldom exceeds."""
        settings = self.settings.calibration
        if number % settings.update_every:
            return
        logits = self.teacher(normal).logit[lungs_of(normal) > 0]
        if not logits.numel():  # slices too small for any lung pixel
            return
        exceeded = quantile(logits.float(), 1 - settings.fpr)
        updates = number // settings.update_every
        offset = cast(LesionUNet, bare(self.network)).logit_offset
        offset.lerp_(exceeded, max(1 - settings.ema_decay, 1 / (updates + 1)))

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the average towards the network."""
        decay = self.settings.self_training.ema_decay
        for average, weight in zip(self.teacher.parameters(), self.network.parameters(), strict=True):
            average.lerp_(weight, 1 - decay)
        for copied, buffer in zip(self.teacher.buffers(), self.network.buffers(), strict=True):
            copied.copy_(buffer)

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
from msgspec.structs import replace
from torch import Tensor, nn

from lesionsplit.data.sampling import Batch
from lesionsplit.domains.base import Domain
from lesionsplit.domains.defects import DefectSettings
from lesionsplit.domains.lungs import LUNGS
from lesionsplit.losses import Terms, overlap_loss
from lesionsplit.methods.base import MethodOutput, MethodSettings, bare, scaled_steps
from lesionsplit.methods.optimisation import SingleNetworkMethod
from lesionsplit.networks.lesion_unet import LesionOutput, LesionUNet, LesionUNetSettings
from lesionsplit.settings import BelowOne, Count, Fraction, NonNegative, NonNegativeInt, Positive, Settings, to_table
from lesionsplit.synthesis.fields import quantile
from lesionsplit.synthesis.lesions import LesionSettings, SyntheticLesions
from lesionsplit.synthesis.scanner import ScannerSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


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
    """In lungs."""

    defects: DefectSettings = DefectSettings()
    """In images of anything; see `domains.defects`."""

    scanner: ScannerSettings = ScannerSettings()
    objective: Objective = Objective()
    self_training: SelfTraining = SelfTraining()
    calibration: Calibration = Calibration()
    mirror_average: bool = True
    """Whether the outputs for a slice and for its mirror image are averaged, which takes twice as long; see
    `lesionsplit export --no-mirror`."""

    learning_rate: Positive = 1e-3
    warmup_steps: Count = 50
    """Steps over which the learning rate rises to `learning_rate`."""

    @property
    def learns_from_normals(self) -> bool:
        """Yes: without slices with lesion there is no self-training."""
        return True

    def scaled(self, factor: float) -> SynthesisSettings:
        """With self-training from the same share of the training on."""
        schedule = self.self_training
        changed = replace(
            schedule,
            start_step=scaled_steps(schedule.start_step, factor),
            ramp_steps=scaled_steps(schedule.ramp_steps, factor),
        )
        return replace(self, self_training=changed)

    def build(self, domain: Domain = LUNGS) -> SynthesisMethod:
        """The method, with fresh weights."""
        return SynthesisMethod(self, domain)

    def build_network(self, domain: Domain = LUNGS) -> LesionUNet:
        """The network alone, with fresh weights."""
        return LesionUNet(self.network, domain.channels)

    def infer(self, network: nn.Module, images: Tensor, domain: Domain = LUNGS) -> MethodOutput:
        """Score and healthy version of slices (B, 1, H, W) in network grey."""
        net = cast(LesionUNet, bare(network))
        parts = net.with_mirror(images, domain.lesion_part) if self.mirror_average else net(images)
        heat_map = score(parts.logit - net.logit_offset, images, self.calibration, domain)
        return MethodOutput(heat_map, images - domain.lesion_part(parts.added))


def score(logit: Tensor, images: Tensor, settings: Calibration, domain: Domain = LUNGS) -> Tensor:
    """The score of every pixel, 0 to 1, (B, 1, H, W), on one scale for all slices.

    Args:
        logit: (B, 1, H, W), relative to the logit that normal lung seldom exceeds.
        images: (B, C, H, W), network grey.
        settings: of the conversion.
        domain: of the images.
    """
    lungs = domain.region(images)
    inside = (
        (logit / (settings.temperature * domain.softness)).sigmoid()
        * domain.conspicuity(images, logit, settings)
        * lungs
    )
    return domain.score_rim(inside, lungs, settings.pleural_margin)


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
    """Weighted mean of (B, C, H, W) over a batch, with one more pixel of value 0: the mean over no pixel is 0."""
    return (values * weights).sum() / (values.shape[1] * (weights.sum() + 1))


def self_training_loss(parts: LesionOutput, predicted: Tensor, lungs: Tensor, margin: float) -> Tensor:
    """Cross-entropy and Dice with the predictions of the network's running average; a scalar.

    Args:
        parts: the network's output for slices with lesion.
        predicted: (B, 1, H, W), the average's logit, relative to the logit that normal lung seldom exceeds.
        lungs: (B, 1, H, W), 1 inside, where it may learn.
        margin: predictions nearer to 0 are left out.
    """
    target = (predicted > 0).to(predicted.dtype)
    counted = lungs * (predicted.abs() >= margin)
    cross_entropy = F.binary_cross_entropy_with_logits(parts.logit, target, reduction="none")
    return mean_over(cross_entropy, counted) + overlap_loss(parts.probability * counted, target * counted)


class SynthesisMethod(SingleNetworkMethod):
    """Trains the network on synthetic lesions and, later, on its own predictions."""

    def __init__(self, settings: SynthesisSettings, domain: Domain = LUNGS) -> None:
        self.settings, self.domain = settings, domain
        super().__init__(settings.build_network(domain), settings)
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
        settings, domain = self.settings, self.domain
        self._calibrate(batch.normal, number)
        own = settings.objective.own * self._self_training_weight(number) if len(batch.lesion) else 0.0
        synthetic = domain.draw(batch.normal, batch.images, settings)
        images = domain.vary(synthetic.images, synthetic.lungs, settings.scanner)
        if own:
            lungs = domain.region(batch.lesion)
            images = torch.cat([images, domain.vary(batch.lesion, lungs, settings.scanner)])
        parts: LesionOutput = self.network(images.contiguous(memory_format=torch.channels_last))
        paired = LesionOutput._make(part[: len(batch.normal)] for part in parts)
        terms = objective(paired, synthetic)
        weights = to_table(settings.objective) | {"own": own}
        if own:
            predicted = self._predict(batch.lesion)
            terms["own"] = self_training_loss(
                LesionOutput._make(part[len(batch.normal) :] for part in parts),
                predicted,
                lungs * domain.settled(predicted),
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
        logit: Tensor = teacher.with_mirror(images, self.domain.lesion_part).logit - teacher.logit_offset
        return logit

    @torch.no_grad()
    def _calibrate(self, normal: Tensor, number: int) -> None:
        """Update the running mean of the logit that normal lung seldom exceeds."""
        settings = self.settings.calibration
        if number % settings.update_every:
            return
        logits = self.teacher(normal).logit[self.domain.region(normal) > 0]
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

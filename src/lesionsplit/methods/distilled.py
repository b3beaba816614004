"""Our method: one network that learns from the scores of diffusion models and from synthetic lesions.

Its teachers (`Distillation`) are trained first, on image labels alone, and applied to the slices of train labelled
lesion (`training.distillation`). Their combined confidence is the soft target there (Hinton et al. 2015), so that the
student ranks pixels as they do. The target of slices labelled normal is zero, whatever the teachers' scores are: the
labels are more reliable. Half of these slices get synthetic lesions, more severe than those of train, with a known
target.

The network is the denoiser of `diffusion` with another last layer, and starts from the first teacher's weights. A
teacher needs 24 forward passes for a slice and its mirror image, the student two.

What is scored need not be what is taken off: with `healing`, healthy versions come from a branch of the network that
learns from the network's own m, and changes nothing else (`methods.healing`).

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
from lesionsplit.domains.base import Domain
from lesionsplit.domains.defects import DefectSettings
from lesionsplit.domains.lungs import LUNGS
from lesionsplit.errors import DataError, SettingsError
from lesionsplit.losses import Terms, masked_mean
from lesionsplit.methods.base import Distillation, MethodOutput, MethodSettings, mirror_mean
from lesionsplit.methods.healing import HealingSettings, healing_target
from lesionsplit.methods.optimisation import SingleNetworkMethod
from lesionsplit.networks.denoiser import Denoiser, DenoiserSettings, apply_without_noise
from lesionsplit.networks.healing import HealingDenoiser
from lesionsplit.networks.lesion_unet import INITIAL_LOGIT, LesionOutput
from lesionsplit.settings import Count, Fraction, NonNegative, Positive, Settings, to_table
from lesionsplit.synthesis.fields import blur
from lesionsplit.synthesis.lesions import LesionSettings, SyntheticLesions
from lesionsplit.synthesis.scanner import ScannerSettings


class Objective(Settings, frozen=True):
    """Weights of the terms of the loss; zero removes a term."""

    chance: NonNegative = 1.0
    """Cross-entropy between the probability m and the soft targets, or the targets of synthetic lesions."""

    lesion: NonNegative = 5.0
    """Mean |G2 - target|: what the teachers remove, or `Domain.full_lesion`, or what a synthetic lesion adds."""

    healing: NonNegative = 1.0
    """Mean |G2 - target| of the branch, with `DistilledSettings.healing` only."""


class SyntheticLesionSettings(Settings, frozen=True):
    """Synthetic lesions in normal slices, where both parts are known; more severe than in any slice of train."""

    lesions: LesionSettings = LesionSettings(slice_fraction=0.5, radius=16.0)

    defects: DefectSettings = DefectSettings(image_fraction=0.5)
    """In images of anything; see `domains.defects`."""

    half_confidence_contrast: Positive = 0.1
    """The target of a synthetic lesion is one half where it adds this fraction of the grey difference between
    parenchyma and dense vessels; in images other than lungs, of the range of network grey."""


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
    """The target of G2 in slices with lesion: false: what the teachers remove; true: `Domain.full_lesion`, with which
    healthy versions keep a quarter of a lesion instead of more than half."""

    healing: HealingSettings | None = None
    """Healthy versions from a branch of the network; by default they come from the output that learns from teachers."""

    pleural_margin: Fraction = 0.5
    """Fraction of its neighbours' highest score that a pixel just outside the lungs gets at least. The edge of the
    lung mask runs through pixels that are half lung, and annotators outline lesions at the pleura beyond it."""

    mirror_average: bool = True
    """Whether the outputs for a slice and for its mirror image are averaged, which takes twice as long; see
    `lesionsplit export --no-mirror`."""

    neighbour_weight: Fraction = 0.0
    """Weight of the score of a neighbouring slice of the same series, relative to the slice's own; a single slice has
    no neighbours."""

    learning_rate: Positive = 1e-3
    warmup_steps: Count = 50
    """Steps over which the learning rate rises to `learning_rate`."""

    def build(self, domain: Domain = LUNGS) -> DistilledMethod:
        """The method, with fresh weights."""
        return DistilledMethod(self, domain)

    def __post_init__(self) -> None:
        if self.healing is not None and self.full_lesion_removal:
            raise SettingsError(
                "method.full_lesion_removal: has no effect on healthy versions with [method.healing]; leave one of "
                "them out"
            )

    def build_network(self, domain: Domain = LUNGS) -> Denoiser:
        """The network alone, with fresh weights."""
        if self.healing is None:
            network = Denoiser(self.network, 1 + domain.channels, channels=domain.channels)
        else:
            network = HealingDenoiser(self.network, outputs=2)
        network.start_from(INITIAL_LOGIT)
        return network

    def infer(self, network: nn.Module, images: Tensor, domain: Domain = LUNGS) -> MethodOutput:
        """Score and healthy version of slices (B, C, H, W) in network grey."""
        output = mirror_mean(lambda one: decompose(network, one, domain)[-1], [images], self.mirror_average)
        parts, lungs = LesionOutput(*output), domain.region(images)
        score = (self.logit_scale * parts.logit + math.log(self.score_odds)).sigmoid() * domain.with_rim(lungs)
        healthy = images - domain.lesion_part(parts.added)
        return MethodOutput(domain.score_rim(score, lungs, self.pleural_margin), healthy)


def decompose(network: nn.Module, images: Tensor, domain: Domain = LUNGS) -> list[LesionOutput]:
    """The outputs of the network, a denoiser at noise level 0, for slices (B, C, H, W) in network grey.

    The first has the G2 that learns from teachers; the last, which may be the same, that of healthy versions.
    """
    output = apply_without_noise(network, images * SPREAD, domain.region(images))
    return [LesionOutput(output[:, :1], one) for one in torch.split(output[:, 1:], domain.channels, dim=1)]


def synthetic_targets(synthetic: SyntheticLesions, half: float, domain: Domain = LUNGS) -> Tensor:
    """Targets for m in slices with synthetic lesions, (B, 1, H, W), 0 to 1: a / (a + half) within their extent.

    Args:
        synthetic: slices with synthetic lesions.
        half: see `SyntheticLesionSettings.half_confidence_contrast`; a, what the lesion adds, is in the same unit.
        domain: of the slices.
    """
    added = domain.share(synthetic.healthy, blur(synthetic.images - synthetic.healthy, 1.0))
    return synthetic.extent * added / (added + half)


def objective(parts: LesionOutput, targets: Tensor, added: Tensor, lungs: Tensor, domain: Domain = LUNGS) -> Terms:
    """The terms of the loss, not yet weighted.

    Args:
        parts: the network's output for slices.
        targets: (B, 1, H, W), for m, from the teachers or of synthetic lesions, 0 to 1.
        added: (B, 1, H, W), what lesions add, in network grey, from the teachers or of synthetic lesions.
        lungs: (B, 1, H, W), 1 inside.
        domain: of the slices.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(parts.logit, targets, reduction="none")
    return {
        "chance": masked_mean(cross_entropy, domain.with_rim(lungs)),
        "lesion": masked_mean((parts.added - added).abs(), lungs),
    }


class DistilledMethod(SingleNetworkMethod):
    """Trains the network on the soft targets of its teachers, and on normal slices with synthetic lesions."""

    def __init__(self, settings: DistilledSettings, domain: Domain = LUNGS) -> None:
        self.settings, self.domain = settings, domain
        super().__init__(settings.build_network(domain), settings)

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
        settings, domain = self.settings, self.domain
        synthetic = domain.draw(batch.normal, batch.images, settings.synthetic_lesions)
        images = torch.cat([synthetic.images, batch.lesion])
        targets, healthy = batch.teacher_outputs
        added = batch.lesion - healthy
        if settings.full_lesion_removal:
            added = domain.full_lesion(batch.lesion, targets, healthy)
        lungs = domain.region(images)
        taught, *healed = decompose(self.network, domain.vary(images, lungs, settings.scanner), domain)
        drawn = synthetic.images - synthetic.healthy
        half = settings.synthetic_lesions.half_confidence_contrast
        terms = objective(
            taught,
            torch.cat([synthetic_targets(synthetic, half, domain), targets]),
            torch.cat([drawn, added]),
            lungs,
            domain,
        )
        if settings.healing is not None:
            chance = taught.probability.detach()[len(drawn) :]
            target = torch.cat([drawn, healing_target(batch.lesion, chance, settings.healing)])
            terms["healing"] = masked_mean((healed[0].added - target).abs(), lungs)
        return self.learn(terms, to_table(settings.objective), number)

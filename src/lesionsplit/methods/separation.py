"""The paper's framework with a critic whose gradient points at lesions.

A slice x is healthy lung plus lesion, x = G1(x) + G2(x), with G2 = m softplus(d) in the lungs, so eq. 1 holds exactly.
From image labels alone, four things are asked of the split:

* a normal slice has no lesion: mean G2 (eq. 2);
* the healthy version of a slice with lesion is one that the critic takes for a normal slice (eqs. 3 and 4);
* no more is taken off than that needs: mean G2 of slices with lesion, with a small weight;
* what was taken off one slice and put into a normal one is found there: of such a slice both parts are known, and
  real (`synthesis.transplant`). Without it, G2 may hold whatever the critic tolerates.

The network is first trained as a denoiser of slices of both labels. The score critic begins as its copy.

To change a term of the loss, change `objective`; to change its weight, `Objective`; to change the critic,
`methods/critics.py`.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, NamedTuple

import torch
import torch.nn.functional as F
from msgspec import Meta
from msgspec.structs import replace
from torch import Tensor, nn
from torch.optim import Optimizer

from lesionsplit.data.normalise import SPREAD
from lesionsplit.data.sampling import Batch
from lesionsplit.domains.base import Domain
from lesionsplit.domains.lungs import LUNGS
from lesionsplit.errors import SettingsError
from lesionsplit.losses import Terms, masked_mean
from lesionsplit.methods.adversarial import AdversarialMethod, frozen
from lesionsplit.methods.base import MethodOutput, MethodSettings, bare, mirror_mean, scaled_steps
from lesionsplit.methods.critics import (
    CriticChoice,
    DirectionCritic,
    ScoreCriticSettings,
    View,
    build_critic,
    denoising_loss,
    shape_blind,
)
from lesionsplit.methods.diffusion import draw_conditions
from lesionsplit.networks.denoiser import Condition, Denoiser, DenoiserSettings, apply_without_noise
from lesionsplit.settings import BelowOne, Count, Fraction, NonNegative, NonNegativeInt, Positive, Settings
from lesionsplit.synthesis.transplant import transplanted

HEALTHY_LOGIT = -3.0
"""Logit of m before training: G2 is 0.033 everywhere."""


class Objective(Settings, frozen=True):
    """Weights of the terms of the network's loss (eq. 5); zero removes a term: the ablations of Figure 4."""

    adversarial: NonNegative = 1.0
    """alpha 1: healthy versions move in the critic's direction, scaled to `critics.SIZE` (eq. 4). Zero: no critic."""

    fidelity: NonNegative = 1.0
    """alpha 3: the healthy version of a normal slice is the slice (eq. 2)."""

    sparsity: NonNegative = 0.15
    """Of mean |G2| in slices with lesion. Nothing else keeps a healthy version near its slice where the critic is
    wrong."""

    transplant: NonNegative = 2.0
    """Of mean |G2 - lesion| in normal slices with a lesion from another slice."""


class Pretraining(Settings, frozen=True):
    """The network as a denoiser of slices of both labels; see `diffusion`."""

    steps: NonNegativeInt = 1200
    learning_rate: Positive = 1e-3
    warmup_steps: Count = 50
    """Steps over which the learning rate rises to `learning_rate`."""

    label_dropout: BelowOne = 0.1
    """Fraction of slices whose label is dropped."""


class Optimisation(Settings, frozen=True):
    """Optimisers and schedule of network and critic, after pretraining."""

    learning_rate: Positive = 5e-4
    critic_learning_rate: Positive = 5e-4
    betas: tuple[BelowOne, BelowOne] = (0.5, 0.95)
    """Of Adam, of both."""

    max_grad_norm: Positive = 5.0
    """The network's gradients are clipped to this norm."""

    critic_steps: Count = 1
    """Steps of the critic for each step of the network."""

    critic_warmup_steps: NonNegativeInt = 0
    """Steps of the critic before the network's first; the other critics than ``score`` are untrained before."""

    transplant_from_step: NonNegativeInt = 60
    """Step after pretraining and the critic's warm-up from which on lesions are transplanted. An untrained G2 would be
    driven to zero."""


class SeparationSettings(MethodSettings, frozen=True, tag_field="name", tag="separation"):
    """All settings of the method."""

    network: DenoiserSettings = DenoiserSettings()
    critic: CriticChoice = ScoreCriticSettings()
    """What tells healthy versions from normal slices; see `methods.critics`."""

    objective: Objective = Objective()
    pretraining: Pretraining = Pretraining()
    optimisation: Optimisation = Optimisation()
    colour: Fraction = 1.0
    """How much stronger coarse noise is than fine noise; see `networks.denoiser.coloured`."""

    shape_blind: bool = False
    """Whether the critic gets each slice cut to the intersection of its lungs with those of a slice of the other label.
    The outline of the lungs alone tells the labels apart better than chance."""

    lesion_decoder: bool = True
    """False: the network predicts G1 alone, as a change of either sign; the score is what G1 lacks. An ablation of
    Figure 4."""

    initial_logit: Annotated[float, Meta(ge=-20, le=20)] = HEALTHY_LOGIT
    """Of m before training. An ablation without critic needs a start with lesions everywhere, such as 0: with none,
    there is nothing to take away and nothing to transplant."""

    heat_map: Literal["lesion", "probability"] = "lesion"
    """The score before scaling: half of G2, or m."""

    score_odds: Annotated[float, Meta(ge=1e-3, le=1e3)] = 1.0
    logit_scale: Annotated[float, Meta(ge=0.01, le=100)] = 1.0
    """The odds of the score are ``score_odds`` times those of the score before scaling to the power of
    ``logit_scale``, which keeps the ranking of pixels. The values of `separation.toml` were set on val of covid-cell,
    by `experiments/chances.py`."""

    pleural_margin: Fraction = 0.0
    """Fraction of its neighbours' highest score that a pixel just outside the lungs gets at least."""

    mirror_average: bool = True
    """Whether the outputs for a slice and for its mirror image are averaged, which takes twice as long; see
    `lesionsplit export --no-mirror`."""

    neighbour_weight: Fraction = 0.0
    """Weight of the score of a neighbouring slice of the same series, relative to the slice's own."""

    def __post_init__(self) -> None:
        if not self.lesion_decoder and self.heat_map == "probability":
            raise SettingsError(
                "method.heat_map: is probability, which a network without lesion decoder does not predict; set it to "
                "lesion"
            )

    @property
    def preparation_steps(self) -> int:
        """Those of pretraining."""
        return self.pretraining.steps

    def scaled(self, factor: float) -> SeparationSettings:
        """With pretraining, the critic's warm-up and the start of transplants at the same share of the training."""
        pretraining = replace(self.pretraining, steps=scaled_steps(self.pretraining.steps, factor))
        schedule = self.optimisation
        optimisation = replace(
            schedule,
            critic_warmup_steps=scaled_steps(schedule.critic_warmup_steps, factor),
            transplant_from_step=scaled_steps(schedule.transplant_from_step, factor),
        )
        return replace(self, pretraining=pretraining, optimisation=optimisation)

    def build(self, domain: Domain = LUNGS) -> SeparationMethod:
        """The method, with fresh weights."""
        return SeparationMethod(self, domain)

    def build_network(self, domain: Domain = LUNGS) -> Denoiser:
        """The network alone, with fresh weights. Its outputs are m's logit, d, and v, which pretraining alone needs."""
        network = Denoiser(self.network, 1 + 2 * domain.channels, conditions=len(Condition), channels=domain.channels)
        network.start_from(self.initial_logit if self.lesion_decoder else 0.0)
        return network

    def infer(self, network: nn.Module, images: Tensor, domain: Domain = LUNGS) -> MethodOutput:
        """Score and healthy version of slices (B, C, H, W) in network grey."""
        lungs = domain.region(images)
        split = partial(self.split, network, domain=domain)
        parts = Split(*mirror_mean(split, [images, lungs], self.mirror_average))
        score = domain.size(parts.lesion).clip(0, 2) / 2 if self.heat_map == "lesion" else parts.logit.sigmoid()
        present, absent = self.score_odds * score**self.logit_scale, (1 - score) ** self.logit_scale
        score = present / (present + absent) * lungs
        return MethodOutput(domain.score_rim(score, lungs, self.pleural_margin), images - parts.lesion)

    def split(self, network: nn.Module, images: Tensor, lungs: Tensor, domain: Domain = LUNGS) -> Split:
        """G2 of slices (B, C, H, W) in network grey, and the logit of m."""
        sizes = (1, domain.channels, domain.channels)
        logit, density, _ = apply_without_noise(network, images * SPREAD, lungs).split_with_sizes(sizes, dim=1)
        if not domain.signed:
            density = F.softplus(density)
        lesion = logit.sigmoid() * density if self.lesion_decoder else logit.expand_as(images)
        return Split(logit, lesion * lungs)


class Split(NamedTuple):
    """The network's output for slices. The healthy version is the slice less ``lesion``."""

    logit: Tensor
    """(B, 1, H, W), of m."""

    lesion: Tensor
    """(B, C, H, W), G2, network grey; 0 outside the lungs."""


def objective(normal: View, lesion: View, found: tuple[Tensor, Tensor], direction: Tensor | None) -> Terms:
    """The terms of the network's loss (eq. 5), not yet weighted, but for that of transplanted lesions.

    Args:
        normal: slices without lesion.
        lesion: slices with lesion.
        found: G2 of both, (B, 1, H, W) each.
        direction: in which the healthy versions of slices with lesion become more normal, (B, 1, H, W), without
            gradient; None: there is no critic.
    """
    terms = {
        "fidelity": masked_mean(found[0].abs(), normal.lungs),  # eq. 2
        "sparsity": masked_mean(found[1].abs(), lesion.lungs),
    }
    if direction is not None:
        healthy = lesion.images - found[1]  # eq. 1
        terms["adversarial"] = -masked_mean(direction * healthy, lesion.lungs)  # eq. 4
    return terms


class SeparationMethod(AdversarialMethod):
    """Trains network and critic, each with its optimiser, after pretraining the network."""

    critic: DirectionCritic

    def __init__(self, settings: SeparationSettings, domain: Domain = LUNGS) -> None:
        critic = build_critic(settings.critic, settings.network, settings.colour, domain.channels)
        super().__init__(
            settings.build_network(domain),
            critic,
            settings.optimisation,
            critic_loss=critic,
            max_grad_norm=settings.optimisation.max_grad_norm,
        )
        self.settings, self.domain = settings, domain

    def step(self, batch: Batch, number: int) -> Terms:
        """Pretrain on one batch; afterwards train the critic and, if the schedule says so, the network."""
        settings, schedule, domain = self.settings, self.settings.optimisation, self.domain
        if number < settings.pretraining.steps:
            return self._pretrain(batch, number)
        number -= settings.pretraining.steps
        if number == 0:
            self.critic.start_from(bare(self.network))
        _set_rate(self.network_optimizer, schedule.learning_rate)
        adversarial = bool(settings.objective.adversarial)
        first = schedule.critic_warmup_steps if adversarial else 0
        trains_network = not adversarial or (number >= first and (number + 1) % schedule.critic_steps == 0)
        normal, lesion = (View(images, domain.region(images)) for images in (batch.normal, batch.lesion))
        with torch.set_grad_enabled(trains_network):
            both = settings.split(self.network, batch.images, torch.cat([normal.lungs, lesion.lungs]), domain)
        in_normal, in_lesion = (Split(*parts) for parts in zip(*(one.chunk(2) for one in both), strict=True))
        measured, direction = self._train_critic(
            normal, View(lesion.images - in_lesion.lesion, lesion.lungs), trains_network
        )
        if not trains_network:
            return measured
        terms = objective(normal, lesion, (in_normal.lesion, in_lesion.lesion), direction)
        if settings.objective.transplant and number >= first + schedule.transplant_from_step:
            made = transplanted(normal.images, normal.lungs, in_lesion.lesion, domain.visible)
            found = settings.split(self.network, made.images, normal.lungs, domain).lesion
            terms["transplant"] = masked_mean((found - made.lesion).abs(), normal.lungs)
        return measured | self.train_network(terms, settings.objective)

    def _train_critic(self, normal: View, healed: View, wanted: bool) -> tuple[Terms, Tensor | None]:
        """One step of the critic, and the direction it gives, if that is wanted and there is a critic."""
        if not self.settings.objective.adversarial:
            return {}, None
        healed = healed._replace(images=healed.images.detach())
        if self.settings.shape_blind:
            normal, healed = shape_blind(normal, healed)
        terms = self.critic_loss(normal, healed)
        measured = self.descend_critic(terms, dict.fromkeys(terms, 1.0))
        with frozen(self.critic):
            return measured, self.critic.direction(healed) if wanted else None

    def _pretrain(self, batch: Batch, number: int) -> Terms:
        """One step of the network as a denoiser, on slices of both labels."""
        pretraining, images = self.settings.pretraining, batch.images
        _set_rate(self.network_optimizer, pretraining.learning_rate * min(1.0, (number + 1) / pretraining.warmup_steps))
        conditions = draw_conditions(batch, pretraining.label_dropout)
        loss = denoising_loss(self.network, View(images, self.domain.region(images)), conditions, self.settings.colour)
        self._descend(self.network_optimizer, loss)
        return {"denoising": loss.detach()}


def _set_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate

"""The paper's method: its objective, one training step, and the score of a slice.

To change a term of the loss, change `objective`; to change its weight, change `Objective`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from msgspec.structs import replace
from torch import Tensor, nn

from lesionsplit.data.sampling import Batch
from lesionsplit.domains.base import Domain
from lesionsplit.domains.lungs import LUNGS
from lesionsplit.losses import Terms, edge_weight
from lesionsplit.methods.adversarial import AdversarialMethod, frozen
from lesionsplit.methods.base import MethodOutput, MethodSettings, scaled_steps
from lesionsplit.networks.critic import Critic, CriticSettings
from lesionsplit.networks.decomposition import Decomposition, DecompositionNet, NetworkSettings
from lesionsplit.settings import BelowOne, Count, NonNegative, NonNegativeInt, Positive, Settings

Power = Literal["l1", "l2"]


class Objective(Settings, frozen=True):
    """Weights and choices of the network's loss. A weight of zero removes a term: the ablations of Figure 4."""

    adversarial: NonNegative = 0.01
    """alpha 1: the critic rates the healthy version as normal (eq. 4). Zero: no critic."""

    reconstruction: NonNegative = 100.0
    """alpha 2: the parts add up to the slice (eq. 1). Zero, with a residual heat map: no lesion decoder."""

    fidelity: NonNegative = 100.0
    """alpha 3: the healthy version of a normal slice is the slice (eq. 2)."""

    penalty: NonNegative = 10.0
    """lambda: gradient penalty of the critic (eq. 3)."""

    distance: Power = "l1"
    """p of the norm in eqs. 1 and 2; a mean over pixels of |difference|^p."""

    fidelity_distance: Literal["same", "l1", "l2"] = "same"
    """p of eq. 2 alone. ``l1`` penalises a faint change of a whole slice as much as a strong change of a few
    pixels, ``l2`` does not."""

    edge_weighting: bool = False
    """Weigh each pixel of eqs. 1 and 2 by (1 + |Sobel|)^2, as the authors' code does."""

    critic_inputs: Literal["all", "lesion"] = "all"
    """The healthy versions that the critic rates: those of all slices (eqs. 3 and 4), or only those of slices
    with lesion. With ``all``, half of them come from normal slices and look like them."""

    @property
    def power_of_fidelity(self) -> Power:
        """The p of eq. 2."""
        return self.distance if self.fidelity_distance == "same" else self.fidelity_distance


class Optimisation(Settings, frozen=True):
    """Optimisers and schedule."""

    learning_rate: Positive = 2e-4
    critic_learning_rate: Positive = 2e-4
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    """Of Adam; the authors' code has 0.5 and 0.9."""

    critic_steps: Count = 1
    """Steps of the critic for each step of the network."""

    critic_warmup_steps: NonNegativeInt = 0
    """Steps of the critic before the network's first: an untrained critic misleads the network."""


HeatMap = Literal["lesion", "lesion-rescaled", "residual", "residual-positive"]


class DecompositionSettings(MethodSettings, frozen=True, tag_field="name", tag="decomposition"):
    """All settings of the method."""

    random_stream: ClassVar[tuple[int, ...]] = ()  # the sampler's numbers again: harmless, and results depend on it

    network: NetworkSettings = NetworkSettings()
    critic: CriticSettings = CriticSettings()
    objective: Objective = Objective()
    optimisation: Optimisation = Optimisation()
    heat_map: HeatMap = "lesion"
    """How the score is computed; see `heat_map`."""

    def scaled(self, factor: float) -> DecompositionSettings:
        """With the critic's warm-up as a share of the training."""
        steps = scaled_steps(self.optimisation.critic_warmup_steps, factor)
        return replace(self, optimisation=replace(self.optimisation, critic_warmup_steps=steps))

    def build(self, domain: Domain = LUNGS) -> DecompositionMethod:
        """The method, with fresh weights."""
        return DecompositionMethod(self, domain)

    def build_network(self, domain: Domain = LUNGS) -> DecompositionNet:
        """The network alone, with fresh weights."""
        return DecompositionNet.build(self.network, domain.channels)

    def infer(self, network: nn.Module, images: Tensor, domain: Domain = LUNGS) -> MethodOutput:
        """Score and healthy version of slices (B, 1, H, W) in network grey."""
        parts: Decomposition = network(images)
        return MethodOutput(heat_map(images, parts, self.heat_map, domain), parts.healthy)


def objective(
    batch: Batch, normal: Decomposition, lesion: Decomposition, critic: nn.Module, settings: Objective
) -> Terms:
    """The terms of the network's loss (eq. 5), not yet weighted.

    Args:
        batch: normal slices and slices with lesion, (B, 1, H, W) each.
        normal: the network's output for the normal slices.
        lesion: the network's output for the slices with lesion.
        critic: rates a batch of healthy versions, (B,); not trained here.
        settings: the distance, and which healthy versions the critic rates.
    """
    whole = torch.cat([normal.whole, lesion.whole])
    edges = settings.edge_weighting
    terms = {
        "reconstruction": distance(batch.images, whole, settings.distance, edges=edges),  # eq. 1
        "fidelity": distance(batch.normal, normal.healthy, settings.power_of_fidelity, edges=edges),  # eq. 2
    }
    if settings.adversarial:
        terms["adversarial"] = -critic(critic_inputs(normal, lesion, settings)).mean()  # eq. 4
    return terms


def critic_inputs(normal: Decomposition, lesion: Decomposition, settings: Objective) -> Tensor:
    """The healthy versions that the critic rates, (B, 1, H, W)."""
    return torch.cat([normal.healthy, lesion.healthy]) if settings.critic_inputs == "all" else lesion.healthy


def distance(image: Tensor, approximation: Tensor, power: Power, *, edges: bool = False) -> Tensor:
    """Mean over pixels of |image - approximation|^p; with ``edges``, weighted by the edges of the image."""
    difference = (image - approximation).abs()
    if power == "l2":
        difference = difference.square()
    if edges:
        difference = difference * edge_weight(image)
    return difference.mean()


def heat_map(image: Tensor, parts: Decomposition, kind: HeatMap, domain: Domain = LUNGS) -> Tensor:
    """The score of every pixel, 0 to 1, (B, 1, H, W), on one scale for all slices.

    ``lesion`` is the part of G2 that a lesion can have: in lungs, which are less dense, the positive one.
    ``lesion-rescaled`` is the paper's "normalized from [-1, 1] to [0, 1]", in which no lesion is 0.5. ``residual`` is
    half of |x - G1|, the score of the authors' code, and ``residual-positive`` half of that part of x - G1.
    """
    if kind == "lesion":
        return domain.size(domain.lesion_part(parts.lesion)).clip(0, 1)
    if kind == "lesion-rescaled":
        lesion = parts.lesion if domain.channels == 1 else parts.lesion.mean(dim=1, keepdim=True)
        return ((lesion + 1) / 2).clip(0, 1)
    residual = (image - parts.healthy) / 2  # a difference of two values in [-1, 1]
    if kind == "residual":
        return domain.size(residual.abs())
    return domain.size(domain.lesion_part(residual)).clip(0, 1)


class DecompositionMethod(AdversarialMethod):
    """Trains network and critic, each with its optimiser."""

    def __init__(self, settings: DecompositionSettings, domain: Domain = LUNGS) -> None:
        network = settings.build_network(domain)  # before the critic: a seed means these weights
        super().__init__(network, Critic(settings.critic, domain.channels), settings.optimisation)
        self.settings = settings

    def step(self, batch: Batch, number: int) -> Terms:
        """Train the critic on the batch and, every `critic_steps`, the network.

        Both use the same forward pass of the network.
        """
        settings, schedule = self.settings.objective, self.settings.optimisation
        trains_network = number >= schedule.critic_warmup_steps and (number + 1) % schedule.critic_steps == 0
        with torch.set_grad_enabled(trains_network):
            parts = self.network(batch.images)
        normal, lesion = map(Decomposition._make, zip(*(part.chunk(2) for part in parts), strict=True))
        measured: Terms = {}
        if settings.adversarial:
            measured |= self.train_critic(batch.normal, critic_inputs(normal, lesion, settings), settings.penalty)
        if trains_network:
            with frozen(self.critic):
                measured |= self.train_network(objective(batch, normal, lesion, self.critic, settings), settings)
        return measured

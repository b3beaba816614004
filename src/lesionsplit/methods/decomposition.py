"""The paper's method: its objective, one training step, and how a slice is scored.

To change a term of the loss, change `objective`; to change its weight, change `Objective`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Literal

import torch
from lightning_fabric import Fabric
from msgspec import Meta
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from lesionsplit.data.sampling import Batch
from lesionsplit.losses import CriticLoss, Terms, edge_weight, weighted_sum
from lesionsplit.methods.base import Reading
from lesionsplit.networks.critic import Critic, CriticSettings
from lesionsplit.networks.decomposition import Decomposition, DecompositionNet, NetworkSettings
from lesionsplit.networks.unet import stride_of
from lesionsplit.settings import Settings

Weight = Annotated[float, Meta(ge=0)]
Rate = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]
Power = Literal["l1", "l2"]


class Objective(Settings, frozen=True):
    """What the network is asked for. A weight of zero takes a term out: the ablations of Figure 4."""

    adversarial: Weight = 0.01
    """alpha 1: the healthy version passes for a normal slice (eq. 4). Zero: no critic at all."""

    reconstruction: Weight = 100.0
    """alpha 2: the parts add up to the slice (eq. 1). Zero, with a heat map of the residual: no
    lesion decoder."""

    fidelity: Weight = 100.0
    """alpha 3: the healthy version of a normal slice is the slice (eq. 2)."""

    penalty: Weight = 10.0
    """lambda: the critic has slope one (eq. 3)."""

    distance: Power = "l1"
    """p of the norm in eqs. 1 and 2; a mean over pixels of |difference|^p."""

    fidelity_distance: Literal["same", "l1", "l2"] = "same"
    """p of eq. 2 alone, if it is to differ. ``l1`` minds a faint change of a whole slice as much as a
    strong one of a few pixels, ``l2`` does not."""

    edge_weighting: bool = False
    """Weigh each pixel of eqs. 1 and 2 by (1 + |Sobel|)^2, as the authors' code does."""

    judged: Literal["all", "lesion"] = "all"
    """Whose healthy versions the critic judges: those of every slice (eqs. 3 and 4), or of the slices
    with lesion only, which half the batch is not spent on telling normal slices from themselves."""

    @property
    def power_of_fidelity(self) -> Power:
        """The p of eq. 2."""
        return self.distance if self.fidelity_distance == "same" else self.fidelity_distance


class Optimisation(Settings, frozen=True):
    """How the objective is pursued."""

    learning_rate: Rate = 2e-4
    critic_learning_rate: Rate = 2e-4
    betas: tuple[Share, Share] = (0.9, 0.999)
    """Adam's; the authors' code has 0.5 and 0.9."""

    critic_steps: Annotated[int, Meta(ge=1)] = 1
    """Steps of the critic for each of the network."""

    critic_first: Annotated[int, Meta(ge=0)] = 0
    """Steps of the critic before the network's first: a critic that knows nothing only does harm."""


HeatMap = Literal["lesion", "lesion-rescaled", "residual", "residual-positive"]


class DecompositionSettings(Settings, frozen=True, tag_field="name", tag="decomposition"):
    """Everything about the method."""

    annotator: ClassVar[None] = None
    """Nobody's mask reaches it."""

    reach: ClassVar[int] = 0
    stream: ClassVar[tuple[int, ...]] = ()
    """Its penalty mixes with numbers that the sampler has used: harmless, and published results hang on it."""

    network: NetworkSettings = NetworkSettings()
    critic: CriticSettings = CriticSettings()
    objective: Objective = Objective()
    optimisation: Optimisation = Optimisation()
    heat_map: HeatMap = "lesion"
    """What is read as the score; see `heat_map`."""

    @property
    def stride(self) -> int:
        """Both sides of the canvas must be multiples of it."""
        return stride_of(self.network.channels)

    def build(self) -> DecompositionMethod:
        """The method, with fresh weights."""
        return DecompositionMethod(self)

    def build_network(self) -> DecompositionNet:
        """The network alone, with fresh weights."""
        return DecompositionNet.build(self.network)

    def read(self, network: nn.Module, images: Tensor) -> Reading:
        """Score and healthy version of slices (B, 1, H, W) in network grey."""
        parts: Decomposition = network(images)
        return Reading(heat_map(images, parts, self.heat_map), parts.healthy)


def objective(
    batch: Batch, normal: Decomposition, lesion: Decomposition, critic: nn.Module, settings: Objective
) -> Terms:
    """What the network is asked for (eq. 5), term by term, not yet weighted.

    Args:
        batch: normal slices and slices with lesion, (B, 1, H, W) each.
        normal: what the network makes of the normal slices.
        lesion: what it makes of the slices with lesion.
        critic: rates a batch of healthy versions; a constant here.
        settings: which distance, and whose healthy versions are judged.
    """
    whole = torch.cat([normal.whole, lesion.whole])
    edges = settings.edge_weighting
    terms = {
        "reconstruction": distance(batch.images, whole, settings.distance, edges=edges),  # eq. 1
        "fidelity": distance(batch.normal, normal.healthy, settings.power_of_fidelity, edges=edges),  # eq. 2
    }
    if settings.adversarial:
        terms["adversarial"] = -critic(judged(normal, lesion, settings)).mean()  # eq. 4
    return terms


def judged(normal: Decomposition, lesion: Decomposition, settings: Objective) -> Tensor:
    """The healthy versions that the critic judges."""
    return torch.cat([normal.healthy, lesion.healthy]) if settings.judged == "all" else lesion.healthy


def distance(image: Tensor, account: Tensor, power: Power, *, edges: bool = False) -> Tensor:
    """Mean over pixels of |image - account|^p, each pixel weighted by the image's edges if asked to."""
    difference = (image - account).abs()
    if power == "l2":
        difference = difference.square()
    if edges:
        difference = difference * edge_weight(image)
    return difference.mean()


def heat_map(image: Tensor, parts: Decomposition, kind: HeatMap) -> Tensor:
    """The score of every pixel, 0 to 1, (B, 1, H, W): one scale for all slices, never normalised per slice.

    ``lesion`` is G2 where it is positive: lesions are denser than lung. ``lesion-rescaled`` is the
    paper's "normalized from [-1, 1] to [0, 1]", in which no lesion is 0.5. ``residual`` is half of
    |x - G1|, what the authors' code scores, and ``residual-positive`` its positive side alone.
    """
    if kind == "lesion":
        return parts.lesion.clip(0, 1)
    if kind == "lesion-rescaled":
        return ((parts.lesion + 1) / 2).clip(0, 1)
    residual = (image - parts.healthy) / 2  # a difference of two values in [-1, 1]
    return residual.abs() if kind == "residual" else residual.clip(0, 1)


class DecompositionMethod:
    """Trains the decomposition: network and critic, each with its optimiser."""

    def __init__(self, settings: DecompositionSettings) -> None:
        self.settings = settings
        rates = settings.optimisation
        self.network: nn.Module = settings.build_network()
        self.critic = Critic(settings.critic)
        self.critic_loss: nn.Module = CriticLoss(self.critic)
        self.network_optimizer: Optimizer = Adam(self.network.parameters(), rates.learning_rate, rates.betas)
        self.critic_optimizer: Optimizer = Adam(self.critic_loss.parameters(), rates.critic_learning_rate, rates.betas)

    def setup(self, fabric: Fabric) -> None:
        """Hand modules and optimisers to Fabric, once, before the first step."""
        self.fabric = fabric
        for module in (self.network, self.critic_loss):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network, self.network_optimizer = fabric.setup(self.network, self.network_optimizer)
        self.critic_loss, self.critic_optimizer = fabric.setup(self.critic_loss, self.critic_optimizer)

    def state(self) -> dict[str, Any]:
        """Network, critic and their optimisers."""
        return {
            "network": self.network,
            "critic_loss": self.critic_loss,
            "network_optimizer": self.network_optimizer,
            "critic_optimizer": self.critic_optimizer,
        }

    def step(self, batch: Batch, number: int) -> Terms:
        """Train the critic on the batch and, when it is its turn, the network too.

        The network's one forward pass serves both: the critic sees its healthy versions as data.
        """
        settings, schedule = self.settings.objective, self.settings.optimisation
        trains_network = number >= schedule.critic_first and (number + 1) % schedule.critic_steps == 0
        with torch.set_grad_enabled(trains_network):
            parts = self.network(batch.images)
        normal, lesion = map(Decomposition._make, zip(*(part.chunk(2) for part in parts), strict=True))
        measured: Terms = {}
        if settings.adversarial:
            terms: Terms = self.critic_loss(batch.normal, judged(normal, lesion, settings).detach())
            self._descend(self.critic_optimizer, weighted_sum(terms, {"critic": 1.0, "penalty": settings.penalty}))
            measured |= terms
        if trains_network:
            with frozen(self.critic):
                terms = objective(batch, normal, lesion, self.critic, settings)
                weights = {name: getattr(settings, name) for name in terms}
                self._descend(self.network_optimizer, weighted_sum(terms, weights))
            measured |= terms
        return {name: term.detach() for name, term in measured.items()}

    def _descend(self, optimizer: Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.fabric.backward(loss)
        optimizer.step()


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Let gradients through ``module`` without collecting any for its parameters."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)

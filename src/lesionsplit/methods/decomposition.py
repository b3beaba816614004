"""The paper's method: its objective, one training step, and how a slice is scored.

To change a term of the loss, change `objective`; to change its weight, change `Objective`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from msgspec import Meta
from torch import Tensor, nn

from lesionsplit.data.sampling import Batch
from lesionsplit.losses import Terms, edge_weight
from lesionsplit.methods.adversarial import AdversarialMethod, frozen
from lesionsplit.methods.base import Reading
from lesionsplit.networks.critic import CriticSettings
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

    teaching: ClassVar[None] = None
    neighbours: ClassVar[float] = 0.0
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


class DecompositionMethod(AdversarialMethod):
    """Trains the decomposition: network and critic, each with its optimiser."""

    def __init__(self, settings: DecompositionSettings) -> None:
        super().__init__(settings.build_network(), settings.critic, settings.optimisation)
        self.settings = settings

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
            measured |= self.train_critic(batch.normal, judged(normal, lesion, settings), settings.penalty)
        if trains_network:
            with frozen(self.critic):
                measured |= self.train_network(objective(batch, normal, lesion, self.critic, settings), settings)
        return {name: term.detach() for name, term in measured.items()}

"""The paper's method: its objective, one training step, and the score of a slice.

To change a term of the loss, change `objective`; its weight is in the settings of the twin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import mindspore
import torch
from mindspore import Tensor, ops

from lesionsplit.data.sampling import Batch
from lesionsplit.losses import Terms
from lesionsplit.methods.decomposition import DecompositionMethod as TorchMethod
from lesionsplit.methods.decomposition import DecompositionSettings, HeatMap, Objective, Power
from lesionsplit.mindspore.losses import CRITIC_TERMS, CriticLoss, Values, edge_weight, weighted_sum
from lesionsplit.mindspore.methods.adversarial import Adam
from lesionsplit.mindspore.networks.critic import Critic
from lesionsplit.mindspore.networks.decomposition import DecompositionNet, Parts
from lesionsplit.mindspore.tensors import Part, as_tensor, as_terms, load

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Compiled: TypeAlias = Callable[[Tensor, Tensor, Tensor], Values]
"""A step as a graph: from slices, the fake for each real, and where between the two, to the terms of the losses."""


def objective(images: Tensor, parts: Parts, critic: Callable[[Tensor], Tensor], settings: Objective) -> Values:
    """The terms of the network's loss (eq. 5), not yet weighted, in the order of `network_terms`.

    Args:
        images: (2B, 1, H, W), B normal slices, then B with lesion.
        parts: the network's output for them.
        critic: rates a batch of healthy versions, (B,); not trained here.
        settings: the distance, and which healthy versions the critic rates.
    """
    healthy, lesion = parts
    normal = images.shape[0] // 2
    edges = settings.edge_weighting
    reconstruction = distance(images, healthy + lesion, settings.distance, edges)  # eq. 1
    fidelity = distance(images[:normal], healthy[:normal], settings.power_of_fidelity, edges)  # eq. 2
    if not settings.adversarial:
        return reconstruction, fidelity
    return reconstruction, fidelity, -critic(critic_inputs(healthy, settings)).mean()  # eq. 4


def network_terms(settings: Objective) -> tuple[str, ...]:
    """Names of the terms of `objective`, and of their weights."""
    return ("reconstruction", "fidelity", "adversarial") if settings.adversarial else ("reconstruction", "fidelity")


def critic_inputs(healthy: Tensor, settings: Objective) -> Tensor:
    """The healthy versions that the critic rates, (B, 1, H, W)."""
    return healthy if settings.critic_inputs == "all" else healthy[healthy.shape[0] // 2 :]


def distance(image: Tensor, approximation: Tensor, power: Power, edges: bool = False) -> Tensor:
    """Mean over pixels of |image - approximation|^p; with ``edges``, weighted by the edges of the image."""
    difference = ops.abs(image - approximation)
    if power == "l2":
        difference = ops.square(difference)
    if edges:
        difference = difference * edge_weight(image)
    return difference.mean()


def heat_map(image: Tensor, parts: Parts, kind: HeatMap) -> Tensor:
    """The score of every pixel, 0 to 1, (B, 1, H, W), on one scale for all slices; see the twin."""
    healthy, lesion = parts
    if kind == "lesion":
        return ops.clamp(lesion, 0, 1)
    if kind == "lesion-rescaled":
        return ops.clamp((lesion + 1) / 2, 0, 1)
    residual = (image - healthy) / 2  # a difference of two values in [-1, 1]
    return ops.abs(residual) if kind == "residual" else ops.clamp(residual, 0, 1)


class DecompositionMethod:
    """Trains network and critic, each with its optimiser; for the training loop it is a `methods.base.Method`.

    Its fresh weights and its random numbers are those of the twin, so that a seed means the same in both frameworks.
    """

    def __init__(self, settings: DecompositionSettings, twin: TorchMethod) -> None:
        """``twin``: gives the weights."""
        self.settings = settings
        self.network = DecompositionNet.build(settings.network).set_train()
        self.critic_loss = CriticLoss(Critic(settings.critic)).set_train()
        load(self.network.get_parameters(), twin.network.state_dict())
        load(self.critic_loss.get_parameters(), twin.critic_loss.state_dict())
        rates = settings.optimisation
        self.network_optimizer = Adam("network", self.network.trainable_params(), rates.learning_rate, rates.betas)
        self.critic_optimizer = Adam(
            "critic", self.critic_loss.trainable_params(), rates.critic_learning_rate, rates.betas
        )
        self._train_both, self._train_critic = self._compile()

    def setup(self, fabric: Fabric) -> None:
        """Nothing: Fabric is PyTorch's, and reads the data only."""

    def state(self) -> dict[str, Part]:
        """Network, critic and their optimisers."""
        return {
            "network": Part(self.network.get_parameters()),
            "critic_loss": Part(self.critic_loss.get_parameters()),
            "network_optimizer": Part(self.network_optimizer.state),
            "critic_optimizer": Part(self.critic_optimizer.state),
        }

    def step(self, batch: Batch, number: int) -> Terms:
        """Train the critic on the batch and, every `critic_steps`, the network.

        Both use the same forward pass of the network.
        """
        settings, schedule = self.settings.objective, self.settings.optimisation
        trains_network = number >= schedule.critic_warmup_steps and (number + 1) % schedule.critic_steps == 0
        real = len(batch.normal)
        fake = 2 * real if settings.critic_inputs == "all" else real
        order = torch.randperm(fake)[:real] if settings.adversarial else torch.arange(real)
        mix = torch.rand(real, 1, 1, 1)
        inputs = map(as_tensor, (batch.images, order.int(), mix))
        names = CRITIC_TERMS if settings.adversarial else ()
        if trains_network:
            return as_terms((*names, *network_terms(settings)), self._train_both(*inputs))
        return as_terms(names, self._train_critic(*inputs)) if names else {}

    def _compile(self) -> tuple[Compiled, Compiled]:
        """Two graphs: a step of the critic and then of the network, and a step of the critic alone.

        The critic learns inside the function whose gradient the network follows, so that both share a forward pass.
        """
        settings, network, critic_loss = self.settings.objective, self.network, self.critic_loss
        network_optimizer, critic_optimizer = self.network_optimizer, self.critic_optimizer
        critic_weights = 1.0, settings.penalty
        network_weights = tuple(getattr(settings, name) for name in network_terms(settings))

        def critic_loss_of(real: Tensor, fake: Tensor, order: Tensor, mix: Tensor) -> tuple[Tensor, Values]:
            terms = critic_loss(real, fake, order, mix)
            return weighted_sum(terms, critic_weights), terms

        critic_gradient = mindspore.value_and_grad(critic_loss_of, None, critic_optimizer.weights, has_aux=True)

        def train_critic(images: Tensor, healthy: Tensor, order: Tensor, mix: Tensor) -> Values:
            fake = ops.stop_gradient(critic_inputs(healthy, settings))
            losses, gradients = critic_gradient(images[: images.shape[0] // 2], fake, order, mix)
            critic_optimizer(gradients)
            return losses[1]

        def network_loss_of(images: Tensor, order: Tensor, mix: Tensor) -> tuple[Tensor, Values, Values]:
            parts = network(images)
            measured = train_critic(images, parts[0], order, mix) if settings.adversarial else ()
            terms = objective(images, parts, critic_loss.critic, settings)
            return weighted_sum(terms, network_weights), measured, terms

        network_gradient = mindspore.value_and_grad(network_loss_of, None, network_optimizer.weights, has_aux=True)

        def train_both(images: Tensor, order: Tensor, mix: Tensor) -> Values:
            losses, gradients = network_gradient(images, order, mix)
            network_optimizer(gradients)
            return losses[1] + losses[2]

        def train_critic_alone(images: Tensor, order: Tensor, mix: Tensor) -> Values:
            return train_critic(images, network(images)[0], order, mix)

        return mindspore.jit(train_both), mindspore.jit(train_critic_alone)

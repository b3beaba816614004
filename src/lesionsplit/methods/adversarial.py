"""What the methods share that train a network against a critic: the two, their optimisers, and how each learns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from lesionsplit.losses import CriticLoss, Terms, weighted_sum
from lesionsplit.networks.critic import Critic, CriticSettings
from lesionsplit.settings import Settings


class Rates(Protocol):
    """Adam's settings for both."""

    @property
    def learning_rate(self) -> float:
        """The network's."""

    @property
    def critic_learning_rate(self) -> float:
        """The critic's."""

    @property
    def betas(self) -> tuple[float, float]:
        """Of both."""


class AdversarialMethod:
    """A network and its critic, each with its optimiser; which learns when, and from what, a method says."""

    def __init__(self, network: nn.Module, critic: CriticSettings, rates: Rates) -> None:
        self.network = network
        self.critic = Critic(critic)
        self.critic_loss: nn.Module = CriticLoss(self.critic)
        self.network_optimizer: Optimizer = Adam(
            self.network.parameters(), rates.learning_rate, rates.betas, fused=True
        )
        self.critic_optimizer: Optimizer = Adam(
            self.critic_loss.parameters(), rates.critic_learning_rate, rates.betas, fused=True
        )

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

    def train_critic(self, real: Tensor, fake: Tensor, penalty: float) -> Terms:
        """A step of the critic on normal slices and on what the network made, (B, C, H, W); its terms (eq. 3)."""
        terms: Terms = self.critic_loss(real, fake.detach())
        self._descend(self.critic_optimizer, weighted_sum(terms, {"critic": 1.0, "penalty": penalty}))
        return terms

    def train_network(self, terms: Terms, objective: Settings) -> Terms:
        """A step of the network on terms that the fields of ``objective`` weigh; the terms.

        What rated its work is to be `frozen` meanwhile.
        """
        self._descend(self.network_optimizer, weighted_sum(terms, {name: getattr(objective, name) for name in terms}))
        return terms

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

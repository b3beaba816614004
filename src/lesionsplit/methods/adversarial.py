"""Shared by the methods with a critic: network and critic, their optimisers and one step of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from lesionsplit.losses import CriticLoss, Terms, detached, weighted_sum
from lesionsplit.settings import Settings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Rates(Protocol):
    """Settings of Adam for network and critic."""

    @property
    def learning_rate(self) -> float:
        """Of the network."""

    @property
    def critic_learning_rate(self) -> float:
        """Of the critic."""

    @property
    def betas(self) -> tuple[float, float]:
        """Of both."""


class AdversarialMethod:
    """A network and its critic, each with its optimiser; subclasses define `step`."""

    def __init__(
        self,
        network: nn.Module,
        critic: nn.Module,
        rates: Rates,
        *,
        critic_loss: nn.Module | None = None,
        max_grad_norm: float | None = None,
    ) -> None:
        """Network and critic, with fresh optimisers.

        Args:
            network: trained with the critic's help.
            critic: rates slices.
            rates: of both.
            critic_loss: the critic and its loss in one module; by default `CriticLoss`.
            max_grad_norm: the network's gradients are clipped to this norm; None: they are not clipped.
        """
        self.network = network
        self.critic = critic
        self.critic_loss = critic_loss or CriticLoss(critic)
        self.max_grad_norm = max_grad_norm
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
        """One step of the critic; returns its terms (eq. 3), detached.

        Args:
            real: normal slices, (B, C, H, W).
            fake: slices made by the network, (B, C, H, W).
            penalty: weight of the gradient penalty.
        """
        return self.descend_critic(self.critic_loss(real, fake.detach()), {"critic": 1.0, "penalty": penalty})

    def descend_critic(self, terms: Terms, weights: Mapping[str, float]) -> Terms:
        """One step of the critic on the weighted terms of its loss; returns them detached."""
        self._descend(self.critic_optimizer, weighted_sum(terms, weights))
        return detached(terms)

    def train_network(self, terms: Terms, objective: Settings) -> Terms:
        """One step of the network; returns the terms, detached. The critic must be `frozen` meanwhile.

        Args:
            terms: of the loss.
            objective: has a field with the weight of each term.
        """
        self._descend(self.network_optimizer, weighted_sum(terms, {name: getattr(objective, name) for name in terms}))
        return detached(terms)

    def _descend(self, optimizer: Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.fabric.backward(loss)
        if optimizer is self.network_optimizer and self.max_grad_norm is not None:
            self.fabric.clip_gradients(self.network, optimizer, max_norm=self.max_grad_norm, error_if_nonfinite=False)
        optimizer.step()


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Let gradients pass through ``module`` without collecting any for its parameters."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)

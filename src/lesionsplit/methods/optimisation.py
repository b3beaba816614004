"""Shared by the methods that train one network: its optimiser, and one step of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from lesionsplit.losses import Terms, detached, weighted_sum

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Rates(Protocol):
    """How fast the network learns."""

    @property
    def learning_rate(self) -> float:
        """Of AdamW, after warm-up."""

    @property
    def warmup_steps(self) -> int:
        """Steps over which the learning rate rises to `learning_rate`."""


class SingleNetworkMethod:
    """A network with its optimiser; subclasses define `step`."""

    def __init__(
        self, network: nn.Module, rates: Rates, *, weight_decay: float = 1e-4, max_grad_norm: float | None = 5.0
    ) -> None:
        """``max_grad_norm``: gradients are clipped to this norm; None: they are not clipped."""
        self.network = network
        self.rates = rates
        self.max_grad_norm = max_grad_norm
        self.optimizer: Optimizer = AdamW(
            network.parameters(), rates.learning_rate, weight_decay=weight_decay, fused=True
        )

    def setup(self, fabric: Fabric) -> None:
        """Hand module and optimiser to Fabric, once, before the first step."""
        self.fabric = fabric
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network, self.optimizer = fabric.setup(self.network, self.optimizer)

    def state(self) -> dict[str, Any]:
        """Network and optimiser."""
        return {"network": self.network, "optimizer": self.optimizer}

    def learn(self, terms: Terms, weights: Mapping[str, float], number: int) -> Terms:
        """One step of the optimiser, the ``number``-th from 0, on the weighted terms; returns them detached."""
        self._descend(weighted_sum(terms, weights), number)
        return detached(terms)

    def _descend(self, loss: Tensor, number: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rates.learning_rate * min(1.0, (number + 1) / self.rates.warmup_steps)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        if self.max_grad_norm is not None:
            self.fabric.clip_gradients(
                self.network, self.optimizer, max_norm=self.max_grad_norm, error_if_nonfinite=False
            )
        self.optimizer.step()

"""What the methods share that train one network: its optimiser, and how it learns."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer


class Rates(Protocol):
    """How fast the network learns."""

    @property
    def learning_rate(self) -> float:
        """AdamW's, once it is at its full height."""

    @property
    def warm_up(self) -> int:
        """Steps over which it grows to that."""


class SingleNetworkMethod:
    """A network with its optimiser; what it learns from, a method says."""

    def __init__(
        self, network: nn.Module, rates: Rates, *, weight_decay: float = 1e-4, steepest: float | None = 5.0
    ) -> None:
        """``steepest``: a longer gradient is shortened to that; None leaves it as it is."""
        self.network = network
        self.rates = rates
        self.steepest = steepest
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

    def descend(self, loss: Tensor, number: int) -> None:
        """A step of the optimiser, the ``number``-th from 0, on a scalar."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rates.learning_rate * min(1.0, (number + 1) / self.rates.warm_up)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        if self.steepest is not None:
            self.fabric.clip_gradients(self.network, self.optimizer, max_norm=self.steepest, error_if_nonfinite=False)
        self.optimizer.step()

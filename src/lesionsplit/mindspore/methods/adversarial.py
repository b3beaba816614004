"""The optimiser of network and critic."""

from __future__ import annotations

import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

EPSILON = 1e-8
"""PyTorch's default for Adam."""


class Adam(nn.Cell):
    """Adam (Kingma and Ba 2015, algorithm 1), as in PyTorch.

    MindSpore's kernel adds epsilon to the second moment before its bias is corrected. It gets an epsilon times that
    correction, sqrt(1 - beta2^t), which is the same as PyTorch's epsilon after it.
    """

    def __init__(self, name: str, parameters: list[Parameter], rate: float, betas: tuple[float, float]) -> None:
        """``name``: of the optimiser, so that the names of two do not collide in a graph."""
        super().__init__(auto_prefix=False)
        self.weights = ParameterTuple(parameters)
        self.exp_avg = self.weights.clone(prefix=f"{name}.exp_avg", init="zeros")
        self.exp_avg_sq = self.weights.clone(prefix=f"{name}.exp_avg_sq", init="zeros")
        self.step = Parameter(Tensor(np.array(0, np.float32)), name=f"{name}.step", requires_grad=False)
        self.rate, self.first, self.second = rate, *betas
        self.kernel = ops.Adam()

    @property
    def state(self) -> list[Parameter]:
        """What it keeps from step to step."""
        return [*self.exp_avg, *self.exp_avg_sq, self.step]

    def construct(self, gradients: tuple[Tensor, ...]) -> Tensor:
        """One step; returns the number of steps."""
        ops.assign_add(self.step, 1.0)
        first, second = ops.pow(self.first, self.step), ops.pow(self.second, self.step)
        epsilon = EPSILON * ops.sqrt(1 - second)
        rates = self.rate, self.first, self.second, epsilon
        for at in range(len(self.weights)):
            moments = self.exp_avg[at], self.exp_avg_sq[at]
            self.kernel(self.weights[at], *moments, first, second, *rates, gradients[at])
        return self.step

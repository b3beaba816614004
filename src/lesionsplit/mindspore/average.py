"""The exponential moving average of a network's weights. The twin is `torch.optim.swa_utils.AveragedModel`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import mindspore
import torch
from mindspore import ParameterTuple, nn, ops

from lesionsplit.mindspore.tensors import load, state_of

PREFIX = "module."
"""Of the names of averages, before those of the weights."""


class RunningAverage:
    """Averages of all parameters of a network, batch norm's statistics included."""

    def __init__(self, network: nn.Cell, decay: float, build_network: Callable[[], torch.nn.Module]) -> None:
        """``build_network``: makes the PyTorch twin of the network, see `module`."""
        self.weights = ParameterTuple(network.get_parameters())
        self.averages = self.weights.clone(prefix=PREFIX.rstrip("."), init="same")
        self.n_averaged = 0
        self._build_network = build_network
        self._update = _compile(self.weights, self.averages, decay)

    def update_parameters(self, _: nn.Cell) -> None:
        """Move the averages towards the weights of the network; the first time, they become equal."""
        if self.n_averaged == 0:
            load(self.averages, {PREFIX + name: value for name, value in state_of(self.weights).items()})
        else:
            self._update()
        self.n_averaged += 1

    @property
    def module(self) -> torch.nn.Module:
        """The PyTorch twin with the averages: what becomes the model."""
        network = self._build_network()
        network.load_state_dict({one.removeprefix(PREFIX): value for one, value in state_of(self.averages).items()})
        return network

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Copies of averages and their count."""
        return {"n_averaged": torch.tensor(self.n_averaged), **state_of(self.averages)}

    def load_state_dict(self, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Set averages and count."""
        tensors = dict(state_dict)
        self.n_averaged = int(tensors.pop("n_averaged"))
        load(self.averages, tensors)


def _compile(weights: ParameterTuple, averages: ParameterTuple, decay: float) -> Callable[[], None]:
    def update() -> None:
        for at in range(len(weights)):
            weight, average = weights[at], averages[at]
            if average.dtype == mindspore.int64:  # the batches that batch norm has counted
                ops.assign(average, ops.cast(decay * average + (1 - decay) * weight, mindspore.int64))
            else:
                ops.assign(average, average + (1 - decay) * (weight - average))

    return mindspore.jit(update)

"""The border between the frameworks: weights as PyTorch's tensors, under the same names, through numpy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from mindspore import Parameter, Tensor


def state_of(parameters: Iterable[Parameter]) -> dict[str, torch.Tensor]:
    """Copies of parameters by name."""
    return {one.name: torch.from_numpy(np.array(one.asnumpy())) for one in parameters}


def load(parameters: Iterable[Parameter], tensors: Mapping[str, torch.Tensor]) -> None:
    """Set parameters, each from the tensor of its name.

    Raises:
        ValueError: names, shapes or types differ: the twins are not alike.
    """
    own = {one.name: one for one in parameters}
    if own.keys() != tensors.keys():
        raise ValueError(f"the names of the weights differ: {sorted(own.keys() ^ tensors.keys())}")
    for name, parameter in own.items():
        value = tensors[name].detach().cpu().contiguous().numpy()
        if value.shape != parameter.shape or value.dtype != parameter.asnumpy().dtype:
            raise ValueError(f"{name} is {value.dtype} {value.shape}, not {parameter.dtype} {parameter.shape}")
        parameter.set_data(Tensor(value))


class Part:
    """Parameters as the part of a training that a checkpoint holds: see `training.checkpoint.Part`."""

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self.parameters = list(parameters)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Copies of the parameters by name."""
        return state_of(self.parameters)

    def load_state_dict(self, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Set all parameters."""
        load(self.parameters, state_dict)


def as_tensor(array: torch.Tensor) -> Tensor:
    """A tensor of PyTorch as one of MindSpore."""
    return Tensor(array.contiguous().numpy())


def as_terms(names: Iterable[str], values: Iterable[Tensor]) -> dict[str, torch.Tensor]:
    """Terms of a loss by name, as tensors of PyTorch."""
    return {name: torch.tensor(value.asnumpy()) for name, value in zip(names, values, strict=True)}

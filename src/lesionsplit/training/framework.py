"""What differs between the frameworks in a training; the loop, the run and the data are the same for all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from lightning_fabric import Fabric
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lesionsplit.errors import RunError, SettingsError
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.methods.base import Method, bare
from lesionsplit.models.model import Model
from lesionsplit.models.torch_engine import TorchEngine

if TYPE_CHECKING:
    from lesionsplit.runtime import FrameworkName
    from lesionsplit.training.run import RunSettings


class Average(Protocol):
    """The running average of a network's weights: a part of the checkpoint, see `training.checkpoint.Part`."""

    @property
    def module(self) -> nn.Module:
        """A network of PyTorch with the averages."""

    def update_parameters(self, model: Any, /) -> None:
        """Move the averages towards the weights of the network."""

    def state_dict(self) -> dict[str, Any]:
        """Averages and their count."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> object:
        """Set averages and count."""


class Framework(Protocol):
    """What computes the steps of a training."""

    @property
    def host_device(self) -> str:
        """The device of PyTorch that prepares the batches."""

    def facts(self, fabric: Fabric) -> dict[str, str]:
        """For run.json: at least the device."""

    def start(self, method: Method) -> Method:
        """The method in this framework, from its fresh form in PyTorch."""

    def running_average(self, method: Method, decay: float) -> Average:
        """The exponential moving average of the network's weights, batch norm's statistics included."""

    def predictor(self, model: Model, fabric: Fabric) -> SlicePredictor:
        """Predicts with a trained model."""


class TorchFramework:
    """PyTorch, through Fabric."""

    def __init__(self, device: str = "auto") -> None:
        self.host_device = device

    def facts(self, fabric: Fabric) -> dict[str, str]:
        """The device."""
        return {"device": str(fabric.device)}

    def start(self, method: Method) -> Method:
        """The method itself."""
        return method

    def running_average(self, method: Method, decay: float) -> AveragedModel:
        """`running_average`."""
        return running_average(method, decay)

    def predictor(self, model: Model, fabric: Fabric) -> SlicePredictor:
        """On Fabric's device."""
        return SlicePredictor(TorchEngine(model, str(fabric.device)))


def running_average(method: Method, decay: float) -> AveragedModel:
    """The exponential moving average of the network's weights, batch norm's statistics included."""
    averaging = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(bare(method.network), multi_avg_fn=averaging, use_buffers=True)


def open_framework(name: FrameworkName, settings: RunSettings, device: str) -> Framework:
    """The framework for a training.

    Raises:
        SettingsError: it is not installed, has no form of the method, or does not run on the device.
        RunError: it trains in one process only.
    """
    if name == "torch":
        return TorchFramework(device)
    from lesionsplit.mindspore.install import require_form, require_mindspore

    require_form(settings.method)
    if settings.training.precision != "fp32":
        raise SettingsError(f"training.precision: is {settings.training.precision}; allowed with mindspore: fp32")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise RunError("--framework: mindspore trains in one process; leave torchrun out, or the framework")
    require_mindspore()
    from lesionsplit.training.mindspore_framework import MindSporeFramework

    return MindSporeFramework(device)

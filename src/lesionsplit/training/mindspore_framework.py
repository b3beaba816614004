"""MindSpore as the framework of a training."""

from __future__ import annotations

from typing import cast

import mindspore
from lightning_fabric import Fabric

from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.methods.base import Method
from lesionsplit.methods.decomposition import DecompositionMethod as TorchMethod
from lesionsplit.mindspore.average import RunningAverage
from lesionsplit.mindspore.install import choose_device, use_threads_of_torch
from lesionsplit.mindspore.methods.decomposition import DecompositionMethod
from lesionsplit.models.mindspore_engine import MindSporeEngine
from lesionsplit.models.model import Model


class MindSporeFramework:
    """MindSpore on one device; PyTorch prepares the batches on the CPU, and draws the random numbers."""

    host_device = "cpu"

    def __init__(self, device: str) -> None:
        """Choose the device, for the whole process.

        Raises:
            SettingsError: it is not available.
        """
        self.device = choose_device(device)
        use_threads_of_torch()

    def facts(self, _: Fabric) -> dict[str, str]:
        """Framework, version and device."""
        return {"device": self.device, "framework": "mindspore", "mindspore": mindspore.__version__}

    def start(self, method: Method) -> Method:
        """The method's twin, with its weights."""
        twin = cast(TorchMethod, method)
        return cast(Method, DecompositionMethod(twin.settings, twin))

    def running_average(self, method: Method, decay: float) -> RunningAverage:
        """The average, on the device."""
        own = cast(DecompositionMethod, method)
        return RunningAverage(own.network, decay, own.settings.build_network)

    def predictor(self, model: Model, _: Fabric) -> SlicePredictor:
        """On the device of the training."""
        return SlicePredictor(MindSporeEngine(model, self.device))

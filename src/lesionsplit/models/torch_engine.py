"""PyTorch as an engine: for methods that ONNX cannot express, for weights that were not exported, and on GPUs."""

from __future__ import annotations

import torch

from lesionsplit.images import Float
from lesionsplit.models.device import choose_device
from lesionsplit.models.engine import EngineOutput
from lesionsplit.models.model import Model


class TorchEngine:
    """Runs a model in PyTorch.

    Raises:
        SettingsError: the device is not available.
    """

    def __init__(self, model: Model, device: str = "auto") -> None:
        self.model = model
        self.card = model.card.for_prediction()
        self.parameters = model.parameters
        self.device = choose_device(device)
        model.network.to(self.device)

    @property
    def name(self) -> str:
        """PyTorch's version and the device."""
        return f"torch {torch.__version__} on {self.device}"

    def infer(self, canvases: Float) -> EngineOutput:
        """Run the network on canvases, (B, C, H, W), network grey."""
        with torch.inference_mode():
            images = torch.from_numpy(canvases).to(self.device, memory_format=torch.channels_last)
            output = self.model.infer(images)
            score, healthy = (part.float().squeeze(1).cpu().numpy() for part in (output.score, output.healthy))
            presence = None if output.presence is None else output.presence.float().cpu().numpy()
        return EngineOutput(score, healthy, presence).checked(canvases)

"""The engine that is always there: torch, on any device."""

from __future__ import annotations

import torch

from lesionsplit.engines.base import Found
from lesionsplit.images import Float
from lesionsplit.model import Model, ModelCard


class TorchEngine:
    """Runs a model as it is."""

    def __init__(self, model: Model, device: torch.device) -> None:
        self.model = model
        self.device = device
        model.network.to(device)

    @property
    def card(self) -> ModelCard:
        """Of the model."""
        return self.model.card

    @property
    def name(self) -> str:
        """In words."""
        return f"torch {torch.__version__} on {self.device}"

    def read(self, canvases: Float) -> Found:
        """Read canvases, (B, 1, H, W), network grey."""
        with torch.inference_mode():
            images = torch.from_numpy(canvases).to(self.device, memory_format=torch.channels_last)
            reading = self.model.read(images)
            score, healthy = (part.float().squeeze(1).cpu().numpy() for part in reading[:2])
            presence = None if reading.presence is None else reading.presence.float().cpu().numpy()
        return Found(score, healthy, presence)

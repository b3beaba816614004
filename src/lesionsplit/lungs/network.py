"""The network that finds lungs, and its weights file."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from msgspec import Meta, field
from torch import Tensor, nn

from lesionsplit.errors import WeightsError
from lesionsplit.images import Float
from lesionsplit.lungs.resample import AIR, DENSE, MM, SIDE
from lesionsplit.models.card import WeightsKind
from lesionsplit.networks.unet import Decoder, Encoder
from lesionsplit.progress import Progress, silent
from lesionsplit.settings import Settings, Width

DEFAULT = files("lesionsplit") / "weights" / "lungs.safetensors"

BATCH = 8
"""Slices that go through the network together."""


class LungCard(Settings, frozen=True):
    """The shape of the network in a weights file, and where the weights come from."""

    format: Literal[3] = 3
    """`models.card.FORMAT`."""

    channels: Annotated[tuple[Width, ...], Meta(min_length=2, max_length=6)] = (8, 16, 32, 48, 64)
    """Features at 1, 1/2, 1/4 ... of the canvas' resolution."""

    side: Annotated[int, Meta(ge=SIDE, le=SIDE)] = SIDE
    """Rows and columns of the canvas that it was trained on."""

    mm: Annotated[float, Meta(ge=MM, le=MM)] = MM
    """Millimetres of a pixel of that canvas."""

    trained: dict[str, str] = field(default_factory=dict)
    """Where the weights come from: version, data, seed, steps."""


WEIGHTS = WeightsKind(
    card=LungCard, key="lesionsplit-lungs", owner="lesionsplit's lungs", command="train-lungs", default=DEFAULT
)


class LungNet(nn.Module):
    """A U-Net that says how far each pixel of the canvas is lung."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = Encoder(channels, "batch")
        self.decoder = Decoder(channels, "batch")

    def forward(self, image: Tensor) -> Tensor:
        """Logits of (B, 1, SIDE, SIDE), in which air is 0 and bone 1."""
        logit: Tensor = self.decoder(self.encoder(image))
        return logit


class LungModel:
    """A trained network and its card."""

    def __init__(self, card: LungCard, network: LungNet) -> None:
        self.card = card
        self.network = network.eval().requires_grad_(False)

    @classmethod
    def load(cls, path: Path | None = None) -> LungModel:
        """Read a weights file, by default the one in the package; never runs code from it.

        Raises:
            WeightsError: the file is missing, not safetensors, not ours, or does not fit its own card.
        """
        return cls(*WEIGHTS.read(path, lambda card: LungNet(card.channels)))

    def save(self, path: Path) -> None:
        """Write the weights file, whole or not at all.

        Raises:
            DataError: the file cannot be written.
        """
        WEIGHTS.write(path, self.card, self.network)

    def shares(self, shrunk: Float, device: torch.device, progress: Progress = silent) -> Float:
        """How far each pixel is lung, 0 to 1, of (K, SIDE, SIDE) in HU above `AIR`.

        Raises:
            WeightsError: a result is not finite.
        """
        network = self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        found = np.empty_like(shrunk)
        starts = range(0, len(shrunk), BATCH)
        with torch.inference_mode():
            for start in progress(starts, len(starts), "lungs"):
                batch = torch.from_numpy(shrunk[start : start + BATCH]).unsqueeze(1).to(device)
                logits = network(scaled(batch).contiguous(memory_format=torch.channels_last))
                found[start : start + BATCH] = logits.sigmoid().squeeze(1).cpu().numpy()
        if not np.isfinite(found).all():  # NaN would be no lung
            raise WeightsError("the lung network's output is not finite: its weights, or the scan, are damaged")
        return found


@cache
def default_model() -> LungModel:
    """The network in the package, read once.

    Raises:
        WeightsError: the package's file is missing or broken.
    """
    return LungModel.load()


def scaled(shrunk: Tensor) -> Tensor:
    """HU above `AIR` as the network is given them: air is 0, `DENSE` is 1."""
    return shrunk / (DENSE - AIR)

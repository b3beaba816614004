"""The network that finds lungs, and its weights' file with the card of what it was trained on."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import safetensors.torch
import torch
from msgspec import Meta, field
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lesionsplit.errors import SettingsError, WeightsError
from lesionsplit.images import Float, write_bytes
from lesionsplit.lungs.canvas import AIR, DENSE, MM, SIDE
from lesionsplit.networks.unet import Decoder, Encoder
from lesionsplit.progress import Progress, silent
from lesionsplit.settings import Settings, from_table, to_table

KEY = "lesionsplit-lungs"
DEFAULT = files("lesionsplit") / "weights" / "lungs.safetensors"

BATCH = 8
"""Slices that go through the network together."""

Width = Annotated[int, Meta(ge=1)]


class LungCard(Settings, frozen=True):
    """What a weights file for lungs says of itself."""

    format: Literal[1] = 1
    """Raised when a file can no longer be read as before."""

    channels: Annotated[tuple[Width, ...], Meta(min_length=2, max_length=6)] = (8, 16, 32, 48, 64)
    """Features at 1, 1/2, 1/4 ... of the canvas' resolution."""

    side: Annotated[int, Meta(ge=SIDE, le=SIDE)] = SIDE
    """Rows and columns of the canvas that it was trained on."""

    mm: Annotated[float, Meta(ge=MM, le=MM)] = MM
    """Millimetres of a pixel of that canvas."""

    trained: dict[str, str] = field(default_factory=dict)
    """Where the weights come from: version, data, seed, steps."""


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
        if path is None:
            with as_file(DEFAULT) as default:
                return cls.load(default)
        card = _read_card(path)
        network = LungNet(card.channels)
        try:
            network.load_state_dict(safetensors.torch.load_file(path))
        except (SafetensorError, RuntimeError) as error:
            raise WeightsError(f"{path}: the weights do not fit their own card ({_first_line(error)})") from None
        return cls(card, network)

    def save(self, path: Path) -> None:
        """Write the weights file, whole or not at all.

        Raises:
            DataError: the file cannot be written.
        """
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        write_bytes(path, safetensors.torch.save(tensors, metadata={KEY: json.dumps(to_table(self.card))}))

    def shares(self, shrunk: Float, device: torch.device, progress: Progress = silent) -> Float:
        """How far each pixel is lung, 0 to 1, of (K, SIDE, SIDE) in HU above `AIR`."""
        network = self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        found = np.empty_like(shrunk)
        starts = range(0, len(shrunk), BATCH)
        with torch.inference_mode():
            for start in progress(starts, len(starts), "lungs"):
                batch = torch.from_numpy(shrunk[start : start + BATCH]).unsqueeze(1).to(device)
                logits = network(scaled(batch).contiguous(memory_format=torch.channels_last))
                found[start : start + BATCH] = logits.sigmoid().squeeze(1).cpu().numpy()
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


def _read_card(path: Path) -> LungCard:
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
        table: dict[str, Any] = json.loads(metadata[KEY])
    except (OSError, SafetensorError) as error:
        if not path.is_file():
            raise WeightsError(f"{path}: no such file; give one that `lesionsplit train-lungs` wrote") from None
        raise WeightsError(f"{path}: is not a whole safetensors file ({_first_line(error)})") from None
    except (KeyError, ValueError):
        raise WeightsError(
            f"{path}: is safetensors but has no card of lesionsplit's lungs; give one that `lesionsplit train-lungs` "
            "wrote"
        ) from None
    try:
        return from_table(LungCard, table, source=str(path))
    except SettingsError as error:
        raise WeightsError(f"{error}; is the file from another version of lesionsplit?") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")

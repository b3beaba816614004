"""A trained network in one file, with all that is needed to use it and to know where it comes from."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, Literal

import safetensors.torch
import torch
from msgspec import Meta
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lesionsplit.data.normalise import Normalisation
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.errors import SettingsError, WeightsError
from lesionsplit.images import write_bytes
from lesionsplit.methods.base import Reading
from lesionsplit.methods.table import AnyMethod
from lesionsplit.settings import Settings, from_table, to_table

KEY = "lesionsplit"
DEFAULT = files("lesionsplit") / "weights" / "default.safetensors"


class ModelCard(Settings, frozen=True):
    """What a weights file says of itself."""

    format: Literal[1]
    """Raised when a file can no longer be read as before."""

    method: AnyMethod
    placement: PlacementSettings
    normalisation: Normalisation
    threshold: Annotated[float, Meta(gt=0, le=1)]
    """The score from which a pixel counts as lesion."""

    threshold_from: str
    """How the threshold was set."""

    trained: dict[str, str]
    """Where the weights come from: version, data fingerprint, seed, steps."""


class Model:
    """A trained network and its card."""

    def __init__(self, card: ModelCard, network: nn.Module) -> None:
        self.card = card
        self.network = network.eval().requires_grad_(False)

    @classmethod
    def load(cls, path: Path | None = None) -> Model:
        """Read a weights file, by default the one in the package; never runs code from it.

        Raises:
            WeightsError: the file is missing, not safetensors, not ours, or does not fit its own card.
        """
        if path is None:
            with as_file(DEFAULT) as default:
                return cls.load(default)
        card = _read_card(path)
        network = card.method.build_network()
        try:
            network.load_state_dict(safetensors.torch.load_file(path))
        except (SafetensorError, RuntimeError) as error:
            raise WeightsError(f"{path}: the weights do not fit their own card ({_first_line(error)})") from None
        return cls(card, network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]

    def save(self, path: Path) -> None:
        """Write the weights file, whole or not at all."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        card = json.dumps(to_table(self.card))
        write_bytes(path, safetensors.torch.save(tensors, metadata={KEY: card}))

    def read(self, images: Tensor) -> Reading:
        """Score and healthy version of slices on the canvas, (B, 1, H, W), in network grey."""
        return self.card.method.read(self.network, images)


def digest(path: Path | None = None) -> str:
    """SHA-256 of a weights file, by default the one in the package: tells which weights made a result."""
    if path is None:
        with as_file(DEFAULT) as default:
            return digest(default)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_card(path: Path) -> ModelCard:
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
        table: dict[str, Any] = json.loads(metadata[KEY])
    except (OSError, SafetensorError) as error:
        if not path.is_file():
            raise WeightsError(f"{path}: no such file; give a weights file that `lesionsplit train` wrote") from None
        raise WeightsError(f"{path}: is not a whole safetensors file ({_first_line(error)})") from None
    except (KeyError, ValueError):
        raise WeightsError(f"{path}: is safetensors but has no card of lesionsplit; give our own weights") from None
    try:
        return from_table(ModelCard, table, source=str(path))
    except SettingsError as error:
        raise WeightsError(f"{error}; is the file from another version of lesionsplit?") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")

"""What every engine is, and what an exported file says of itself."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from lesionsplit.errors import SettingsError, WeightsError
from lesionsplit.images import Float
from lesionsplit.model import ModelCard
from lesionsplit.settings import Settings, from_table, to_table

KEY = "lesionsplit"
"""Under which the stamp lies in a file's own metadata."""

INPUT = "images"
OUTPUTS = ("score", "healthy", "presence")
"""Names in the graph, in the order of `methods.base.Reading`; the last only of methods that have it."""

Format: TypeAlias = Literal["onnx", "openvino"]
EngineName: TypeAlias = Literal["auto", "torch", "onnx", "openvino"]

SUFFIXES: dict[str, Format] = {".onnx": "onnx", ".xml": "openvino"}
"""By which exported files are known."""


class Found(NamedTuple):
    """What an engine reads off a batch of canvases."""

    score: Float
    """(B, H, W), 0 to 1."""

    healthy: Float
    """(B, H, W), network grey."""

    presence: Float | None
    """(B,), of a method that says so itself."""


class Engine(Protocol):
    """Does what `Model.read` does, on arrays."""

    @property
    def card(self) -> ModelCard:
        """Of the weights that it runs."""

    @property
    def name(self) -> str:
        """What runs them, in words."""

    def read(self, canvases: Float) -> Found:
        """Read canvases, (B, 1, H, W), network grey."""


class Stamp(Settings, frozen=True):
    """What an exported file says of itself."""

    card: ModelCard
    """Of the weights: method, placement, normalisation, threshold, origin."""

    weights: str
    """SHA-256 of the weights file."""

    precision: Literal["fp32", "int8"]

    made_with: dict[str, str]
    """Versions of the packages that wrote it."""

    content: str = ""
    """SHA-256 of the file beside this one that holds the numbers, where there is one."""

    def to_json(self) -> str:
        """As it lies in the file."""
        return json.dumps(to_table(self))

    @classmethod
    def from_json(cls, text: str | None, path: Path) -> Stamp:
        """As it was read from a file; None where there was nothing under `KEY`.

        Raises:
            WeightsError: the file is not ours, or of another version.
        """
        if text is None:
            raise WeightsError(f"{path}: has no card of lesionsplit; give a file that `lesionsplit export` wrote")
        try:
            return from_table(cls, json.loads(text), source=str(path))
        except (ValueError, SettingsError) as error:
            raise WeightsError(f"{path}: {error}; was it exported by another version of lesionsplit?") from None


def package(name: str, extra: str) -> Any:
    """Import an optional package.

    OpenVINO and NNCF report every import and conversion to their maker over the network, unless the package that
    does so is missing: to them it is.

    Raises:
        SettingsError: it is not installed; says which extra has it.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # what Python itself puts there
    try:
        return import_module(name)
    except ImportError:
        raise SettingsError(f"{name} is not installed; it comes with: pip install 'lesionsplit[{extra}]'") from None


def named(parts: list[Float]) -> Found:
    """Outputs of a graph, (B, 1, H, W), (B, 1, H, W) and perhaps (B,), as what was found."""
    return Found(parts[0][:, 0], parts[1][:, 0], parts[2] if len(parts) > len(OUTPUTS) - 1 else None)


def first_line(error: Exception) -> str:
    """What other people's packages say first, which is what there is room for; its kind, if they say nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:120]

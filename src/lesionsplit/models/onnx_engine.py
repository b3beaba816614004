"""ONNX files: written by PyTorch, run by ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from lesionsplit.errors import SettingsError, WeightsError
from lesionsplit.images import Float
from lesionsplit.models.card import parse_card
from lesionsplit.models.engine import EngineOutput
from lesionsplit.models.model import ModelCard
from lesionsplit.models.tensors import first_line
from lesionsplit.models.trace import OUTPUTS, quiet
from lesionsplit.settings import Settings, to_table

SUFFIX = ".onnx"
"""Of exported files."""

KEY = "lesionsplit"
"""Key of the card in the file's metadata."""

INPUT = "images"
"""Name of the input in the graph."""

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What is needed to write a file and to run it."""

SEAL = b"\x72\x4a\x0a\x06sha256\x12\x40"
"""Before a digest in hexadecimal: the entry ``sha256`` of the metadata (field 14), encoded as ONNX's format says."""

FAILURES = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
"""Errors of ONNX Runtime, which have no base class of their own."""


class ExportCard(Settings, frozen=True):
    """How to use an exported file, and where it comes from."""

    card: ModelCard
    """Card of the weights: method, placement, normalisation, threshold, origin."""

    weights: str
    """SHA-256 of the weights file."""

    made_with: dict[str, str]
    """Versions of the packages that wrote the file."""


def save(program: ExportedProgram, card: ExportCard, path: Path) -> None:
    """Write a traced model, (B, 1, H, W) for any B, with its card.

    Raises:
        RuntimeError: of PyTorch, if ONNX has no equivalent of an operation.
    """
    names = list(OUTPUTS[: len(program.graph_signature.user_outputs)])
    with quiet():
        exported = torch.onnx.export(program, (), input_names=[INPUT], output_names=names, dynamo=True, verbose=False)
    if exported is None:  # never with `dynamo`, but so it is typed
        raise RuntimeError("PyTorch returned no ONNX program")
    exported.model.metadata_props[KEY] = json.dumps(to_table(card))
    exported.save(str(path))
    content = path.read_bytes()
    path.write_bytes(content + _seal(content))


class OnnxEngine:
    """Runs an exported file on the CPU, with as many threads as PyTorch would use.

    Raises:
        SettingsError: ONNX Runtime is not installed.
        WeightsError: the file is missing, broken or not ours.
    """

    def __init__(self, path: Path) -> None:
        runtime = import_optional("onnxruntime")
        errors = import_optional("onnxruntime.capi.onnxruntime_pybind11_state")
        if not path.is_file():
            raise WeightsError(f"{path}: no such file; give a file that `lesionsplit export` wrote")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors only: its warnings are for developers of engines
        _check_seal(path)
        failures = (UnicodeDecodeError, *(getattr(errors, name) for name in FAILURES))
        try:
            self._session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            text = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        except failures as error:
            raise WeightsError(f"{path}: is not a whole ONNX file ({first_line(error)}); export it again") from None
        if text is None:
            raise WeightsError(f"{path}: has no card of lesionsplit; give a file that `lesionsplit export` wrote")
        self.export_card = parse_card(ExportCard, text, path)
        shapes = [one.shape[1:] for one in self._session.get_inputs()]
        if shapes != [[1, *self.card.placement.canvas]]:
            raise WeightsError(f"{path}: its network takes {shapes}, not the canvas of its card; export it again")
        self.name = f"onnxruntime {runtime.__version__}, fp32"

    @property
    def card(self) -> ModelCard:
        """Card of the weights that were exported."""
        return self.export_card.card

    def infer(self, canvases: Float) -> EngineOutput:
        """Run the network on canvases, (B, 1, H, W), network grey."""
        score, healthy, *presence = self._session.run(None, {INPUT: canvases})
        return EngineOutput(score[:, 0], healthy[:, 0], presence[0] if presence else None).checked(canvases)


def _seal(content: bytes) -> bytes:
    """An entry of the metadata with the SHA-256 of a whole ONNX file, which may follow the file as it is."""
    return SEAL + hashlib.sha256(content).hexdigest().encode()


def _check_seal(path: Path) -> None:
    """Refuse a file that has changed since `save` wrote it; files of before 0.3.0 have no seal.

    Raises:
        WeightsError: it has, or it cannot be read.
    """
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    content = whole[: -len(SEAL) - 64]
    if whole[len(content) :].startswith(SEAL) and content + _seal(content) != whole:
        raise WeightsError(f"{path}: is not a whole ONNX file (it has changed since it was written); export it again")


def import_optional(name: str) -> Any:
    """Import a package that only ONNX needs.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise SettingsError(f"{package} is not installed; it comes with: pip install 'lesionsplit[onnx]'") from None

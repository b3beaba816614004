"""ONNX files: written by torch, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from lesionsplit.engines.base import INPUT, KEY, Found, Stamp, first_line, named, package
from lesionsplit.engines.graph import outputs, quiet
from lesionsplit.errors import WeightsError
from lesionsplit.images import Float
from lesionsplit.model import ModelCard

EXTRA = "onnx"


def save(program: ExportedProgram, stamp: Stamp, path: Path) -> None:
    """Write a traced model, (B, 1, H, W) for any B, and its stamp.

    Raises:
        SettingsError: the packages for it are not installed.
        RuntimeError: of torch, where ONNX has no word for something in it.
    """
    package("onnxscript", EXTRA)
    with quiet():
        whole = torch.onnx.export(
            program, (), input_names=[INPUT], output_names=list(outputs(program)), dynamo=True, verbose=False
        )
    if whole is None:  # as torch only does without `dynamo`
        raise RuntimeError("torch gave back no ONNX program")
    whole.model.metadata_props[KEY] = stamp.to_json()
    whole.save(str(path))


class OnnxEngine:
    """Runs an exported file on the CPU, on as many threads as torch would.

    Raises:
        SettingsError: ONNX Runtime is not installed.
        WeightsError: the file is missing, broken or not ours.
    """

    def __init__(self, path: Path) -> None:
        runtime = package("onnxruntime", EXTRA)
        if not path.is_file():
            raise WeightsError(f"{path}: no such file; give one that `lesionsplit export` wrote")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # its warnings are for who writes engines
        try:
            self._session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except failures() as error:
            raise WeightsError(f"{path}: is not a whole ONNX file ({first_line(error)})") from None
        self.stamp = Stamp.from_json(self._session.get_modelmeta().custom_metadata_map.get(KEY), path)

    @property
    def card(self) -> ModelCard:
        """Of the weights that were exported."""
        return self.stamp.card

    @property
    def name(self) -> str:
        """In words."""
        return f"onnxruntime {package('onnxruntime', EXTRA).__version__}, {self.stamp.precision}"

    def read(self, canvases: Float) -> Found:
        """Read canvases, (B, 1, H, W), network grey."""
        return named(self._session.run(None, {INPUT: canvases}))


def failures() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises."""
    known: Any = package("onnxruntime.capi.onnxruntime_pybind11_state", EXTRA)
    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
    return tuple(getattr(known, name) for name in names)

"""ONNX files with a card, and ONNX Runtime, which runs them. Nothing here needs PyTorch."""

from __future__ import annotations

import hashlib
import os
from importlib import import_module
from pathlib import Path
from typing import Any

from lesionsplit import cores
from lesionsplit.errors import WeightsError
from lesionsplit.models.card import first_line
from lesionsplit.models.device import on_gpu

SUFFIX = ".onnx"

INPUT = "images"
"""Name of the input in the graph."""

SEAL = b"\x72\x4a\x0a\x06sha256\x12\x40"
"""Before a digest in hexadecimal: the entry ``sha256`` of the metadata (field 14), encoded as ONNX's format says."""

FAILURES = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
"""Errors of ONNX Runtime, which have no base class of their own."""

NO_TELEMETRY = ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED")
"""Environment variables of ONNX Runtime, by either of the names that its versions know."""

CUDA = "CUDAExecutionProvider"


def open_onnx(path: Path, key: str, device: str = "auto") -> tuple[Any, str]:
    """A session that runs a file, and the text of its card.

    Args:
        path: the file.
        key: of the card in the file's metadata.
        device: ``cpu``; ``cuda`` or ``cuda:1``, where the installed ONNX Runtime supports it; ``auto``: a GPU in that
            case, otherwise the CPU.

    Raises:
        WeightsError: the file is missing, broken or not ours.
        SettingsError: the device is not available.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; give a file that `lesionsplit export` wrote")
    _check_seal(path)
    runtime = import_runtime()
    errors = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    failures = (UnicodeDecodeError, *(getattr(errors, name) for name in FAILURES))
    try:
        session = runtime.InferenceSession(path, _options(runtime), providers=_providers(runtime, device))
        text = session.get_modelmeta().custom_metadata_map.get(key)
    except failures as error:
        raise WeightsError(f"{path}: is not a whole ONNX file ({first_line(error)}); export it again") from None
    if text is None:
        raise WeightsError(f"{path}: has no card of lesionsplit; give a file that `lesionsplit export` wrote")
    return session, text


def import_runtime() -> Any:
    """ONNX Runtime, which sends nothing to anyone.

    Since 1.29 its binaries tell their maker which models are run, unless an environment variable is set before they are
    loaded; on Windows they can be told later only.
    """
    os.environ.update(dict.fromkeys(NO_TELEMETRY, "1"))
    runtime = import_module("onnxruntime")
    runtime.disable_telemetry_events()
    return runtime


def runtime_has_cuda() -> bool:
    """Whether the installed ONNX Runtime runs networks on Nvidia's GPUs."""
    return CUDA in import_runtime().get_available_providers()


def seal(content: bytes) -> bytes:
    """An entry of the metadata with the SHA-256 of a whole ONNX file, which may follow the file as it is."""
    return SEAL + hashlib.sha256(content).hexdigest().encode()


def _options(runtime: Any) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = cores.threads()
    # Threads that wait sleep: awake, each would take a core from other processes while it waits for one of its own.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only: its warnings are for developers of engines
    return options


def _providers(runtime: Any, device: str) -> list[Any]:
    if not on_gpu(device) or CUDA not in runtime.get_available_providers():
        return ["CPUExecutionProvider"]
    return [(CUDA, {"device_id": int(device.partition(":")[2] or 0)}), "CPUExecutionProvider"]


def _check_seal(path: Path) -> None:
    """Refuse a file that has changed since it was written; files of before 0.3.0 have no seal.

    Raises:
        WeightsError: it has, or it cannot be read.
    """
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    content = whole[: -len(SEAL) - 64]
    if whole[len(content) :].startswith(SEAL) and content + seal(content) != whole:
        raise WeightsError(f"{path}: is not a whole ONNX file (it has changed since it was written); export it again")

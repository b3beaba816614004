"""Which engine runs which weights, and where weights converted for ONNX Runtime are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from filelock import FileLock
from platformdirs import user_cache_path

from lesionsplit.errors import DataError, SettingsError, WeightsError, needs_training_packages
from lesionsplit.models.card import FOLDER, digest, require_file
from lesionsplit.models.device import on_gpu
from lesionsplit.models.engine import Engine
from lesionsplit.models.onnx_engine import OnnxEngine
from lesionsplit.models.onnx_file import SUFFIX, runtime_has_cuda
from lesionsplit.runtime import EngineName

SOURCES = ("methods", "domains", "networks", "synthesis", "models")
"""Packages of ours whose code decides what weights compute: converted weights depend on it."""

CONVERTERS = ("torch", "onnx", "onnxscript", "onnxruntime")
"""Packages that convert weights: converted weights depend on their versions."""


def open_engine(
    weights: Path | None = None, engine: EngineName | None = None, device: str = "auto", *, cache: Path | None = None
) -> Engine:
    """The engine for a weights file or an exported file.

    By default ONNX Runtime runs what is exported already: the weights in the package, and NAME.safetensors that has
    its own NAME.onnx beside it, as a run has when its training ends. PyTorch runs the rest; and all weights on a GPU,
    unless the installed ONNX Runtime has CUDA or PyTorch is not installed.

    Args:
        weights: a weights file, by default the one in the package; or a file of `lesionsplit export`, which ONNX
            Runtime runs.
        engine: ``torch``, ``onnx`` or ``mindspore``; ``onnx`` converts weights that are not exported.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; MindSpore has devices of its own.
        cache: folder for converted weights; by default the user's cache folder.

    Raises:
        WeightsError: the file is missing, broken, of another kind, or its method cannot be converted.
        SettingsError: there is no such engine or device, or the engine is not installed, does not run on the device
            or does not run the file.
        DataError: the cache cannot be written.
    """
    if engine is not None and engine not in get_args(EngineName):
        raise SettingsError(f"engine {engine!r} is not known; allowed: {', '.join(get_args(EngineName))}")
    if engine in ("torch", "mindspore") and weights is not None and weights.suffix == SUFFIX:
        raise SettingsError(f"{weights}: is a file for ONNX Runtime, and the engine is {engine}; leave the engine out")
    if engine == "mindspore":
        return _mindspore_engine(weights, device)
    gpu = on_gpu(device)
    if weights is not None and weights.suffix == SUFFIX:
        _check_device(device)
        return OnnxEngine(weights, device)
    if engine is None and gpu and not runtime_has_cuda() and (device != "auto" or find_spec("torch")):
        engine = "torch"
    if engine != "torch":
        with _exported(weights) as path:
            if path is not None:
                _check_device(device)
                return OnnxEngine(path, device)
    if engine == "onnx":
        _check_device(device)
        return OnnxEngine(_converted(weights, cache), device)
    return _torch_engine(weights, device)


def _torch_engine(weights: Path | None, device: str) -> Engine:
    if weights is not None:
        require_file(weights)  # before PyTorch is missed
    with needs_training_packages():
        from lesionsplit.models.model import Model
        from lesionsplit.models.torch_engine import TorchEngine
    return TorchEngine(Model.load(weights), device)


def _mindspore_engine(weights: Path | None, device: str) -> Engine:
    if weights is not None:
        require_file(weights)
    with needs_training_packages():
        from lesionsplit.models.mindspore_engine import MindSporeEngine
        from lesionsplit.models.model import Model
    return MindSporeEngine(Model.load(weights), device)


def _check_device(device: str) -> None:
    """Refuse a GPU that was asked for and that the installed ONNX Runtime does not use."""
    if device not in ("auto", "cpu") and not (device.startswith("cuda") and runtime_has_cuda()):
        raise SettingsError(
            f"ONNX Runtime as it is installed runs on the CPU, not on {device}; leave --device out, give cpu, or for "
            "Nvidia's GPUs install onnxruntime-gpu instead of onnxruntime"
        )


@contextmanager
def _exported(weights: Path | None) -> Iterator[Path | None]:
    """The ONNX file beside a weights file, if it was made of just these weights and computes the same."""
    if weights is None:
        with as_file(FOLDER / "default.onnx") as path:
            yield path
        return
    path = weights.with_suffix(SUFFIX)
    try:
        card = OnnxEngine(path, "cpu").export_card if path.is_file() and weights.is_file() else None
        same = card is not None and card.weights == digest(weights) and not card.mirror_left_out
    except (WeightsError, OSError):  # the weights themselves are what the user asked for
        same = False
    yield path if same else None


def _converted(weights: Path | None, cache: Path | None) -> Path:
    """A weights file converted for ONNX Runtime: from the cache, or converted now, which takes seconds."""
    with needs_training_packages():
        from lesionsplit.models.export import check_packages, export
        from lesionsplit.models.model import Model
    model = Model.load(weights)  # first: its messages about a bad file are the clearest
    check_packages()
    sha = digest(weights)
    folder = (cache or user_cache_path("lesionsplit", appauthor=False)) / "engines"
    path = folder / f"{sha[:16]}-{_code_digest()[:16]}{SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if path.is_file():
                try:
                    OnnxEngine(path, "cpu")
                except WeightsError:  # damaged since: the user never made this file, so it is made again
                    path.unlink()
                else:
                    return path
            export(model, sha, path)
            return path
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); predict with --engine torch") from None


def _code_digest() -> str:
    """Digest of what a converted file depends on besides the weights: our code, and the packages that convert."""
    found = hashlib.sha256(" ".join(f"{name} {version(name)}" for name in CONVERTERS).encode())
    for package in SOURCES:
        for entry in sorted((files("lesionsplit") / package).iterdir(), key=lambda entry: entry.name):
            if entry.name.endswith(".py"):
                found.update(entry.read_bytes())
    return found.hexdigest()

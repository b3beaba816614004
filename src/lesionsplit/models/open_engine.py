"""Which engine runs which weights, and where weights converted for ONNX Runtime are kept."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import get_args

from filelock import FileLock
from platformdirs import user_cache_path

from lesionsplit.errors import DataError, SettingsError, WeightsError
from lesionsplit.models.device import choose_device
from lesionsplit.models.engine import Engine
from lesionsplit.models.export import export
from lesionsplit.models.mindspore_engine import MindSporeEngine
from lesionsplit.models.model import Model, digest
from lesionsplit.models.onnx_engine import PACKAGES, SUFFIX, OnnxEngine, import_optional
from lesionsplit.models.torch_engine import TorchEngine
from lesionsplit.runtime import EngineName

SOURCES = ("methods", "networks", "synthesis", "models")
"""Packages of ours whose code decides what weights compute: converted weights depend on it."""


def open_engine(
    weights: Path | None = None, engine: EngineName = "torch", device: str = "auto", *, cache: Path | None = None
) -> Engine:
    """The engine for a weights file or an exported file.

    Args:
        weights: a weights file, by default the one in the package; or a file of `lesionsplit export`, which ONNX
            Runtime runs whatever ``engine`` is.
        engine: ``torch``, ``onnx`` or ``mindspore``.
        device: as for `choose_device`; ONNX Runtime runs on the CPU only; MindSpore has devices of its own.
        cache: folder for converted weights; by default the user's cache folder.

    Raises:
        WeightsError: the file is missing, broken, of another kind, or its method cannot be converted.
        SettingsError: there is no such engine or device, or the engine is not installed or does not run on the device.
        DataError: the cache cannot be written.
    """
    if engine not in get_args(EngineName):
        raise SettingsError(f"engine {engine!r} is not known; allowed: {', '.join(get_args(EngineName))}")
    exported = weights is not None and weights.suffix == SUFFIX
    if engine == "torch" and not exported:
        return TorchEngine(Model.load(weights), choose_device(device))
    if engine == "mindspore" and not exported:
        return MindSporeEngine(Model.load(weights), device)
    if device != "auto" and choose_device(device).type != "cpu":
        raise SettingsError(f"engine onnx runs on the CPU, not on {device}; leave --device out, or give cpu")
    return OnnxEngine(weights) if weights is not None and exported else _converted(weights, cache)


def _converted(weights: Path | None, cache: Path | None) -> OnnxEngine:
    """A weights file converted for ONNX Runtime: from the cache, or converted now, which takes seconds."""
    model = Model.load(weights)  # first: its messages about a bad file are the clearest
    for package in PACKAGES:
        import_optional(package)
    sha = digest(weights)
    folder = (cache or user_cache_path("lesionsplit", appauthor=False)) / "engines"
    path = folder / f"{sha[:16]}-{_code_digest()[:16]}{SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if path.is_file():
                try:
                    return OnnxEngine(path)
                except WeightsError:  # damaged since: the user never made this file, so it is made again
                    path.unlink()
            export(model, sha, path)
            return OnnxEngine(path)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); predict with --engine torch") from None


def _code_digest() -> str:
    """Digest of what a converted file depends on besides the weights: our code, and the packages that convert."""
    found = hashlib.sha256(" ".join(f"{name} {version(name)}" for name in ("torch", *PACKAGES)).encode())
    for package in SOURCES:
        for entry in sorted((files("lesionsplit") / package).iterdir(), key=lambda entry: entry.name):
            if entry.name.endswith(".py"):
                found.update(entry.read_bytes())
    return found.hexdigest()

"""Which engine runs which weights, and where weights that were converted for one are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import torch
from filelock import FileLock
from platformdirs import user_cache_path

from lesionsplit.engines.base import SUFFIXES, Engine, EngineName, Format
from lesionsplit.engines.export import export, run_file
from lesionsplit.engines.torch import TorchEngine
from lesionsplit.errors import DataError, SettingsError, WeightsError
from lesionsplit.model import Model, digest

PACKAGES: dict[Format, tuple[str, ...]] = {"onnx": ("onnxruntime", "onnx", "onnxscript"), "openvino": ("openvino",)}
"""What it takes to convert weights for an engine and to run them; the fastest first (docs/how-to/export.md)."""

MEANING = ("methods", "networks", "synthesis", "engines")
"""Packages of ours whose code says what weights mean: part of the name of what is kept."""


def open_engine(
    weights: Path | None, engine: EngineName, device: torch.device, *, wanted: str = "auto", cache: Path | None = None
) -> Engine:
    """The engine for weights, or for a file that was exported from some.

    Args:
        weights: a weights file, by default the one in the package; or a file of `lesionsplit export`.
        engine: ``auto`` is the fastest of those installed that the method can be converted for, on a CPU.
        device: where torch would run it.
        wanted: what the user said of the device.
        cache: folder for weights that were converted; by default the user's own cache folder.

    Raises:
        WeightsError: the file is missing, broken, of another kind, or its method cannot be converted.
        SettingsError: there is no such engine, it is not installed, or it does not run on this device or this file.
    """
    if engine not in get_args(EngineName):
        raise SettingsError(f"engine {engine!r} is not known; allowed: {', '.join(get_args(EngineName))}")
    kind = SUFFIXES.get(weights.suffix) if weights is not None else None
    elsewhere = device.type != "cpu"
    if elsewhere and wanted != "auto" and (kind or engine in PACKAGES):
        raise SettingsError(
            f"engine {kind or engine} runs on the CPU, not on {device}; leave --device out, or give cpu"
        )
    if weights is not None and kind is not None:
        if engine not in ("auto", kind):
            raise SettingsError(f"{weights}: is a file for {kind}, not for {engine}; leave --engine out")
        return run_file(weights)
    if engine == "torch" or (engine == "auto" and elsewhere):
        return TorchEngine(Model.load(weights), device)
    if engine != "auto":
        return run_file(converted(weights, engine, cache=cache))
    for candidate, packages in PACKAGES.items():
        if all(map(find_spec, packages)):
            try:
                return run_file(converted(weights, candidate, cache=cache))
            except (WeightsError, DataError):  # its method cannot be converted, or there is no place to keep it
                continue
    return TorchEngine(Model.load(weights), device)


def converted(weights: Path | None, kind: Format, *, cache: Path | None = None) -> Path:
    """A weights file converted for an engine: from the cache, else now, which takes seconds.

    Raises:
        WeightsError: the file is missing, broken, or its method cannot be converted.
        SettingsError: a package is not installed.
        DataError: the cache cannot be written.
    """
    model = Model.load(weights)  # first, since it says best what is wrong with a file
    sha = digest(weights)
    folder = (cache or user_cache_path("lesionsplit", appauthor=False)) / "engines"
    suffix = next(suffix for suffix, known in SUFFIXES.items() if known == kind)
    path = folder / f"{sha[:16]}-{_meaning(kind)[:16]}{suffix}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.is_file():
                export(model, sha, path, kind)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); predict with --engine torch") from None
    return path


def _meaning(kind: Format) -> str:
    """Digest of all besides the weights that a converted file depends on."""
    stamp = hashlib.sha256(" ".join(f"{name} {version(name)}" for name in ("torch", *PACKAGES[kind])).encode())
    for content in _sources():
        stamp.update(content)
    return stamp.hexdigest()


def _sources() -> Iterator[bytes]:
    for package in MEANING:
        for entry in sorted((files("lesionsplit") / package).iterdir(), key=lambda entry: entry.name):
            if entry.name.endswith(".py"):
                yield entry.read_bytes()

"""From weights to a file for another engine: traced, checked against torch, and only then put in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
import numpy as np
import torch

from lesionsplit.data.lungs import LungSlice
from lesionsplit.engines import int8, onnx, openvino
from lesionsplit.engines.base import SUFFIXES, Engine, Format, Stamp
from lesionsplit.engines.graph import not_exportable, trace
from lesionsplit.engines.torch import TorchEngine
from lesionsplit.errors import DataError, SettingsError, WeightsError
from lesionsplit.images import Float, as_float
from lesionsplit.model import Model, ModelCard

TOLERANCE = 1e-3
"""How far from torch's an exported file's scores and healthy versions may be: a score is 0 to 1."""

BATCH = 8
"""Canvases at a time."""


class Integers(NamedTuple):
    """What is needed to go on to 8-bit integers."""

    canvases: Float
    """(N, 1, H, W), network grey, of normal slices: how large what the network computes gets is seen on them."""

    judge: Callable[[Engine, Engine], None]
    """Is given the file in fp32 and in int8, and raises if the second will not do."""


def export(
    model: Model,
    weights: str,
    path: Path,
    kind: Format,
    *,
    probe: Float | None = None,
    integers: Integers | None = None,
) -> float:
    """Write a model for another engine, whole or not at all.

    Args:
        model: on the CPU.
        weights: SHA-256 of its file.
        path: NAME.onnx; or NAME.xml, with NAME.bin beside.
        kind: for which engine.
        probe: canvases, (B, 1, H, W) in network grey, on which it is compared with torch; by default drawn.
        integers: if it is to be written in 8-bit integers.

    Returns:
        The largest difference from torch, before it went to integers.

    Raises:
        SettingsError: a package is not installed, or the file's name is of another kind.
        WeightsError: the method cannot be exported, or what was exported says something else than torch.
        DataError: the file cannot be written.
    """
    if SUFFIXES.get(path.suffix) != kind:
        right = next(suffix for suffix, known in SUFFIXES.items() if known == kind)
        raise SettingsError(f"{path}: a file for {kind} must be called NAME{right}")
    stamp = Stamp(card=model.card, weights=weights, precision="fp32", made_with=_versions(kind))
    program = trace(model)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as beside:
            made = Path(beside) / path.name
            try:
                (onnx if kind == "onnx" else openvino).save(program, stamp, made)
            except (RuntimeError, TypeError, ValueError) as error:
                raise not_exportable(model, error) from None
            whole = run_file(made)
            difference = _difference(model, whole, drawn(model.card) if probe is None else probe)
            if integers is not None:
                small = Path(beside) / f"int8{path.suffix}"
                int8.quantise(made, small, kind, integers.canvases, msgspec.structs.replace(stamp, precision="int8"))
                integers.judge(whole, run_file(small))
                made = small
            if kind == "openvino":
                openvino.numbers_of(made).replace(openvino.numbers_of(path))
            made.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
    return difference


def canvases(slices: Iterable[LungSlice], card: ModelCard) -> Float:
    """Slices as the network is shown them, (N, 1, H, W) in network grey."""
    shown = [card.normalisation.apply(card.placement.place(one.lungs).apply(as_float(one.grey))) for one in slices]
    return np.stack(shown)[:, None]


def run_file(path: Path) -> onnx.OnnxEngine | openvino.OpenVinoEngine:
    """The engine for an exported file.

    Raises:
        SettingsError: its package is not installed.
        WeightsError: it is missing, broken or not ours.
    """
    return onnx.OnnxEngine(path) if SUFFIXES[path.suffix] == "onnx" else openvino.OpenVinoEngine(path)


def drawn(card: ModelCard) -> Float:
    """Three canvases, (3, 1, H, W) in network grey: two lungs of cloudy grey, with more and more of it dense."""
    rows, columns = card.placement.canvas
    down, right = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j].astype(np.float32)
    lungs = ((np.abs(right) - 0.5) / 0.4) ** 2 + (down / 0.8) ** 2 < 1
    clouds = np.random.default_rng(0).random((3, rows, columns), dtype=np.float32)
    grey = card.normalisation.mean + card.normalisation.std * (clouds - 0.5)
    for number, reach in enumerate((0.1, 0.3, 0.9)):
        grey[number] += 2 * card.normalisation.std * ((down - 0.2) ** 2 + (right - 0.5) ** 2 < reach**2)
    canvases: Float = card.normalisation.apply(np.where(lungs, grey, 0).astype(np.float32))[:, None]
    return canvases


def _difference(model: Model, exported: Engine, probe: Float) -> float:
    """The largest difference from torch.

    Raises:
        WeightsError: it is above `TOLERANCE`.
    """
    reference = TorchEngine(model, torch.device("cpu"))
    largest = 0.0
    for start in range(0, len(probe), BATCH):
        canvases = probe[start : start + BATCH]
        pairs = zip(exported.read(canvases), reference.read(canvases), strict=True)
        for one, other in pairs:
            if one is not None and other is not None:
                largest = float(np.maximum(largest, np.abs(one - other).max()))  # NaN wins
    if not largest <= TOLERANCE:  # so that NaN is not let through
        name = model.card.method.__struct_config__.tag
        raise WeightsError(
            f"method {name!r}: what was exported differs from torch by {largest:.2g}, where {TOLERANCE:g} is allowed; "
            f"nothing is written, predict with --engine torch"
        )
    return largest


def _versions(kind: Format) -> dict[str, str]:
    found = {}
    for package in ("lesionsplit", "torch", *(("onnx", "onnxruntime") if kind == "onnx" else ("openvino",)), "nncf"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found

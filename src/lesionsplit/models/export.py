"""From weights to an ONNX file: traced, compared with PyTorch, and only then put in its place."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from lesionsplit.atomic import atomic_file
from lesionsplit.data.lung_slice import LungSlice, find_lungs
from lesionsplit.errors import SettingsError, WeightsError
from lesionsplit.images import Float, as_float
from lesionsplit.models import onnx_engine
from lesionsplit.models.engine import Engine
from lesionsplit.models.model import Model, ModelCard
from lesionsplit.models.torch_engine import TorchEngine
from lesionsplit.models.trace import not_exportable, trace
from lesionsplit.phantom.dataset import PhantomSettings, draw_series

TOLERANCE = 1e-3
"""Largest allowed difference between PyTorch's scores and healthy versions and those of an exported file."""


def export(model: Model, weights: str, path: Path) -> float:
    """Write a model for ONNX Runtime, whole or not at all.

    Args:
        model: on the CPU.
        weights: SHA-256 of its file.
        path: NAME.onnx.

    Returns:
        The largest difference from PyTorch on a few slices of the phantom.

    Raises:
        SettingsError: a package is not installed, or the file's name does not end in .onnx.
        WeightsError: the method cannot be exported, or the exported file differs from PyTorch.
        DataError: the file cannot be written.
    """
    if path.suffix != onnx_engine.SUFFIX:
        raise SettingsError(f"{path}: an exported file must be called NAME{onnx_engine.SUFFIX}")
    for package in onnx_engine.PACKAGES:
        onnx_engine.import_optional(package)
    made_with = {package: version(package) for package in ("lesionsplit", "torch", "onnx", "onnxruntime")}
    card = onnx_engine.ExportCard(card=model.card, weights=weights, made_with=made_with)
    program = trace(model)
    with atomic_file(path, durable=True) as unchecked:
        try:
            onnx_engine.save(program, card, unchecked)
        except (RuntimeError, TypeError, ValueError) as error:
            raise not_exportable(model, error) from None
        return _difference(model, onnx_engine.OnnxEngine(unchecked))


def canvases(slices: Iterable[LungSlice], card: ModelCard) -> Float:
    """Slices as the network gets them, (N, 1, H, W) in network grey."""
    placed = [card.normalisation.apply(card.placement.place(one.lungs).apply(as_float(one.grey))) for one in slices]
    return np.stack(placed)[:, None]


def phantom_canvases(card: ModelCard) -> Float:
    """Eight slices of the phantom, with and without lesions, as the network gets them."""
    settings = PhantomSettings(size=256)
    images = [one.image for label in ("lesion", "normal") for one in draw_series(label, 0, settings)[:4]]
    return canvases((LungSlice(image, find_lungs(image)) for image in images), card)


def _difference(model: Model, exported: Engine) -> float:
    """The largest difference between an exported file and PyTorch.

    Raises:
        WeightsError: it is above `TOLERANCE`.
    """
    images = phantom_canvases(model.card)
    pairs = zip(exported.infer(images), TorchEngine(model, torch.device("cpu")).infer(images), strict=True)
    differences = [np.abs(one - other).max() for one, other in pairs if one is not None and other is not None]
    largest = float(np.max(differences))  # NaN if one is
    if not largest <= TOLERANCE:  # so that NaN fails too
        name = model.card.method.__struct_config__.tag
        raise WeightsError(
            f"method {name!r}: the exported file differs from PyTorch by {largest:.2g}; allowed: {TOLERANCE:g}; "
            "nothing is written, predict with --engine torch"
        )
    return largest

"""From weights to an ONNX file: traced, compared with PyTorch, and only then put in its place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace
from torch.export import ExportedProgram

from lesionsplit.atomic import atomic_file
from lesionsplit.data.lung_slice import LungSlice, find_lungs
from lesionsplit.errors import SettingsError, WeightsError
from lesionsplit.images import Float, as_float
from lesionsplit.models.card import PredictionCard
from lesionsplit.models.engine import Engine
from lesionsplit.models.model import Model, ModelCard
from lesionsplit.models.onnx_engine import KEY, ExportCard, OnnxEngine
from lesionsplit.models.onnx_file import INPUT, SUFFIX, seal
from lesionsplit.models.torch_engine import TorchEngine
from lesionsplit.models.trace import OUTPUTS, not_exportable, quiet, trace
from lesionsplit.phantom.dataset import PhantomSettings, draw_series
from lesionsplit.settings import Settings, to_table

TOLERANCE = 1e-3
"""Largest allowed difference between PyTorch's scores and healthy versions and those of an exported file."""


def export(model: Model, weights: str, path: Path, *, mirror: bool = True) -> float:
    """Write a model for ONNX Runtime, whole or not at all.

    Args:
        model: on the CPU.
        weights: SHA-256 of its file.
        path: NAME.onnx.
        mirror: False: the file predicts from slices alone where the weights' method averages over mirror images.

    Returns:
        The largest difference from PyTorch on a few slices of the phantom, or of noise where the images are no lungs.

    Raises:
        SettingsError: a package is not installed, the file's name does not end in .onnx, or there is no average over
            mirror images to leave out.
        WeightsError: the method cannot be exported, or the exported file differs from PyTorch.
        DataError: the file cannot be written.
    """
    if path.suffix != SUFFIX:
        raise SettingsError(f"{path}: an exported file must be called NAME{SUFFIX}")
    check_packages()
    if not mirror:
        model = without_mirror(model)
    card = ExportCard(
        card=model.card.for_prediction(),
        weights=weights,
        parameters=model.parameters,
        made_with=made_with(),
        mirror_left_out=not mirror,
    )
    program = trace(model)
    with atomic_file(path, durable=True) as unchecked:
        try:
            save(program, OUTPUTS, KEY, card, unchecked)
        except (RuntimeError, TypeError, ValueError) as error:
            raise not_exportable(model, error) from None
        return _difference(model, OnnxEngine(unchecked, "cpu"))


def without_mirror(model: Model) -> Model:
    """The same network with `mirror_average` off, which halves its time.

    Raises:
        SettingsError: it is off already, or the method has no such average.
    """
    method = model.card.method
    if not method.mirror_average:
        raise SettingsError(
            f"method {method.__struct_config__.tag!r} of these weights predicts without mirror images already; leave "
            "--no-mirror out"
        )
    return Model(replace(model.card, method=replace(method, mirror_average=False)), model.network)


def check_packages() -> None:
    """Check that what writes ONNX files is installed.

    Raises:
        SettingsError: a package is missing.
    """
    for name in ("onnx", "onnxscript"):
        if find_spec(name) is None:
            raise SettingsError(f"{name} is not installed; it comes with: pip install 'lesionsplit[train]'")


def made_with() -> dict[str, str]:
    """Versions of what an exported file depends on."""
    return {package: version(package) for package in ("lesionsplit", "torch", "onnx", "onnxruntime")}


def save(program: ExportedProgram, outputs: Sequence[str], key: str, card: Settings, path: Path) -> None:
    """Write a traced network, (B, 1, H, W) for any B, with its card and a seal.

    Args:
        program: the network.
        outputs: names of its outputs; a network may have the first of them only.
        key: of the card in the file's metadata.
        card: how to use the file.
        path: the file.

    Raises:
        RuntimeError: of PyTorch, if ONNX has no equivalent of an operation.
    """
    names = outputs[: len(program.graph_signature.user_outputs)]
    with quiet():
        written = torch.onnx.export(program, (), input_names=[INPUT], output_names=names, dynamo=True, verbose=False)
    if written is None:  # never with `dynamo`, but so it is typed
        raise RuntimeError("PyTorch returned no ONNX program")
    written.model.metadata_props[key] = json.dumps(to_table(card))
    written.save(str(path))
    content = path.read_bytes()
    path.write_bytes(content + seal(content))


def canvases(slices: Iterable[LungSlice], card: ModelCard | PredictionCard) -> Float:
    """Slices as the network gets them, (N, 1, H, W) in network grey."""
    placed = [card.normalisation.apply(card.placement.place(one.lungs).apply(as_float(one.grey))) for one in slices]
    return np.stack(placed)[:, None]


def phantom_canvases(card: ModelCard) -> Float:
    """Eight slices of the phantom, with and without lesions, as the network gets them."""
    settings = PhantomSettings(size=256)
    images = [one.image for label in ("lesion", "normal") for one in draw_series(label, 0, settings)[:4]]
    return canvases((LungSlice(image, find_lungs(image)) for image in images), card)


def random_canvases(card: ModelCard) -> Float:
    """Eight canvases of smooth noise, for networks of other images than lungs."""
    rng = np.random.default_rng(0)
    rows, columns = card.placement.canvas
    coarse = rng.normal(size=(8, card.channels, rows // 8 + 1, columns // 8 + 1)).astype(np.float32)
    smooth = coarse.repeat(8, axis=2).repeat(8, axis=3)[:, :, :rows, :columns]
    noise = 0.3 * smooth + 0.1 * rng.normal(size=smooth.shape).astype(np.float32)
    return card.kind.on_canvas(noise.astype(np.float32), np.ones((rows, columns), dtype=np.float32))


def _difference(model: Model, exported: Engine) -> float:
    """The largest difference between an exported file and PyTorch.

    Raises:
        WeightsError: it is above `TOLERANCE`.
    """
    images = phantom_canvases(model.card) if model.card.kind.of_lungs else random_canvases(model.card)
    pairs = zip(exported.infer(images), TorchEngine(model, "cpu").infer(images), strict=True)
    differences = [np.abs(one - other).max() for one, other in pairs if one is not None and other is not None]
    largest = float(np.max(differences))  # NaN if one is
    if not largest <= TOLERANCE:  # so that NaN fails too
        name = model.card.method.__struct_config__.tag
        raise WeightsError(
            f"method {name!r}: the exported file differs from PyTorch by {largest:.2g}; allowed: {TOLERANCE:g}; "
            "nothing is written, predict with --engine torch"
        )
    return largest

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from msgspec.structs import replace

from lesionsplit import atomic, disk
from lesionsplit.data.lung_slice import LungSlice
from lesionsplit.errors import DataError, SettingsError, WeightsError
from lesionsplit.methods.diffusion import DiffusionSettings
from lesionsplit.methods.distilled import DistilledSettings
from lesionsplit.methods.synthesis import SynthesisSettings
from lesionsplit.models import export as exporting
from lesionsplit.models.card import digest
from lesionsplit.models.export import canvases, export, phantom_canvases
from lesionsplit.models.model import Model, ModelCard
from lesionsplit.models.onnx_engine import OnnxEngine
from lesionsplit.models.torch_engine import TorchEngine
from lesionsplit.networks.denoiser import DenoiserSettings
from lesionsplit.networks.lesion_unet import LesionUNetSettings

METHODS = {
    "synthesis": SynthesisSettings(network=LesionUNetSettings(channels=(4, 6), openings=(3,))),
    "distilled": DistilledSettings(network=DenoiserSettings(channels=(4, 6), embedding=8)),
}


@pytest.mark.parametrize("name", METHODS)
def test_our_own_methods(name: str, card: ModelCard, tmp_path: Path, slices: list[LungSlice]) -> None:
    torch.manual_seed(3)
    network = METHODS[name].build_network()
    for weight in network.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    model, path = Model(replace(card, method=METHODS[name]), network), tmp_path / "own.onnx"
    export(model, "0" * 64, path)
    images = canvases(slices, card)[:3]
    found, expected = OnnxEngine(path).infer(images), TorchEngine(model, "cpu").infer(images)
    assert expected.score.max() > 0.01, "a test of nothing"
    np.testing.assert_allclose(found.score, expected.score, atol=1e-4, rtol=0)
    np.testing.assert_allclose(found.healthy, expected.healthy, atol=1e-4, rtol=0)


def test_without_mirror_the_file_is_what_pytorch_computes_in_one_pass(
    card: ModelCard, tmp_path: Path, slices: list[LungSlice]
) -> None:
    torch.manual_seed(3)
    method = METHODS["distilled"]
    network = method.build_network()
    for weight in network.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    model = Model(replace(card, method=method), network)
    convolutions = {}
    for mirror in (True, False):
        path = tmp_path / f"{mirror}.onnx"
        export(model, "0" * 64, path, mirror=mirror)
        convolutions[mirror] = sum(node.op_type == "Conv" for node in onnx.load(path).graph.node)
    once = sum(isinstance(module, torch.nn.Conv2d) for module in network.modules())
    assert convolutions[True] - convolutions[False] >= once > 0, "less is left out than one pass of the network"
    engine, alone = OnnxEngine(path), Model(replace(card, method=replace(method, mirror_average=False)), network)
    images = canvases(slices, card)[:3]
    expected, both = (TorchEngine(one, "cpu").infer(images).score for one in (alone, model))
    assert np.abs(expected - both).max() > 1e-3, "a test of nothing"
    np.testing.assert_allclose(engine.infer(images).score, expected, atol=1e-4, rtol=0)
    assert engine.card == alone.card.for_prediction()
    assert engine.card.method.settings["mirror_average"] is False
    assert engine.export_card.mirror_left_out
    assert model.card.method.mirror_average, "the given model has changed"


def test_without_mirror_needs_a_method_with_one(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"^method 'decomposition' .* predicts without mirror images already; leave"
    ):
        export(Model.load(weights), "", tmp_path / "a.onnx", mirror=False)
    assert not list(tmp_path.iterdir())


def test_the_phantom_is_on_the_canvas_of_the_card(card: ModelCard) -> None:
    images = phantom_canvases(card)
    assert images.shape == (8, 1, *card.placement.canvas)
    assert images.dtype == np.float32
    assert images.std() > 0.1


def test_the_name_must_fit(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"a\.xml: an exported file must be called NAME\.onnx$"):
        export(Model.load(weights), "", tmp_path / "a.xml")


@pytest.mark.parametrize("missing", ["onnx", "onnxscript"])
def test_a_missing_package_is_named(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == missing else name)
    with pytest.raises(SettingsError, match=rf"^{missing} is not installed; .* pip install 'lesionsplit\[train\]'"):
        export(Model.load(weights), "", tmp_path / "a.onnx")


@pytest.mark.parametrize(("tolerance", "offset"), [(-1.0, 0.0), (1e-3, 2e-3), (1e-3, np.nan)])
def test_a_file_that_differs_from_torch_is_not_written(
    exported: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tolerance: float, offset: float
) -> None:
    path, infer = tmp_path / "a.onnx", OnnxEngine.infer
    path.write_bytes(b"before")
    monkeypatch.setattr(exporting, "TOLERANCE", tolerance)
    monkeypatch.setattr(exporting, "trace", lambda _: None)
    monkeypatch.setattr(exporting, "save", lambda *given: given[-1].write_bytes(exported.read_bytes()))
    monkeypatch.setattr(
        OnnxEngine, "infer", lambda self, images: (out := infer(self, images))._replace(healthy=out.healthy + offset)
    )
    with pytest.raises(WeightsError, match=r"^method 'decomposition': the exported file differs from PyTorch by"):
        export(Model.load(weights), "", path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_method_that_a_graph_cannot_express_is_refused(card: ModelCard, tmp_path: Path) -> None:
    method = DiffusionSettings(network=DenoiserSettings(channels=(4, 6), embedding=8))
    model = Model(replace(card, method=method), method.build_network())
    with pytest.raises(WeightsError, match=r"method 'diffusion' cannot be exported \(.*; predict with --engine torch"):
        export(model, "", tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_to(exported: Path, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be written"):
        export(Model.load(weights), "", tmp_path / "file" / "a.onnx")


def test_an_exported_file_survives_a_power_failure(
    exported: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    for module in (atomic, disk):
        monkeypatch.setattr(module, "sync", lambda path: synced.append(path.name))
    export(Model.load(weights), digest(weights), tmp_path / "tiny.onnx")
    assert synced == ["tiny.onnx", tmp_path.name]

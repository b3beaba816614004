from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from lesionsplit.data.lung_slice import LungSlice
from lesionsplit.errors import DataError, SettingsError, WeightsError
from lesionsplit.methods.synthesis import SynthesisSettings
from lesionsplit.models import export as exporting
from lesionsplit.models import open_engine as module
from lesionsplit.models.card import digest
from lesionsplit.models.export import canvases, export, phantom_canvases
from lesionsplit.models.model import Model, ModelCard
from lesionsplit.models.onnx_engine import OnnxEngine
from lesionsplit.models.open_engine import open_engine
from lesionsplit.models.torch_engine import TorchEngine
from lesionsplit.networks.lesion_unet import LesionUNetSettings


def test_onnx_runtime_runs_the_weights_in_the_package() -> None:
    engine = open_engine()
    assert isinstance(engine, OnnxEngine)
    assert engine.export_card.weights == digest(), "make it again: lesionsplit export default -o .../default.onnx"
    model = Model.load()
    assert engine.card == model.card.for_prediction()
    assert engine.parameters == model.parameters
    assert isinstance(open_engine(None, "torch"), TorchEngine)
    images = phantom_canvases(engine.card)
    for one, other in zip(engine.infer(images)[:2], TorchEngine(model).infer(images)[:2], strict=True):
        assert other.std() > 0.01
        np.testing.assert_allclose(one, other, atol=1e-4, rtol=0)


def test_torch_runs_what_is_not_exported(weights: Path) -> None:
    engine = open_engine(weights)
    assert isinstance(engine, TorchEngine)
    assert engine.name.startswith("torch ")


@pytest.mark.parametrize("engine", [None, "onnx"])
def test_onnx_runtime_runs_an_exported_file(exported: Path, tmp_path: Path, engine: module.EngineName | None) -> None:
    assert isinstance(open_engine(exported, engine, cache=tmp_path), OnnxEngine)
    assert not list(tmp_path.iterdir()), "it was converted again"


def test_an_exported_file_is_not_run_by_torch(exported: Path) -> None:
    with pytest.raises(SettingsError, match=r"tiny\.onnx: is a file for ONNX Runtime, and the engine is torch; leave"):
        open_engine(exported, "torch")


def test_onnx_runtime_runs_weights_with_their_own_export_beside_them(
    exported: Path, weights: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.safetensors"
    shutil.copy(weights, mine)
    shutil.copy(exported, tmp_path / "mine.onnx")
    assert isinstance(open_engine(mine), OnnxEngine)
    assert isinstance(open_engine(mine, "torch"), TorchEngine)
    other = Model.load(weights)
    with torch.no_grad():
        next(other.network.parameters()).add_(1)
    other.save(mine)  # the file beside it is now that of other weights
    assert isinstance(open_engine(mine), TorchEngine)
    (tmp_path / "mine.onnx").write_bytes(b"damaged")
    assert isinstance(open_engine(mine), TorchEngine)


def test_a_file_without_mirror_images_does_not_stand_in_for_the_weights_beside_it(
    card: ModelCard, tmp_path: Path
) -> None:
    method = SynthesisSettings(network=LesionUNetSettings(channels=(4, 6), openings=()))
    model, path = Model(replace(card, method=method), method.build_network()), tmp_path / "mine.safetensors"
    model.save(path)
    for mirror, engine in ((False, TorchEngine), (True, OnnxEngine)):
        export(model, digest(path), tmp_path / "mine.onnx", mirror=mirror)
        assert isinstance(open_engine(path), engine)
        assert isinstance(open_engine(tmp_path / "mine.onnx"), OnnxEngine)


def test_a_gpu_is_used_by_what_can_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(module, "on_gpu", lambda device: device != "cpu")
    monkeypatch.setattr(module, "_torch_engine", lambda _weights, device: asked.append(device))
    open_engine()
    open_engine(device="cuda:1")
    assert asked == ["auto", "cuda:1"]
    monkeypatch.setattr(module, "runtime_has_cuda", lambda: True)
    assert isinstance(open_engine(), OnnxEngine)
    monkeypatch.setattr(module, "runtime_has_cuda", lambda: False)
    monkeypatch.setattr(module, "find_spec", lambda _: None)  # without PyTorch
    assert isinstance(open_engine(), OnnxEngine)
    assert asked == ["auto", "cuda:1"]


def test_without_pytorch(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch_engine", "model"):
        monkeypatch.delitem(sys.modules, f"lesionsplit.models.{name}")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert isinstance(open_engine(), OnnxEngine)
    with pytest.raises(SettingsError) as caught:
        open_engine(weights)
    assert str(caught.value) == "torch is not installed; it comes with: pip install 'lesionsplit[train]'"
    with pytest.raises(WeightsError, match=r"none\.safetensors: no such file; give a weights file that"):
        open_engine(tmp_path / "none.safetensors")


def test_weights_are_converted_once(
    exported: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slices: list[LungSlice]
) -> None:
    first = open_engine(weights, "onnx", cache=tmp_path)
    assert isinstance(first, OnnxEngine)
    monkeypatch.setattr(exporting, "export", None)  # would be a TypeError
    again = open_engine(weights, "onnx", cache=tmp_path)
    images = canvases(slices, first.card)
    np.testing.assert_array_equal(first.infer(images).score, again.infer(images).score)
    monkeypatch.setattr(module, "_code_digest", lambda: "of other code")
    with pytest.raises(TypeError):
        open_engine(weights, "onnx", cache=tmp_path)


@pytest.mark.parametrize("changed", [b"", b"not an ONNX file"])
def test_a_damaged_conversion_is_made_again(changed: bytes, exported: Path, weights: Path, tmp_path: Path) -> None:
    open_engine(weights, "onnx", cache=tmp_path)
    (path,) = (tmp_path / "engines").glob("*.onnx")
    path.write_bytes(changed)
    assert isinstance(open_engine(weights, "onnx", cache=tmp_path), OnnxEngine)
    assert path.stat().st_size > len(changed)


def test_a_damaged_file_of_the_user_is_left_as_it_is(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(b"not an ONNX file")
    with pytest.raises(WeightsError, match="is not a whole ONNX file"):
        open_engine(tmp_path / "mine.onnx", "onnx", cache=tmp_path)
    assert (tmp_path / "mine.onnx").read_bytes() == b"not an ONNX file"


@pytest.mark.parametrize(
    ("engine", "device", "message"),
    [
        ("openvino", "cpu", "engine 'openvino' is not known; allowed: torch, onnx, mindspore"),
        ("onnx", "meta", "device 'meta' is not available; allowed: auto, cpu, cuda, cuda:N, mps"),
        (
            "onnx",
            "mps",
            "ONNX Runtime as it is installed runs on the CPU, not on mps; leave --device out, give cpu, or "
            "for Nvidia's GPUs install onnxruntime-gpu instead of onnxruntime",
        ),
        ("onnx", "abacus", "device 'abacus' is not available; allowed: auto, cpu, cuda, cuda:N, mps"),
        ("torch", "abacus", "device 'abacus' is not available; allowed: auto, cpu, cuda, cuda:N, mps"),
    ],
)
def test_engines_and_devices_that_are_not_available(engine: str, device: str, message: str, weights: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        open_engine(weights, engine, device)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_a_missing_package_is_named(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnx" else name)
    with pytest.raises(SettingsError, match=r"^onnx is not installed; .* pip install 'lesionsplit\[train\]'"):
        open_engine(weights, "onnx", cache=tmp_path)


def test_a_cache_that_cannot_be_written(exported: Path, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"engines: cannot be written \(.*\); predict with --engine torch"):
        open_engine(weights, "onnx", cache=tmp_path / "file")

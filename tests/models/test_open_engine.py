from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from lesionsplit.data.lung_slice import LungSlice
from lesionsplit.errors import DataError, SettingsError, WeightsError
from lesionsplit.models import open_engine as module
from lesionsplit.models.export import canvases
from lesionsplit.models.onnx_engine import OnnxEngine
from lesionsplit.models.open_engine import open_engine
from lesionsplit.models.torch_engine import TorchEngine


def test_torch_is_the_default(weights: Path) -> None:
    engine = open_engine(weights)
    assert isinstance(engine, TorchEngine)
    assert engine.name.startswith("torch ")


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_onnx_runtime_runs_an_exported_file(exported: Path, tmp_path: Path, engine: module.EngineName) -> None:
    assert isinstance(open_engine(exported, engine, cache=tmp_path), OnnxEngine)
    assert not list(tmp_path.iterdir()), "it was converted again"


def test_weights_are_converted_once(
    exported: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slices: list[LungSlice]
) -> None:
    first = open_engine(weights, "onnx", cache=tmp_path)
    assert isinstance(first, OnnxEngine)
    monkeypatch.setattr(module, "export", None)  # would be a TypeError
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
        ("onnx", "meta", "engine onnx runs on the CPU, not on meta; leave --device out, or give cpu"),
        ("onnx", "abacus", "device 'abacus' is not available; allowed: auto, cpu, cuda, cuda:N, mps"),
        ("torch", "abacus", "device 'abacus' is not available; allowed: auto, cpu, cuda, cuda:N, mps"),
    ],
)
def test_engines_and_devices_that_are_not_available(engine: str, device: str, message: str, weights: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        open_engine(weights, engine, device)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_a_missing_package_is_named(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SettingsError, match=r"^onnx is not installed; .* pip install 'lesionsplit\[onnx\]'"):
        open_engine(weights, "onnx", cache=tmp_path)


def test_a_cache_that_cannot_be_written(exported: Path, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"engines: cannot be written \(.*\); predict with --engine torch"):
        open_engine(weights, "onnx", cache=tmp_path / "file")

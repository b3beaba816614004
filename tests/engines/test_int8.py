from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from lesionsplit.data.lungs import read_slice
from lesionsplit.data.table import Table
from lesionsplit.engines import int8
from lesionsplit.engines.export import canvases, export, run_file
from lesionsplit.engines.onnx import failures
from lesionsplit.errors import SettingsError, WeightsError
from lesionsplit.methods.synthesis import SynthesisSettings
from lesionsplit.model import Model, ModelCard
from lesionsplit.networks.additive import AdditiveSettings


@pytest.fixture(autouse=True)
def _no_word_to_their_maker() -> None:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as `engines.base.package` has it


def test_only_what_is_learnt_becomes_integers(card: ModelCard, phantom: Table, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    pytest.importorskip("nncf", reason="int8 comes with lesionsplit[int8]")
    torch.manual_seed(3)
    method = SynthesisSettings(network=AdditiveSettings(channels=(4, 6), openings=(3,)))
    network = method.build_network()
    torch.nn.init.normal_(network.decoder.head.weight)
    model = Model(msgspec.structs.replace(card, method=method), network)
    whole, small = tmp_path / "whole.xml", tmp_path / "small.xml"
    export(model, "0" * 64, whole, "openvino")
    images = canvases(map(read_slice, phantom.slices[:6]), card)
    stamp = msgspec.structs.replace(run_file(whole).stamp, precision="int8")
    int8.quantise(whole, small, "openvino", images, stamp)

    made_of: dict[bool, set[str]] = {True: set(), False: set()}  # a convolution's numbers, by whether it smooths
    for operation in openvino.Core().read_model(small).get_ops():
        if operation.get_type_name() == "Convolution":
            weights = operation.input(1).get_source_output()
            smooths = list(weights.get_partial_shape().to_shape())[:2] == [1, 1]
            made_of[smooths].add(weights.get_node().get_type_name())
    assert made_of == {True: {"Reshape"}, False: {"Multiply"}}  # integers come with the factor that they stand for

    found, expected = run_file(small).read(images), run_file(whole).read(images)
    assert run_file(small).stamp == msgspec.structs.replace(stamp, content=run_file(small).stamp.content)
    assert expected.score.std() > 0.02, "a test of nothing"
    assert 0 < np.abs(found.score - expected.score).mean() < 0.005


def test_a_missing_nncf_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card: ModelCard) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(SettingsError, match=r"nncf is not installed; .* pip install 'lesionsplit\[int8\]'"):
        int8.quantise(tmp_path / "a.xml", tmp_path / "b.xml", "openvino", np.zeros((1, 1, 32, 48), np.float32), None)  # type: ignore[arg-type]


def test_what_onnx_runtime_says_no_to_is_one_line(
    card: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    nncf = pytest.importorskip("nncf", reason="int8 comes with lesionsplit[int8]")
    method = SynthesisSettings(network=AdditiveSettings(channels=(4, 6), openings=(3,)))
    model, whole = Model(msgspec.structs.replace(card, method=method), method.build_network()), tmp_path / "a.onnx"
    export(model, "0" * 64, whole, "onnx")

    def refuse(*_: object, **__: object) -> None:
        raise failures()[0]("no such thing\nat a place")

    monkeypatch.setattr(nncf, "quantize", refuse)
    with pytest.raises(WeightsError, match=r"^NNCF cannot .* as onnx \(no such thing\); export it without --int8$"):
        int8.quantise(whole, tmp_path / "b.onnx", "onnx", np.zeros((1, 1, 32, 48), np.float32), run_file(whole).stamp)

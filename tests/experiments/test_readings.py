from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import msgspec
import numpy as np
import pytest
import torch

from lesionsplit.data.lung_slice import read_slice
from lesionsplit.data.table import Table
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.models.model import Model
from lesionsplit.models.torch_engine import TorchEngine
from lesionsplit.training.run import read_config


@pytest.fixture(scope="module")
def script(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("experiments/readings.py")


def test_the_threshold_is_set_anew_and_the_weights_are_not(
    script: ModuleType, weights: Path, phantom: Table, tmp_path: Path
) -> None:
    model = Model.load(weights)
    script.with_threshold(model, phantom).save(tmp_path / "w.safetensors")
    written = Model.load(tmp_path / "w.safetensors")
    before, after = (one.network.state_dict() for one in (Model.load(weights), written))
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    card = msgspec.structs.replace(
        written.card, threshold=model.card.threshold, threshold_from=model.card.threshold_from
    )
    assert card == model.card
    normal = phantom.split("val").labelled("normal")
    scores = [
        one.score[one.lungs] for one in SlicePredictor(TorchEngine(model)).predict_stream(map(read_slice, normal))
    ]
    lung = np.concatenate(scores)
    assert np.mean(lung >= np.float32(written.card.threshold)) <= 0.005
    assert np.mean(lung >= np.float32(written.card.threshold - 1.5 / 65535)) > 0.005  # a level lower, rounded
    assert written.card.threshold_from == f"0.50% of the lung of {len(normal)} normal slices of val reach it"


def test_how_much_of_a_lung_is_outlined(script: ModuleType, phantom: Table) -> None:
    for row in phantom.split("val").labelled("lesion"):
        careful, generous = (script.outlined(row, (name,)) for name in ("a", "b_revised"))
        assert 0 <= careful <= generous <= 1
        assert script.outlined(row, ("a", "b_revised")) == generous > 0


@pytest.mark.parametrize("name", ["distilled", "synthesis"])
def test_every_reading_of_a_method_changes_what_it_says_and_nothing_else(
    script: ModuleType, name: str, weights: Path
) -> None:
    method = read_config(name).method
    card = msgspec.structs.replace(Model.load(weights).card, method=method)
    assert script.name_of(method) == name
    for changes in script.READINGS[name].values():
        changed = script.with_reading(card, **changes).method
        settings = changed.calibration if name == "synthesis" else changed
        before = method.calibration if name == "synthesis" else method
        assert settings == msgspec.structs.replace(before, **changes)
        assert changes == {} or settings != before


def test_weights_are_not_read_as_another_method(
    script: ModuleType, weights: Path, monkeypatch: pytest.MonkeyPatch, phantom: Table
) -> None:
    given = ["readings.py", str(weights), str(phantom.root), "--as", "supervised"]
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(SystemExit, match="supervised: is of supervised; the weights are of decomposition"):
        script.main()
    monkeypatch.setattr(sys, "argv", given[:3])
    with pytest.raises(SystemExit, match="is of decomposition; allowed: distilled, synthesis"):
        script.main()

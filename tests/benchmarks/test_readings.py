from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import msgspec
import numpy as np
import pytest
import torch

from lesionsplit.data.lungs import read_slice
from lesionsplit.data.table import Table
from lesionsplit.model import Model
from lesionsplit.predictor import Predictor

SCRIPT = Path(__file__).parents[2] / "benchmarks/readings.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readings", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    scores = [one.score[one.lungs] for one in Predictor(model).predict_stream(map(read_slice, normal))]
    lung = np.concatenate(scores)
    assert np.mean(lung >= np.float32(written.card.threshold)) <= 0.005
    assert np.mean(lung >= np.float32(written.card.threshold - 1.5 / 65535)) > 0.005  # a level lower, rounded
    assert written.card.threshold_from == f"0.50% of the lung of {len(normal)} normal slices of val reach it"


def test_how_much_of_a_lung_is_outlined(script: ModuleType, phantom: Table) -> None:
    for row in phantom.split("val").labelled("lesion"):
        careful, generous = (script.outlined(row, (name,)) for name in ("a", "b_revised"))
        assert 0 <= careful <= generous <= 1
        assert script.outlined(row, ("a", "b_revised")) == generous > 0

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
import safetensors.torch
import torch

from lesionsplit.errors import WeightsError
from lesionsplit.lungs.network import DEFAULT
from lesionsplit.models.card import digest
from lesionsplit.training.lungs.network import WEIGHTS, LungCard, LungModel, LungNet


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "lungs.safetensors"
    LungModel(LungCard(channels=(2, 3), trained={"seed": "0"}), LungNet((2, 3))).save(path)
    return path


def test_the_weights_in_the_package_are_those_of_their_card() -> None:
    model = LungModel.load()
    assert model.card.channels == (8, 16, 32, 48, 64)
    assert {"data", "seed", "steps", "version"} <= set(model.card.trained)
    path = Path(str(DEFAULT))
    assert path.stat().st_size <= 2 * 2**20
    card = (files("lesionsplit") / "weights" / "lungs.md").read_text(encoding="utf-8")
    assert re.findall(r"SHA-256 `([0-9a-f]{64})`", card) == [digest(path)]


def test_what_is_saved_is_loaded(weights: Path) -> None:
    model = LungModel.load(weights)
    assert model.card == LungCard(channels=(2, 3), trained={"seed": "0"})
    torch.manual_seed(0)
    fresh = LungNet((2, 3))
    for name, tensor in model.network.state_dict().items():
        torch.testing.assert_close(tensor, fresh.state_dict()[name], rtol=0, atol=0)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"none.safetensors: no such file; give a weights file that `lesionsplit train-lungs`"
    ):
        LungModel.load(tmp_path / "none.safetensors")


def test_a_file_that_is_cut_short(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(WeightsError, match=r"lungs.safetensors: is not a whole safetensors file \("):
        LungModel.load(weights)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (None, r"is safetensors but has no card of lesionsplit's lungs"),
        ({"format": 1}, r"is of format 1, from another version of lesionsplit; this version reads format 3"),
        ({"format": 2}, r"is of format 2, from another version of lesionsplit; this version reads format 3"),
        ({"mm": 2.0}, r"mm: .*; is the file from another version"),
        ({"colour": 1}, r"unknown setting colour"),
        ({"channels": [2, 4]}, r"the weights do not fit their own card"),
    ],
)
def test_a_card_that_does_not_fit(weights: Path, card: dict[str, object] | None, message: str) -> None:
    tensors = safetensors.torch.load_file(weights)
    metadata = {} if card is None else {WEIGHTS.key: json.dumps({"channels": [2, 3], **card})}
    safetensors.torch.save_file(tensors, weights, metadata=metadata)
    with pytest.raises(WeightsError, match=message):
        LungModel.load(weights)

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import safetensors.torch
import torch
from msgspec.structs import replace

from lesionsplit.errors import DataError, WeightsError
from lesionsplit.methods.base import Distillation
from lesionsplit.methods.distilled import DistilledSettings
from lesionsplit.methods.supervised import SupervisedSettings
from lesionsplit.methods.table import AnyMethod
from lesionsplit.models.card import digest
from lesionsplit.models.model import WEIGHTS, Model, ModelCard
from lesionsplit.models.torch_engine import TorchEngine
from lesionsplit.settings import Settings, to_table


@pytest.fixture
def model(card: ModelCard) -> Model:
    torch.manual_seed(3)
    return Model(card, card.method.build_network())


@pytest.fixture
def path(tmp_path: Path, model: Model) -> Path:
    path = tmp_path / "w.safetensors"
    model.save(path)
    return path


def test_what_was_saved_comes_back_to_the_bit(path: Path, model: Model) -> None:
    again = Model.load(path)
    assert again.card == model.card
    saved, loaded = model.network.state_dict(), again.network.state_dict()
    assert saved.keys() == loaded.keys()
    assert all(torch.equal(saved[name], loaded[name]) for name in saved)


def test_a_loaded_network_is_for_inference_only(path: Path) -> None:
    network = Model.load(path).network
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())


def test_the_digest_is_the_sha_256_of_the_file(path: Path) -> None:
    assert digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("older", [1, 2])
def test_a_file_of_an_older_version_is_refused(older: int, path: Path, model: Model) -> None:
    table = to_table(model.card) | {"format": older}
    table["method"]["objective"]["judged"] = table["method"]["objective"].pop("critic_inputs")
    safetensors.torch.save_file({"x": torch.zeros(2)}, path, metadata={WEIGHTS.key: json.dumps(table)})
    with pytest.raises(WeightsError) as caught:
        Model.load(path)
    assert str(caught.value) == (
        f"{path}: is of format {older}, from another version of lesionsplit; this version reads format 3: "
        "make the file again with it"
    )


def test_weights_of_another_network_are_refused(path: Path, model: Model) -> None:
    metadata = {WEIGHTS.key: json.dumps(to_table(model.card))}
    safetensors.torch.save_file({"x": torch.zeros(2)}, path, metadata=metadata)
    with pytest.raises(WeightsError, match="the weights do not fit their own card"):
        Model.load(path)


def test_the_weights_in_the_package() -> None:
    model = Model.load()
    assert 0 < model.card.threshold < 1
    assert model.card.trained["supervision"] == "image labels only"
    weights = Path(__file__).parents[2] / "src/lesionsplit/weights/default.safetensors"
    assert weights.stat().st_size < 16 << 20
    assert digest() == digest(weights)
    assert digest() in weights.with_suffix(".md").read_text(), "the card is of other weights"


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("threshold",), float("nan"), "threshold is nan; allowed: finite numbers"),
        (("threshold",), 7, "threshold: expected `float` <= 1.0"),
        (("threshold",), -0.5, "threshold: expected `float` > 0.0"),
        (("normalisation", "mean"), float("nan"), "normalisation.mean is nan; allowed: finite numbers"),
        (("normalisation", "std"), float("inf"), "normalisation.std is inf; allowed: finite numbers"),
        (("normalisation", "std"), 0, "normalisation.std: expected `float` >= 1e-06"),
        (("normalisation", "std"), -0.1, "normalisation.std: expected `float` >= 1e-06"),
        (("placement", "pixel_mm"), -1.24, "placement.pixel_mm: expected `float` >= 0.01"),
        (("placement", "rows"), 10**9, "placement.rows: expected `int` <= 4096"),
        (("method", "network", "channels"), [200000, 4], "method.network.channels[0]: expected `int` <= 4096"),
        (("method", "network", "channels"), [4096, 4096], "the weights do not fit their own card ("),
    ],
)
def test_numbers_of_a_card_that_no_network_has(
    path: Path, model: Model, place: tuple[str, ...], value: object, message: str
) -> None:
    table = to_table(model.card)
    *tables, key = place
    inner = table
    for name in tables:
        inner = inner[name]
    inner[key] = value
    safetensors.torch.save_file(model.network.state_dict(), path, metadata={WEIGHTS.key: json.dumps(table)})
    with pytest.raises(WeightsError) as caught:
        Model.load(path)
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("method", get_args(AnyMethod))
def test_every_network_is_its_state_and_nothing_else(method: type[Settings], card: ModelCard, tmp_path: Path) -> None:
    """A loaded network is made without memory and then filled: a tensor outside of its state would be random."""
    given = {"distillation": Distillation(teachers=("a",))} if method is DistilledSettings else {}
    given |= {"annotator": "a"} if method is SupervisedSettings else {}
    settings = method(**given)
    network = settings.build_network()
    for module in network.modules():
        assert not module._non_persistent_buffers_set
        assert not any(isinstance(value, torch.Tensor) for value in vars(module).values())
    Model(replace(card, method=settings), network).save(tmp_path / "w.safetensors")
    again = Model.load(tmp_path / "w.safetensors").network
    assert all(one.device.type == "cpu" for one in (*again.parameters(), *again.buffers()))


def test_a_result_that_is_not_finite_is_no_result(model: Model) -> None:
    """NaN is below every threshold, so it would be a slice without lesion."""
    *_, weight = model.network.parameters()
    weight.fill_(torch.nan)
    canvases = np.full((1, 1, 32, 48), 0.5, dtype=np.float32)
    engine = TorchEngine(model, torch.device("cpu"))
    with pytest.raises(WeightsError, match="the network's output is not finite: its weights are damaged"):
        engine.infer(canvases)
    canvases[0, 0, 5, 5] = np.nan
    with pytest.raises(DataError, match="a grey value of a slice is not finite"):
        engine.infer(canvases)

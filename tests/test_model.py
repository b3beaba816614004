from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch

from lesionsplit.errors import WeightsError
from lesionsplit.model import KEY, Model, ModelCard, digest
from lesionsplit.settings import to_table


@pytest.fixture
def model(card: ModelCard) -> Model:
    torch.manual_seed(3)
    return Model(card, card.method.build_network())


def test_what_was_saved_comes_back_to_the_bit(tmp_path: Path, model: Model) -> None:
    model.save(tmp_path / "w.safetensors")
    again = Model.load(tmp_path / "w.safetensors")
    assert again.card == model.card
    kept, back = model.network.state_dict(), again.network.state_dict()
    assert kept.keys() == back.keys()
    assert all(torch.equal(kept[name], back[name]) for name in kept)


def test_a_loaded_network_is_for_reading_only(tmp_path: Path, model: Model) -> None:
    model.save(tmp_path / "w.safetensors")
    network = Model.load(tmp_path / "w.safetensors").network
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())


def test_the_file_is_plain_safetensors(tmp_path: Path, model: Model) -> None:
    model.save(tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"][KEY]) == json.loads(json.dumps(to_table(model.card)))
    assert digest(tmp_path / "w.safetensors") == hashlib.sha256(content).hexdigest()


def card_with(model: Model, **changes: object) -> dict[str, str]:
    return {KEY: json.dumps(to_table(model.card) | changes)}


def test_what_is_no_weights_file_of_ours_is_named(tmp_path: Path, model: Model) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(WeightsError, match="no such file; give a weights file"):
        Model.load(path)
    path.write_text("<html>not found</html>")
    with pytest.raises(WeightsError, match="is not a whole safetensors file"):
        Model.load(path)
    model.save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="is not a whole safetensors file"):
        Model.load(path)
    safetensors.torch.save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="has no card of lesionsplit"):
        Model.load(path)
    safetensors.torch.save_file({"x": torch.zeros(2)}, path, metadata=card_with(model))
    with pytest.raises(WeightsError, match="the weights do not fit their own card"):
        Model.load(path)
    safetensors.torch.save_file({"x": torch.zeros(2)}, path, metadata=card_with(model, format=2))
    with pytest.raises(WeightsError, match=r"another version of lesionsplit\?"):
        Model.load(path)
    safetensors.torch.save_file({"x": torch.zeros(2)}, path, metadata=card_with(model, colour="red"))
    with pytest.raises(WeightsError, match="colour"):
        Model.load(path)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("exploded"),))  # type: ignore[return-value]


def test_a_pickle_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("w.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(WeightsError):
        Model.load(Path("w.pt"))
    assert not Path("exploded").exists()


def test_a_folder_is_no_weights_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        Model.load(tmp_path)


def test_the_weights_in_the_box() -> None:
    model = Model.load()
    assert 0 < model.card.threshold < 1
    assert model.card.trained["supervision"] == "image labels only"
    box = Path(__file__).parents[1] / "src/lesionsplit/weights"
    assert (box / "default.safetensors").stat().st_size < 16 << 20
    card = (box / "default.md").read_text()
    assert digest(box / "default.safetensors") in card, "the card is of other weights"

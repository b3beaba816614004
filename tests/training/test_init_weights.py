"""A training that starts from a weights file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from lesionsplit.data.normalise import Normalisation
from lesionsplit.errors import SettingsError, WeightsError
from lesionsplit.models.model import Model, ModelCard
from lesionsplit.runtime import Runtime
from lesionsplit.training.run import Run, RunSettings, read_config
from lesionsplit.training.train import train_run


@pytest.fixture
def weights(tiny: RunSettings, tmp_path: Path) -> Path:
    torch.manual_seed(5)
    card = ModelCard(
        format=3,
        method=tiny.method,
        placement=tiny.placement,
        normalisation=Normalisation(mean=0.4, std=0.1),
        threshold=0.5,
        threshold_from="a test",
        trained={},
    )
    Model(card, tiny.method.build_network()).save(tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def starting_from(settings: RunSettings, weights: Path, steps: int) -> RunSettings:
    return replace(settings, training=replace(settings.training, init_weights=str(weights), steps=steps))


def test_the_network_starts_from_them(weights: Path, tiny: RunSettings, phantom_folder: Path, tmp_path: Path) -> None:
    """In the warm-up of the critic the network does not learn, so they are what is written."""
    run = Run.create(tmp_path / "run", starting_from(tiny, weights, 2))
    train_run(run, phantom_folder, cache=tmp_path / "cache", runtime=Runtime(threads=1))
    expected = Model.load(weights).network.state_dict()
    for name, value in Model.load(run.weights).network.state_dict().items():
        assert torch.equal(value, expected[name]), name
    weights.unlink()
    longer = Run.open(run.folder, steps=3)  # from its checkpoint: the file is no longer needed
    assert train_run(longer, phantom_folder, cache=tmp_path / "cache", runtime=Runtime(threads=1)).finished


def test_weights_of_another_network(weights: Path, tiny: RunSettings, phantom_folder: Path, tmp_path: Path) -> None:
    method = replace(tiny.method, network=replace(tiny.method.network, channels=(4, 8)))  # type: ignore[arg-type, type-var]
    run = Run.create(tmp_path / "run", replace(starting_from(tiny, weights, 2), method=method))
    with pytest.raises(SettingsError, match=r"^training.init_weights: .*weights.safetensors is of another method or "):
        train_run(run, phantom_folder)
    assert not run.folder.exists()


def test_weights_that_are_not_there(tiny: RunSettings, phantom_folder: Path, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", starting_from(tiny, tmp_path / "none.safetensors", 2))
    with pytest.raises(WeightsError, match=r"none.safetensors: no such file; give a weights file that"):
        train_run(run, phantom_folder)


def test_teachers_give_weights_already() -> None:
    with pytest.raises(SettingsError, match=r"init_weights: method.distillation.init_from_teacher gives "):
        read_config("distilled", ["training.init_weights=x.safetensors"])

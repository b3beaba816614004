"""What holds for every method in the table, whichever it is: a new one is tested by being named there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from lesionsplit.data.augment import Augmentation
from lesionsplit.data.lung_slice import read_slice
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.data.table import read_table
from lesionsplit.errors import SettingsError
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.methods.table import AnyMethod
from lesionsplit.models.card import supervision
from lesionsplit.models.model import Model
from lesionsplit.runtime import Runtime
from lesionsplit.settings import from_table, to_table
from lesionsplit.training.run import Run, RunSettings, TrainingSettings
from lesionsplit.training.train import train_run

METHODS = {str(kind.__struct_config__.tag): kind for kind in get_args(AnyMethod)}
EARLY = 2
"""Steps after which everything that a method does later has begun."""

SOON = {
    "steps": EARLY,
    "warmup_steps": EARLY,
    "critic_warmup_steps": EARLY,
    "critic_steps": 1,
    "critic_long": EARLY,
    "classifier_warmup_steps": EARLY,
    "start_step": EARLY,
    "transplant_from_step": 1,
    "ramp_steps": 1,
    "update_every": 1,
}


def small(table: dict[str, Any]) -> dict[str, Any]:
    """Settings as they are, but narrow, and with nothing put off."""
    changed: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            changed[key] = small(value)
        elif key == "channels":
            changed[key] = [min(4 * (level + 1), width) for level, width in enumerate(value)]
        elif key == "width":
            changed[key] = 4
        elif key == "teachers":
            changed[key] = [str(Path(__file__).with_name("teacher.toml"))]
        else:
            changed[key] = SOON.get(key, value)
    return changed


def settings(name: str, steps: int = 5) -> RunSettings:
    named = {"annotator": "a"} if any(f.name == "annotator" for f in msgspec.structs.fields(METHODS[name])) else {}
    whole = msgspec.convert({"name": name, **named}, METHODS[name])
    method = from_table(RunSettings, {"method": small(to_table(whole))}, source=name).method
    return RunSettings(
        placement=PlacementSettings(rows=32, columns=48, frame=56),
        augmentation=Augmentation(),
        method=method,
        training=TrainingSettings(
            steps=steps, batch_size=4, ema_decay=0.5, log_every=2, checkpoint_every=2, picture_every=100
        ),
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, phantom_folder: Path) -> dict[str, Run]:
    """Every method, trained for a few steps."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("contract")
    runs = {name: Run.create(folder / name, settings(name)) for name in METHODS}
    for run in runs.values():
        assert train_run(run, phantom_folder, cache=folder / "cache", runtime=Runtime(threads=1)).finished
    return runs


@pytest.fixture(params=METHODS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_scores_are_raw_and_on_one_scale(name: str, trained: dict[str, Run], phantom_folder: Path) -> None:
    rows = list(read_table(phantom_folder))[:4]
    for row, found in zip(
        rows, SlicePredictor.load(trained[name].weights).predict_stream(map(read_slice, rows)), strict=True
    ):
        lungs = read_slice(row).lungs
        assert found.score.shape == lungs.shape == found.healthy.shape
        assert found.score.dtype == np.float32
        assert np.isfinite(found.score).all()
        assert found.score.min() >= 0
        assert found.score.max() <= 1
        assert 0 <= found.slice_score <= 1


def test_a_slice_is_scored_alone(name: str, trained: dict[str, Run], phantom_folder: Path) -> None:
    """Whatever else is in the batch, and whatever was scored before."""
    model = Model.load(trained[name].weights)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 1, 32, 48, generator=generator) * 2 - 1
    with torch.inference_mode():
        together, alone = model.infer(images), model.infer(images[1:2])
    torch.testing.assert_close(together.score[1:2], alone.score, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.healthy[1:2], alone.healthy, rtol=1e-4, atol=1e-5)


def test_it_is_what_it_was_when_it_is_loaded(name: str, trained: dict[str, Run], tmp_path: Path) -> None:
    model = Model.load(trained[name].weights)
    model.save(tmp_path / "again.safetensors")
    again = Model.load(tmp_path / "again.safetensors")
    assert again.card == model.card
    images = torch.rand(2, 1, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(again.infer(images).score, model.infer(images).score)


def test_a_run_that_was_stopped_ends_with_the_same_bits(
    name: str, trained: dict[str, Run], phantom_folder: Path, tmp_path: Path
) -> None:
    cache = trained[name].folder.parent / "cache"
    train_run(
        Run.create(tmp_path / "run", settings(name, steps=3)), phantom_folder, cache=cache, runtime=Runtime(threads=1)
    )
    train_run(Run.open(tmp_path / "run", steps=5), phantom_folder, cache=cache, runtime=Runtime(threads=1))
    assert_same_weights(tmp_path / "run" / "weights.safetensors", trained[name].weights)


def test_no_mask_reaches_what_is_not_called_supervised(
    name: str, trained: dict[str, Run], phantom_folder: Path, tmp_path: Path
) -> None:
    """Masks that say the opposite, and files of what slices look like healthy, change no bit of it."""
    poisoned = tmp_path / "phantom"
    shutil.copytree(phantom_folder, poisoned)
    for row in read_table(poisoned):
        for path in (*row.masks.values(), *([row.healthy] if row.healthy else [])):
            Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    run = Run.create(tmp_path / "run", settings(name))
    train_run(run, poisoned, cache=tmp_path / "cache", runtime=Runtime(threads=1))
    method = trained[name].settings.method
    if method.annotator is None:
        assert supervision(method.annotator) == "image labels only"
        assert_same_weights(run.weights, trained[name].weights)
    else:
        assert "supervised upper bound" in supervision(method.annotator)
        with pytest.raises(AssertionError):
            assert_same_weights(run.weights, trained[name].weights)


def test_it_says_what_canvas_it_needs(name: str) -> None:
    stride = settings(name).method.network.stride
    if stride == 1:
        assert replace_placement(settings(name), rows=33).placement.rows == 33
        return
    rows = 32 + stride // 2
    message = f"placement: is {rows} x 48 pixels; with this network both sides must be multiples of {stride}"
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}$"):
        replace_placement(settings(name), rows=rows)


def replace_placement(run: RunSettings, **changes: int) -> RunSettings:
    return msgspec.structs.replace(run, placement=msgspec.structs.replace(run.placement, **changes))


def assert_same_weights(one: Path, other: Path) -> None:
    ours, theirs = (Model.load(path).network.state_dict() for path in (one, other))
    for key, tensor in ours.items():
        assert torch.equal(tensor, theirs[key]), key

"""Whole runs in MindSpore: the same folder, the same weights files, the same numbers as PyTorch's."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from msgspec.structs import replace

from lesionsplit.data.table import Table
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.models.export import phantom_canvases
from lesionsplit.models.model import Model
from lesionsplit.models.open_engine import open_engine
from lesionsplit.runtime import FrameworkName, Runtime
from lesionsplit.training.run import Run, RunSettings
from lesionsplit.training.train import train_run

pytest.importorskip("mindspore", reason="mindspore is not installed: make test-mindspore")


def trained(
    folder: Path, settings: RunSettings, data: Path, framework: FrameworkName, *, steps: int | None = None
) -> Run:
    run = Run.open(folder, steps=steps) if steps else Run.create(folder, settings)
    chosen = None if steps else framework
    assert train_run(run, data, cache=folder.parent / "cache", runtime=Runtime(threads=1, framework=chosen)).finished
    return run


def shorter(settings: RunSettings, steps: int) -> RunSettings:
    return replace(settings, training=replace(settings.training, steps=steps))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, phantom_folder: Path, tiny: RunSettings) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: trained(folder / name, tiny, phantom_folder, name) for name in ("torch", "mindspore")}  # type: ignore[arg-type]


def tensors(path: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(path)


def test_a_run_folder_holds_all_of_it(runs: dict[str, Run], tiny: RunSettings) -> None:
    names = {name: {path.name for path in run.folder.iterdir()} for name, run in runs.items()}
    assert names["mindspore"] == names["torch"]
    facts = json.loads((runs["mindspore"].folder / "run.json").read_bytes())
    assert facts["framework"] == "mindspore"
    assert facts["device"] == "cpu"
    assert facts["mindspore"].startswith("2.")
    card = Model.load(runs["mindspore"].weights).card
    assert card.trained["mindspore"] == facts["mindspore"]
    assert card.method == tiny.method
    assert [path.name for path in (runs["mindspore"].folder / "pictures").iterdir()] == ["step-000008.png"]


def test_both_frameworks_measure_and_learn_the_same(runs: dict[str, Run]) -> None:
    rows = {
        name: list(csv.DictReader((run.folder / "metrics.csv").read_text().splitlines())) for name, run in runs.items()
    }
    assert len(rows["mindspore"]) == len(rows["torch"]) == 4
    for ours, theirs in zip(rows["mindspore"], rows["torch"], strict=True):
        assert list(ours) == list(theirs)
        for name in set(ours) - {"seconds", "slices_per_second"}:
            assert bool(ours[name]) == bool(theirs[name]), name
            assert float(ours[name] or 0) == pytest.approx(float(theirs[name] or 0), rel=1e-3, abs=1e-5), name
    weights, expected = tensors(runs["mindspore"].weights), tensors(runs["torch"].weights)
    assert weights.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(weights[name], weight, rtol=0, atol=1e-4)
    threshold, other = (Model.load(runs[name].weights).card.threshold for name in ("mindspore", "torch"))
    assert threshold == pytest.approx(other, abs=1e-4)


def test_a_continued_run_ends_with_the_same_bits(
    runs: dict[str, Run], tiny: RunSettings, phantom_folder: Path, tmp_path: Path
) -> None:
    trained(tmp_path / "run", shorter(tiny, 5), phantom_folder, "mindspore")
    run = trained(tmp_path / "run", tiny, phantom_folder, "mindspore", steps=8)
    for name in ("checkpoint.safetensors", "weights.safetensors"):
        ours, unbroken = tensors(run.folder / name), tensors(runs["mindspore"].folder / name)
        assert ours.keys() == unbroken.keys()
        for weight, value in unbroken.items():
            assert torch.equal(ours[weight], value), (name, weight)


@pytest.mark.parametrize("source", ["torch", "mindspore"])
def test_each_starts_from_the_weights_of_the_other(
    source: FrameworkName, runs: dict[str, Run], tiny: RunSettings, phantom_folder: Path, tmp_path: Path
) -> None:
    """With rates of almost zero the weights stay."""
    assert not isinstance(tiny.method, str)
    still = replace(tiny.method, optimisation=replace(tiny.method.optimisation, learning_rate=1e-9))  # type: ignore[call-arg]
    settings = replace(shorter(tiny, 3), method=still)
    settings = replace(settings, training=replace(settings.training, init_weights=str(runs[source].weights)))
    other: FrameworkName = "mindspore" if source == "torch" else "torch"
    run = trained(tmp_path / "run", settings, phantom_folder, other)
    for name, value in tensors(runs[source].weights).items():
        torch.testing.assert_close(tensors(run.weights)[name], value, rtol=0, atol=1e-6)


def test_the_engine_predicts_what_pytorch_predicts(runs: dict[str, Run], phantom: Table) -> None:
    engines = [open_engine(runs["mindspore"].weights, name, "cpu") for name in ("torch", "mindspore")]  # type: ignore[arg-type]
    assert engines[1].name.startswith("mindspore 2.")
    assert engines[1].name.endswith(" on cpu")
    canvases = phantom_canvases(engines[0].card)
    for count in (8, 3, 1, 5, 8):
        theirs, ours = (engine.infer(canvases[:count]) for engine in engines)
        assert ours.presence is None
        np.testing.assert_allclose(ours.score, theirs.score, rtol=0, atol=1e-5)
        np.testing.assert_allclose(ours.healthy, theirs.healthy, rtol=0, atol=1e-5)


def test_slices_of_any_number_are_predicted(runs: dict[str, Run], phantom: Table) -> None:
    rows = phantom.slices[:10]
    found = [
        list(SlicePredictor.load(runs["torch"].weights, engine=name).predict_rows(rows))  # type: ignore[arg-type]
        for name in ("torch", "mindspore")
    ]
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours.score, theirs.score, rtol=0, atol=1e-5)

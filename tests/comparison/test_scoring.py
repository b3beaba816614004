"""A small comparison on the phantom, from its settings to numbers; the whole command is in test_phantom.py."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from lesionsplit.comparison.plan import plan, train_missing
from lesionsplit.comparison.result import Comparison
from lesionsplit.comparison.scoring import prepare_entries, score_entries, with_speed
from lesionsplit.comparison.settings import ComparisonSettings, EntrySettings
from lesionsplit.data.lung_slice import read_slice
from lesionsplit.data.table import Table
from lesionsplit.errors import RunError
from lesionsplit.evaluation.accumulators import Scored
from lesionsplit.evaluation.protocol import read_mask, to_grid
from lesionsplit.evaluation.threshold import calibration_slices, threshold_from_normals
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.methods.classifier import GradCamSettings
from lesionsplit.models.model import Model
from lesionsplit.models.torch_engine import TorchEngine
from lesionsplit.runtime import Runtime
from lesionsplit.settings import from_table

CONFIG = from_table(
    ComparisonSettings,
    {
        "reference": "ours",
        "seeds": [0, 1],
        "resolution": 64,
        "shared": {
            "placement": {"rows": 32, "columns": 48, "frame": 56},
            "training": {"steps": 4, "batch_size": 4, "ema_decay": 0.5},
        },
        "entry": [
            {
                "name": "ours",
                "config": "small",
                "method": {"network": {"channels": [4, 6]}, "critic": {"channels": [4, 4, 6, 6]}},
            },
            {"name": "cam", "method": {"name": "cam", "network": {"width": 4, "stem": "fine"}}, "seeds": [3]},
            {"name": "grad", "reads": "cam", "method": {"name": "grad-cam", "stage": 3}},
            {"name": "flat", "untrained": "opening"},
            {"name": "box", "weights": "default"},
            {
                "name": "upper",
                "config": "supervised",
                "method": {"annotator": "b", "network": {"channels": [4, 6]}},
                "seeds": [0],
            },
        ],
    },
    source="here",
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, phantom_folder: Path) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("comparison")
    said: list[str] = []
    planned = plan(CONFIG, CONFIG.entry, folder)
    assert train_missing(planned, phantom_folder, cache=folder / "cache", runtime=Runtime(threads=1, say=said.append))
    assert [line for line in said if line.startswith("training")] == [
        f"training {number} of 4: {one.label}, in {one.folder}" for number, one in enumerate(planned, 1)
    ]
    return folder


@pytest.fixture(scope="module")
def comparison(out: Path, phantom: Table) -> Comparison:
    return compare(CONFIG, CONFIG.entry, phantom, out)


def compare(config: ComparisonSettings, entries: tuple[EntrySettings, ...], whole: Table, out: Path) -> Comparison:
    table = whole.split(config.split)
    ready = prepare_entries(config, entries, whole, out, Runtime())
    return score_entries(config, tuple(with_speed(one, table) for one in ready), table, Runtime())


def test_what_is_trained_is_not_trained_again(out: Path, phantom_folder: Path) -> None:
    said: list[str] = []
    planned = plan(CONFIG, CONFIG.entry, out)
    before = {one.label: (one.folder / "weights.safetensors").stat().st_mtime_ns for one in planned}
    assert train_missing(planned, phantom_folder, cache=out / "cache", runtime=Runtime(threads=1, say=said.append))
    assert said == ["4 of 4 trained already"]
    assert before == {one.label: (one.folder / "weights.safetensors").stat().st_mtime_ns for one in planned}


def test_runs_of_another_data_set_are_refused(out: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"was trained on .*phantom, not on .*; give another --out"):
        train_missing(plan(CONFIG, CONFIG.entry, out), tmp_path)


def test_every_entry_and_seed_has_its_row(comparison: Comparison) -> None:
    labels = ["ours", "ours, seed 1", "cam", "grad", "flat", "box", "upper"]
    assert [one.label for one in comparison.entries] == labels
    assert list(comparison.evaluation.methods) == list(comparison.accumulators) == labels
    assert set(comparison.differences) == set(labels) - {"ours"}
    assert [one.label for one in comparison.shown()] == [label for label in labels if "seed" not in label]
    assert [one.seed for one in comparison.entries] == [0, 1, 3, 3, None, None, 0]
    assert [one.annotator for one in comparison.entries] == [None] * 6 + ["b"]
    assert [one.neighbour_weight for one in comparison.entries][4] is None
    said = [one.supervision for one in comparison.entries]
    assert said[0] == said[5] == "image labels only"
    assert said[4] == "none: no training"
    assert said[6] == "masks of annotator b of the train split: a supervised upper bound"


def test_the_numbers_are_those_of_the_run_scored_alone(comparison: Comparison, out: Path, phantom: Table) -> None:
    predictor = SlicePredictor.load(out / "runs" / "ours-1" / "weights.safetensors")
    scores, truths = [], []
    for row in phantom.split("test").labelled("lesion"):
        (found,) = predictor.predict_stream([read_slice(row)])
        scores.append(to_grid(Scored(found.score, found.lungs), 64))
        truths.append(read_mask(row, "a", 64))
    levels = np.round(np.concatenate([one.score.ravel() for one in scores]) * 65535)
    expected = average_precision_score(np.concatenate([truth.ravel() for truth in truths]), levels)
    found_precision = comparison.evaluation.methods["ours, seed 1"]["a"]["average_precision"].value
    assert found_precision == pytest.approx(expected, rel=1e-6)
    assert comparison.entries[1].threshold == predictor.threshold


def test_another_reading_has_its_own_threshold(comparison: Comparison, out: Path, phantom: Table) -> None:
    model = Model.load(out / "runs" / "cam-3" / "weights.safetensors")
    method = GradCamSettings(network=model.card.method.network, stage=3)  # type: ignore[arg-type]
    predictor = SlicePredictor(TorchEngine(Model(msgspec.structs.replace(model.card, method=method), model.network)))
    predictions = predictor.predict_stream(map(read_slice, calibration_slices(phantom)))
    expected = threshold_from_normals((one.score, one.lungs) for one in predictions)
    assert comparison.entries[3].threshold == expected
    assert comparison.entries[2].threshold == model.card.threshold


def test_a_classifier_is_judged_by_what_it_says_of_slices(comparison: Comparison, out: Path, phantom: Table) -> None:
    predictor = SlicePredictor.load(out / "runs" / "cam-3" / "weights.safetensors")
    table = phantom.split("test")
    chance = [one.presence for one in predictor.predict_stream(map(read_slice, table))]
    expected = roc_auc_score([row.label == "lesion" for row in table], chance)
    assert set(comparison.classifier_auroc) == {"cam", "grad"}
    for name in ("cam", "grad"):
        assert comparison.classifier_auroc[name].value == pytest.approx(expected)


def test_what_a_method_costs_is_counted(comparison: Comparison, out: Path) -> None:
    costs = {one.label: one.cost for one in comparison.entries}
    weights = Model.load(out / "runs" / "ours-0" / "weights.safetensors").network.parameters()
    assert costs["ours"].parameters == sum(weight.numel() for weight in weights)
    assert costs["ours"].slices_seen == 4 * 2 * 4
    assert costs["ours"].threads == 1
    assert costs["ours"].training_seconds is not None
    assert costs["ours"].training_seconds > 0
    assert costs["flat"].parameters is costs["flat"].training_seconds is costs["box"].slices_seen is None
    assert all(cost.slices_per_second > 0 for cost in costs.values())


def test_some_entries_alone(out: Path, phantom: Table) -> None:
    some = compare(CONFIG, CONFIG.chosen(("flat",)), phantom, out)
    assert [one.label for one in some.entries] == ["ours", "ours, seed 1", "flat"]

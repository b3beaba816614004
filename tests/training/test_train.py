"""Whole runs on the phantom: what they write, how they stop, and that they go on to the same bits."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace as replace_row
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from safetensors import safe_open

from lesionsplit.csvtext import csv_text
from lesionsplit.data.sampling import Batch
from lesionsplit.data.table import Table, read_table
from lesionsplit.errors import DataError, DivergedError, RunError, SettingsError
from lesionsplit.evaluation import threshold as thresholds
from lesionsplit.evaluation.threshold import SeriesScores, calibration_slices
from lesionsplit.images import read_grey
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.losses import Terms
from lesionsplit.methods.decomposition import DecompositionMethod
from lesionsplit.methods.supervised import SupervisedSettings
from lesionsplit.methods.synthesis import SelfTraining, SynthesisSettings
from lesionsplit.models.model import Model
from lesionsplit.networks.denoiser import DenoiserSettings
from lesionsplit.networks.lesion_unet import LesionUNetSettings
from lesionsplit.pipeline.evaluate import evaluate
from lesionsplit.runtime import Runtime
from lesionsplit.settings import to_toml
from lesionsplit.training import train as training
from lesionsplit.training.loop import Trained
from lesionsplit.training.record import Measurement
from lesionsplit.training.run import Run, RunSettings, read_config
from lesionsplit.training.train import train, train_run


def changed(settings: RunSettings, **training_settings: object) -> RunSettings:
    return msgspec.structs.replace(settings, training=msgspec.structs.replace(settings.training, **training_settings))


def tensors(path: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(path)


def assert_same_bits(one: Path, two: Path) -> None:
    ours, theirs = tensors(one), tensors(two)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, phantom_folder: Path, tiny: RunSettings) -> Run:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs")
    run = Run.create(folder / "unbroken", tiny)
    assert train_run(run, phantom_folder, cache=folder / "cache", runtime=Runtime(threads=1)).finished
    return run


def test_a_run_folder_holds_all_of_it(unbroken: Run, phantom_folder: Path, tiny: RunSettings) -> None:
    names = {path.name for path in unbroken.folder.iterdir()}
    assert names >= {"settings.toml", "run.json", "metrics.csv", "checkpoint.safetensors", "weights.safetensors"}
    assert (unbroken.folder / "settings.toml").read_text() == to_toml(tiny)
    facts = unbroken.facts()
    assert facts["data"] == str(phantom_folder.resolve())
    assert facts["torch"] == torch.__version__
    assert len(facts["fingerprint"]) == 64
    assert [path.name for path in (unbroken.folder / "pictures").iterdir()] == ["step-000008.png"]


def test_the_weights_say_where_they_come_from(unbroken: Run) -> None:
    card = Model.load(unbroken.weights).card
    assert card.method == unbroken.settings.method
    assert card.trained["data fingerprint"] == unbroken.facts()["fingerprint"]
    assert card.trained["supervision"] == "image labels only"
    assert 0 < card.threshold <= 1
    assert "normal slices of val" in card.threshold_from


def test_the_weights_have_thresholds_with_a_promise(
    tmp_path: Path, phantom_folder: Path, phantom: Table, tiny: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thresholds, "PROMISES", {"half": 0.5, "specific": 0.95})
    run = Run.create(tmp_path / "run", changed(tiny, steps=2))
    assert train_run(run, phantom_folder, cache=tmp_path / "cache", runtime=Runtime(threads=1)).finished
    card, normal, by_series = Model.load(run.weights).card, calibration_slices(phantom), SeriesScores()
    for row, one in zip(normal, SlicePredictor.load(run.weights, engine="torch").predict_rows(normal), strict=True):
        by_series.add(row.series, one.score, one.lungs)
    assert card.thresholds == card.for_prediction().thresholds == by_series.thresholds()
    assert set(card.thresholds) == {"half"}  # the phantom has fewer than 19 normal series in val


def test_the_weights_are_the_running_average(unbroken: Run) -> None:
    kept = tensors(unbroken.checkpoint)
    for name, tensor in tensors(unbroken.weights).items():
        assert torch.equal(tensor, kept[f"/average/module.{name}"])
        assert not torch.equal(tensor, kept[f"/network/{name}"])


def test_stopped_and_resumed_is_unbroken(
    tmp_path: Path, phantom_folder: Path, tiny: RunSettings, unbroken: Run
) -> None:
    """Stopped by a request in the middle of nowhere, then continued: every tensor of the checkpoint is the same."""
    folder = tmp_path / "run"

    def interrupt(measured: Measurement) -> None:
        if measured.step == 2:
            signal.raise_signal(signal.SIGTERM)

    stopped = train_run(
        Run.create(folder, changed(tiny)),
        phantom_folder,
        cache=tmp_path / "cache",
        runtime=Runtime(threads=1),
        watch=lambda _: interrupt,
    )
    assert not stopped.finished
    assert stopped.step == 3  # the first measurement is at step 2, the request is met after the next
    resumed = train_run(Run.open(folder), phantom_folder, cache=tmp_path / "cache")
    assert resumed.finished
    assert_same_bits(folder / "checkpoint.safetensors", unbroken.checkpoint)
    assert_same_bits(folder / "weights.safetensors", unbroken.weights)


def test_killed_and_resumed_is_unbroken(tmp_path: Path, phantom_folder: Path, tiny: RunSettings, unbroken: Run) -> None:
    """SIGKILL leaves no time for anything: the run goes on from the last whole checkpoint."""
    settings, folder = tmp_path / "tiny.toml", tmp_path / "run"
    settings.write_text(to_toml(tiny))
    command = [sys.executable, "-m", "lesionsplit", "train", "--run", str(folder), "--cache", str(tmp_path / "cache")]
    start = [*command, "--config", str(settings), str(phantom_folder), "--threads", "1"]
    # Many more steps, so that it is killed on its way; --steps would scale the stages, and the run would be another.
    process = subprocess.Popen([*start, "--set", "training.steps=100000"], stderr=subprocess.DEVNULL)
    while not (folder / "checkpoint.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with safe_open(folder / "checkpoint.safetensors", framework="pt") as file:
        done = json.loads(file.metadata()["lesionsplit-checkpoint"])["progress"]["step"]
    assert done == 4, "it was to be killed before its second checkpoint"
    subprocess.run([*command, "--resume", "--steps", "8"], check=True, capture_output=True)
    assert_same_bits(folder / "checkpoint.safetensors", unbroken.checkpoint)
    assert_same_bits(folder / "weights.safetensors", unbroken.weights)


def test_masks_never_reach_training(
    tmp_path: Path, phantom: Table, tiny: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every mask poisoned, and with other masks altogether, training does the same."""

    class Poison(dict):  # type: ignore[type-arg]
        def __getitem__(self, name: object) -> None:
            raise AssertionError("a mask was looked at")

        items = values = __iter__ = __getitem__  # type: ignore[assignment]

    poisoned = Table(
        root=phantom.root, slices=tuple(replace_row(row, masks=Poison(), healthy=Path("/nowhere")) for row in phantom)
    )
    monkeypatch.setattr(training, "read_table", lambda _: poisoned)
    run = Run.create(tmp_path / "run", tiny)
    assert train_run(run, phantom.root, cache=tmp_path / "cache", runtime=Runtime(threads=1)).finished
    clean = phantom.without_masks()
    monkeypatch.setattr(training, "read_table", lambda _: clean)
    other = Run.create(tmp_path / "other", tiny)
    train_run(other, phantom.root, cache=tmp_path / "cache", runtime=Runtime(threads=1))
    assert_same_bits(run.weights, other.weights)


class StoppedError(Exception):
    """Ends a training before it begins."""


def masks_in_training(
    settings: RunSettings, run: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, set[tuple[str, str, str]]]:
    """Split, label and annotator of every mask in the tables that a training prepares or sets its threshold on."""
    found: dict[str, set[tuple[str, str, str]]] = {}

    def remember(name: str, table: Table) -> None:
        found[name] = {(row.split, row.label, annotator) for row in table for annotator in row.masks}
        assert all(row.healthy is None for row in table)

    def calibration(table: Table) -> Table:
        remember("calibration", table)
        return calibration_slices(table)

    def prepared(table: Table, *_: object, **__: object) -> None:
        remember("training", table)
        raise StoppedError

    monkeypatch.setattr(training, "calibration_slices", calibration)
    monkeypatch.setattr(training, "prepare", prepared)
    with pytest.raises(StoppedError):
        train_run(Run.create(run, settings), data)
    return found


def test_a_weakly_supervised_method_is_given_no_mask(
    tmp_path: Path, phantom_folder: Path, tiny: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = masks_in_training(tiny, tmp_path / "run", phantom_folder, monkeypatch)
    assert found == {"calibration": set(), "training": set()}


def test_an_upper_bound_is_given_the_masks_of_its_annotator_in_train_alone(
    tmp_path: Path, phantom_folder: Path, tiny: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = masks_in_training(supervised(tiny, "b"), tmp_path / "run", phantom_folder, monkeypatch)
    assert found == {"calibration": {("train", "lesion", "b")}, "training": {("train", "lesion", "b")}}


WEAK = {
    "decomposition": None,
    "synthesis": SynthesisSettings(
        network=LesionUNetSettings(channels=(4, 6)), self_training=SelfTraining(start_step=2)
    ),
}


def supervised(settings: RunSettings, annotator: str) -> RunSettings:
    method = SupervisedSettings(annotator=annotator, network=DenoiserSettings(channels=(4, 6), embedding=8))
    return msgspec.structs.replace(settings, method=method)


def spoil(paths: Iterable[Path]) -> None:
    """Leave of PNG files what says how large they are, and nothing of what is in them."""
    for path in paths:
        path.write_bytes(path.read_bytes()[:48])
        with pytest.raises(DataError, match="cannot be read"):
            read_grey(path)


@pytest.fixture
def spoilt(tmp_path: Path, phantom_folder: Path) -> Path:
    """The phantom with every mask of every annotator broken."""
    data = Path(shutil.copytree(phantom_folder, tmp_path / "spoilt"))
    masks = [path for row in read_table(data) for path in row.masks.values()]
    assert len(masks) == 3 * 18
    spoil(masks)
    return data


def without_masks(data: Path, phantom_folder: Path) -> Path:
    """The phantom without masks: no column of them, no file."""
    shutil.copytree(phantom_folder / "images", data / "images")
    with (phantom_folder / "slices.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (data / "slices.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", "label", "split", "series"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return data


@pytest.mark.parametrize("name", WEAK)
def test_weakly_supervised_methods_do_not_notice_broken_masks(
    tmp_path: Path, phantom_folder: Path, spoilt: Path, tiny: RunSettings, name: str
) -> None:
    settings = msgspec.structs.replace(tiny, method=WEAK[name] or tiny.method)
    assert settings.method.annotator is None
    said: list[str] = []
    runs = []
    for data in (spoilt, without_masks(tmp_path / "clean", phantom_folder)):
        run = Run.create(tmp_path / f"run-{data.name}", settings)
        assert train_run(run, data, cache=tmp_path / "cache", runtime=Runtime(threads=1, say=said.append)).finished
        runs.append(run)
    assert_same_bits(runs[0].weights, runs[1].weights)
    assert_same_bits(runs[0].checkpoint, runs[1].checkpoint)
    assert runs[0].facts()["fingerprint"] == runs[1].facts()["fingerprint"]
    assert Model.load(runs[0].weights).card.trained["supervision"] == "image labels only"
    assert not list(tmp_path.glob("cache/*/outlines.npy"))
    assert said == []


def test_an_upper_bound_refuses_broken_masks(tmp_path: Path, spoilt: Path, tiny: RunSettings) -> None:
    said: list[str] = []
    with pytest.raises(DataError, match=r"slices.csv line \d+ .*masks-a/.*cannot be read"):
        train_run(
            Run.create(tmp_path / "run", supervised(tiny, "a")),
            spoilt,
            cache=tmp_path / "cache",
            runtime=Runtime(say=said.append),
        )
    assert not (tmp_path / "run").exists()
    assert said == []


@pytest.fixture(scope="module")
def bound(tmp_path_factory: pytest.TempPathFactory, phantom_folder: Path, tiny: RunSettings) -> Run:
    """An unbroken run of a supervised upper bound."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("bounds")
    said: list[str] = []
    run = Run.create(folder / "unbroken", supervised(tiny, "b"))
    assert train_run(run, phantom_folder, cache=folder / "cache", runtime=Runtime(threads=1, say=said.append)).finished
    assert said == [f"trains on {BOUND}, not a weakly supervised method"]
    return run


BOUND = "masks of annotator b of the train split: a supervised upper bound"


def test_an_upper_bound_is_called_one(bound: Run) -> None:
    assert Model.load(bound.weights).card.trained["supervision"] == BOUND
    assert bound.facts()["supervision"] == BOUND


def test_an_upper_bound_sees_no_other_masks(
    tmp_path: Path, phantom_folder: Path, tiny: RunSettings, bound: Run
) -> None:
    """The other annotators' are broken, and its own of val and test: the same bits."""
    data = Path(shutil.copytree(phantom_folder, tmp_path / "data"))
    spoil(path for row in read_table(data) for name, path in row.masks.items() if name != "b" or row.split != "train")
    run = Run.create(tmp_path / "run", supervised(tiny, "b"))
    train_run(run, data, cache=tmp_path / "cache", runtime=Runtime(threads=1))
    assert_same_bits(run.weights, bound.weights)
    assert run.facts()["fingerprint"] == bound.facts()["fingerprint"]


def test_the_masks_are_what_an_upper_bound_learns_from(
    tmp_path: Path, phantom_folder: Path, tiny: RunSettings, bound: Run
) -> None:
    other = Run.create(tmp_path / "run", supervised(tiny, "a"))
    train_run(other, phantom_folder, cache=tmp_path / "cache", runtime=Runtime(threads=1))
    ours, theirs = tensors(bound.weights), tensors(other.weights)
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)


def test_an_upper_bound_stopped_and_resumed_is_unbroken(
    tmp_path: Path, phantom_folder: Path, tiny: RunSettings, bound: Run
) -> None:
    def interrupt(measured: Measurement) -> None:
        if measured.step == 2:
            signal.raise_signal(signal.SIGTERM)

    run = Run.create(tmp_path / "run", supervised(tiny, "b"))
    assert not train_run(
        run, phantom_folder, cache=tmp_path / "cache", runtime=Runtime(threads=1), watch=lambda _: interrupt
    ).finished
    assert train_run(Run.open(run.folder), phantom_folder, cache=tmp_path / "cache").finished
    assert_same_bits(run.checkpoint, bound.checkpoint)
    assert_same_bits(run.weights, bound.weights)


def test_what_diverges_stops_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, phantom_folder: Path, tiny: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = DecompositionMethod.step

    def diverging(method: DecompositionMethod, batch: Batch, number: int) -> Terms:
        terms = step(method, batch, number)
        return {**terms, "penalty": terms["penalty"] / (0 if number == 6 else 1)}

    monkeypatch.setattr(DecompositionMethod, "step", diverging)
    run = Run.create(tmp_path / "run", tiny)
    with pytest.raises(DivergedError, match="'penalty' of the loss is inf between steps 6 and 8; the last good"):
        train_run(run, phantom_folder, cache=tmp_path / "cache", runtime=Runtime(threads=1))
    with safe_open(run.checkpoint, framework="pt") as file:
        assert json.loads(file.metadata()["lesionsplit-checkpoint"])["progress"]["step"] == 4


def test_an_existing_run_is_never_overwritten(unbroken: Run, tiny: RunSettings) -> None:
    with pytest.raises(RunError, match="is not empty; continue a run with --resume"):
        Run.create(unbroken.folder, tiny)


def test_other_data_cannot_be_continued_on(
    tmp_path: Path, phantom: Table, unbroken: Run, tiny: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = Table(root=phantom.root, slices=phantom.slices[2:])
    monkeypatch.setattr(training, "read_table", lambda _: fewer)
    with pytest.raises(RunError, match="was trained on other slices"):
        train_run(Run.open(unbroken.folder, steps=10), phantom.root, cache=tmp_path)


def test_both_labels_are_needed(
    tmp_path: Path, phantom: Table, tiny: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "read_table", lambda _: phantom.labelled("normal"))
    with pytest.raises(DataError, match="split 'train' has no lesion slice; training needs both labels"):
        train_run(Run.create(tmp_path / "run", tiny), phantom.root, cache=tmp_path)
    assert not (tmp_path / "run").exists()


def test_an_unknown_device_is_named(tmp_path: Path, phantom_folder: Path, tiny: RunSettings) -> None:
    with pytest.raises(SettingsError, match="device 'abacus' is not available; allowed: auto, cpu, cuda"):
        train_run(Run.create(tmp_path / "run", tiny), phantom_folder, runtime=Runtime(device="abacus"))


def test_two_processes_agree(tmp_path: Path, phantom_folder: Path, tiny: RunSettings) -> None:
    """Started by torchrun: one run folder, one set of weights."""
    settings = tmp_path / "tiny.toml"
    settings.write_text(to_toml(tiny))
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "--",
        "lesionsplit",
    ]
    arguments = ["train", "--config", str(settings), str(phantom_folder), "--run", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, *arguments, "--cache", str(tmp_path / "cache"), "--device", "cpu"],
        check=True,
        capture_output=True,
        env=environment,
    )
    run = Run.open(tmp_path / "run")
    assert run.facts()["processes"] == 2
    assert run.weights.is_file()


def test_a_new_run_from_python_is_that_of_its_settings(
    tmp_path: Path, phantom_folder: Path, tiny: RunSettings, unbroken: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = tmp_path / "tiny.toml"
    config.write_text(to_toml(changed(tiny, steps=3)))
    run = train(
        str(phantom_folder), str(tmp_path / "run"), config=config, runtime=Runtime(threads=1), training__steps=8
    )
    assert run.settings == tiny
    assert run.finished()
    assert_same_bits(run.weights, unbroken.weights)


def test_settings_from_python_are_keys_with_underscores_or_tables(
    tmp_path: Path, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "train_run", lambda *_, **__: Trained(network=None, step=0, finished=False))
    run = train(
        phantom_folder,
        tmp_path / "run",
        config="demo",
        seed=4,
        training={"steps": 30, "batch_size": 2},
        training__log_every=3,
        method__objective__own=0.5,
    )
    assert run.settings.seed == 4
    assert run.settings.training == msgspec.structs.replace(
        read_config("demo").training, steps=30, batch_size=2, log_every=3
    )
    assert run.settings.method.objective == msgspec.structs.replace(read_config("demo").method.objective, own=0.5)


def test_an_unknown_setting_from_python_is_named(tmp_path: Path, phantom_folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"^demo: unknown setting training.step; allowed here: steps, batch_size"):
        train(phantom_folder, tmp_path / "run", config="demo", training__step=3)
    with pytest.raises(RunError, match="is not empty"):
        train(phantom_folder, tmp_path.parent, config="demo")
    assert not (tmp_path / "run").exists()


@pytest.fixture(params=["alone", "with lung masks"])
def twelve_bits(request: pytest.FixtureRequest, phantom_folder: Path, tmp_path: Path) -> Path:
    """The phantom as many scripts write it: values of 0 to 4095 in PNG of 16 bits."""
    folder = tmp_path / "twelve"
    shutil.copytree(phantom_folder, folder)
    for path in (folder / "images").glob("*.png"):
        grey = np.array(Image.open(path))
        Image.fromarray(grey.astype(np.uint16) * 16).save(path)
        if request.param != "alone":
            Image.fromarray(255 * (grey > 8).astype(np.uint8)).save(folder / f"lungs_{path.name}")
    if request.param != "alone":
        with (folder / "slices.csv").open(newline="") as file:
            rows = [{**row, "lungs": f"lungs_{Path(row['image']).name}"} for row in csv.DictReader(file)]
        (folder / "slices.csv").write_text(csv_text(list(rows[0]), rows))
    return folder


TWELVE_BITS = r"images/\w+\.png.*: 16 bit, but its values are from \d+ to \d{4}, \d % of 0 to 65535: perhaps HU \+ 1024"


def test_grey_of_12_bits_in_16_is_not_trained_on(twelve_bits: Path, tiny: RunSettings, tmp_path: Path) -> None:
    """It would be black lungs and a threshold of nothing, without a word."""
    run = Run.create(tmp_path / "run", tiny)
    with pytest.raises(DataError, match=TWELVE_BITS):
        train_run(run, twelve_bits, cache=tmp_path / "cache", runtime=Runtime(threads=1))
    assert not run.folder.exists()


def test_grey_of_12_bits_in_16_is_not_evaluated(twelve_bits: Path, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=TWELVE_BITS):
        evaluate(weights, twelve_bits, out=tmp_path / "out", resolution=64)
    assert not (tmp_path / "out").exists()


def test_slices_of_test_have_no_say_in_the_threshold(phantom: Table) -> None:
    seen = phantom.select(lambda row: row.split != "val" or row.label == "normal")
    assert {row.split for row in training._some_with_lesion(phantom, "val")} == {"val"}
    assert {row.split for row in training._some_with_lesion(seen, "val")} == {"train"}
    assert training._some_with_lesion(phantom.split("test"), "test") == []

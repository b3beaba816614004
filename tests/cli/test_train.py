"""`lesionsplit train` without the training: the run's folder, options that do not apply, and the next command."""

from __future__ import annotations

import csv
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from lesionsplit.cli import app
from lesionsplit.runtime import Runtime
from lesionsplit.training.loop import Trained
from lesionsplit.training.run import Run

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `train_run` is called with; instead of training, a run is described."""
    calls: list[dict[str, Any]] = []

    def train_run(run: Run, data: Path, **others: Any) -> Trained:
        calls.append({"run": run, "data": data, **others})
        run.describe(data=str(data.resolve()))
        step = run.settings.training.steps
        return Trained(network=nn.Identity(), step=step, finished=step != 7)

    monkeypatch.setattr("lesionsplit.training.train.train_run", train_run)
    return calls


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def without(folder: Path, source: Path, *splits: str) -> Path:
    """A copy of a data set without the masks of some splits."""
    shutil.copytree(source, folder)
    with (source / "slices.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["split"] in splits:
            row.update({name: "" for name in row if name.startswith("mask_")})
    with (folder / "slices.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_by_default_the_run_has_the_name_of_the_data(
    call: Call, trainings: list[dict[str, Any]], phantom_folder: Path, tmp_path: Path
) -> None:
    code, said = call("train", phantom_folder, "--config", "demo", "--device", "cpu", "--threads", 3, "--cache", "c")
    assert code == 0
    (made,) = trainings
    assert made["run"].folder == Path("runs/phantom")
    assert made["data"] == phantom_folder
    assert made["cache"] == Path("c")
    assert (made["runtime"].device, made["runtime"].threads) == ("cpu", 3)
    assert isinstance(made["runtime"], Runtime)
    assert "weights: runs/phantom/weights.safetensors" in said
    code, said = call("train", phantom_folder, "--config", "demo")
    assert (code, len(trainings)) == (2, 1)
    assert said.startswith("lesionsplit: runs/phantom: is not empty; continue a run with --resume, or")


def test_settings_on_the_command_line(call: Call, trainings: list[dict[str, Any]], phantom_folder: Path) -> None:
    arguments = ("--config", "demo", "--set", "training.batch_size=2", "--set", "seed=5", "--steps", "9")
    assert call("train", phantom_folder, *arguments)[0] == 0
    settings = trainings[0]["run"].settings
    assert (settings.training.batch_size, settings.seed, settings.training.steps) == (2, 5, 9)


def test_a_stopped_run_says_how_it_is_continued(
    call: Call, trainings: list[dict[str, Any]], phantom_folder: Path, tmp_path: Path
) -> None:
    code, said = call("train", phantom_folder, "--config", "demo", "--steps", "7", "--run", "my run")
    assert code == 130
    assert "stopped after step 7; to continue: lesionsplit train --run 'my run' --resume" in said
    code, said = call("train", "--run", "my run", "--resume", "--steps", 8)
    assert code == 0
    assert trainings[1]["data"] == phantom_folder.resolve()
    assert trainings[1]["run"].settings.training.steps == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no data: give DATA, a folder with slices.csv or with normal/ and lesion/"),
        (("--run", "run"), "no data: give DATA, a folder with slices.csv or with normal/ and lesion/"),
        (("--resume",), "no data: give DATA, a folder with slices.csv or with normal/ and lesion/"),
        (
            ("data", "--resume", "--config", "demo"),
            "--config, --set and --region do not apply with --resume: a run keeps its settings, except --steps",
        ),
        (
            ("data", "--resume", "--set", "seed=3"),
            "--config, --set and --region do not apply with --resume: a run keeps its settings, except --steps",
        ),
        (
            ("data", "--steps", "3", "--set", "training.steps=4"),
            "--steps and --set training.steps are the same setting; give one of them",
        ),
        (("data", "--resume"), "runs/data: contains no run (no settings.toml); start one without --resume"),
    ],
)
def test_options_that_do_not_apply_are_refused(
    call: Call, trainings: list[dict[str, Any]], arguments: tuple[str, ...], message: str
) -> None:
    assert call("train", *arguments) == (2, f"lesionsplit: {message}\n")
    assert trainings == []


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ((), ["evaluate", "{data}", "--weights", "r/weights.safetensors", "--split", "test"]),
        (("test",), ["evaluate", "{data}", "--weights", "r/weights.safetensors", "--split", "val"]),
        (("test", "val"), ["predict", "{data}/images", "--weights", "r/weights.safetensors"]),
    ],
)
def test_the_next_command_fits_the_data(
    call: Call,
    trainings: list[dict[str, Any]],
    phantom_folder: Path,
    tmp_path: Path,
    splits: tuple[str, ...],
    expected: list[str],
) -> None:
    data = without(tmp_path / "some data", phantom_folder, *splits)
    _, said = call("train", data, "--config", "demo", "--run", "r")
    (line,) = (line for line in said.splitlines() if line.startswith("next: "))
    program, *words = shlex.split(line.removeprefix("next: "))
    assert program == "lesionsplit"
    assert words == [one.replace("{data}", str(data.resolve())) for one in expected]
    command = app.commands[words[0]]
    command.make_context(words[0], words[1:])  # it is a command, and its options exist


def test_two_folders_are_predicted_next(
    call: Call, trainings: list[dict[str, Any]], phantom_folder: Path, tmp_path: Path
) -> None:
    for label in ("normal", "lesion"):
        (tmp_path / "mine" / label).mkdir(parents=True)
        shutil.copy(phantom_folder / "images" / f"{label}_1.png", tmp_path / "mine" / label)
    _, said = call("train", "mine", "--config", "demo")
    lesions = tmp_path.resolve() / "mine/lesion"
    assert f"next: lesionsplit predict {lesions} --weights runs/mine/weights.safetensors" in said.splitlines()

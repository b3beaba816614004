"""The commands as a user calls them."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "lesionsplit"]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "mine.toml"
    path.write_text(
        "[placement]\nrows = 32\ncolumns = 48\nframe = 56\n"
        '[method]\nname = "decomposition"\n'
        '[method.network]\nchannels = [4, 6]\nnorm = "none"\nstart = "identity"\n'
        '[method.critic]\nchannels = [4, 4, 6, 6]\nnorm = "layer"\n'
        "[training]\nsteps = 6\nbatch_size = 2\nlog_every = 2\nema_decay = 0.5\n"
    )
    return path


def test_from_a_phantom_to_predictions(tmp_path: Path, settings: Path) -> None:
    data, trained, out = tmp_path / "phantom", tmp_path / "run", tmp_path / "predicted"
    drawn = run("phantom", data, "--normal", 9, "--lesion", 9, "--size", 64)
    assert drawn.returncode == 0, drawn.stderr
    done = run("train", data, "--config", settings, "--run", trained, "--cache", tmp_path / "cache", "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "step 6/6" in done.stderr
    weights = trained / "weights.safetensors"
    evaluated = run("evaluate", data, "--weights", weights, "--split", "train", "--resolution", 64)
    assert evaluated.returncode == 0, evaluated.stderr
    assert "| opening |" in evaluated.stdout
    assert "against annotator a" in evaluated.stdout
    assert (trained / "evaluation-train/metrics.json").is_file()
    found = run("predict", data / "images", "-o", out, "--weights", weights)
    assert found.returncode == 0, found.stderr
    with (out / "predictions.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 18
    further = run("train", "--run", trained, "--resume", "--steps", 8, "--cache", tmp_path / "cache", "--threads", 1)
    assert further.returncode == 0, further.stderr
    assert "step 8/8" in further.stderr


def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path: Path, settings: Path, phantom_folder: Path) -> None:
    trained = tmp_path / "run"
    arguments = (phantom_folder, "--config", settings, "--run", trained, "--cache", tmp_path / "cache")
    process = subprocess.Popen(
        [*COMMAND, "train", *map(str, arguments), "--steps", "100000", "--threads", "1"],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (trained / "metrics.csv").is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "to continue: lesionsplit train" in said
    assert (trained / "checkpoint.safetensors").is_file()


def loaded(*arguments: object) -> set[str]:
    """What a command has loaded when it ends."""
    code = (
        "import atexit, sys; atexit.register(lambda: print('LOADED', *sys.modules)); "
        "from lesionsplit.cli import main; sys.argv[0] = 'lesionsplit'; main()"
    )
    words = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return set(done.stdout.rpartition("LOADED ")[2].split())


def test_help_loads_what_shows_it_and_nothing_else() -> None:
    for words in (("--help",), ("predict", "--help"), ("train", "--help")):
        names = loaded(*words)
        assert {"click", "lesionsplit.cli.predict"} <= names
        heavy = {"numpy", "scipy", "PIL", "onnxruntime", "torch", "pydicom", "nibabel", "rich", "msgspec", "jinja2"}
        assert not names & {*heavy, "importlib.metadata", "lesionsplit.pipeline", "lesionsplit.settings"}


def test_an_image_loads_nothing_of_volumes_or_of_training(phantom_folder: Path, tmp_path: Path) -> None:
    names = loaded("predict", min(phantom_folder.rglob("*.png")), "-o", tmp_path / "found")
    assert list((tmp_path / "found").glob("*_score.png"))
    assert {"numpy", "onnxruntime"} <= names
    volumes = {"pydicom", "nibabel", "highdicom", "SimpleITK", "gdcm", "jinja2", "requests"}
    assert not names & {*volumes, "torch", "lightning_fabric", "matplotlib", "sklearn", "lesionsplit.pipeline.volumes"}


def test_every_command_has_a_help() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    for command in ("train", "evaluate", "predict", "lungs", "phantom"):
        assert command in shown.stdout
        assert run(command, "--help").returncode == 0


def test_the_version_is_the_packages() -> None:
    from importlib.metadata import version

    assert version("lesionsplit") in run("--version").stdout

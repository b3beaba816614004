"""Readers of what earlier calls left: settings, weights, states of runs and of folders of results, caches."""

from __future__ import annotations

import atexit
import csv
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lesionsplit.comparison.settings import read_comparison
from lesionsplit.data.cache import prepare
from lesionsplit.data.table import read_table
from lesionsplit.errors import DataError
from lesionsplit.io.cases import find_cases
from lesionsplit.models.model import Model
from lesionsplit.pipeline.options import PredictOptions
from lesionsplit.pipeline.predictor import Predictor
from lesionsplit.pipeline.slices import predict_slices
from lesionsplit.pipeline.volumes import predict_volumes
from lesionsplit.runtime import Runtime
from lesionsplit.settings import from_table, read_settings, to_table, to_toml
from lesionsplit.training.checkpoint import load_checkpoint, read_progress
from lesionsplit.training.framework import running_average
from lesionsplit.training.lungs.network import LungModel
from lesionsplit.training.record import Record
from lesionsplit.training.run import Run, RunSettings
from lesionsplit.training.train import launch, train_run

from .mutate import changed_csv, changed_json, changed_toml
from .mutate_formats import changed_safetensors
from .reader import UNFORESEEN, Reader
from .seeds import TINY, Seed, files_of, image_files, make, phantom, tiny_weights

CHEST = (48, 40, 6)
"""Voxels of a chest whose lungs are found."""


def _no_fault(line: str) -> None:
    """Raises where a line is about an error that nobody foresaw."""
    if UNFORESEEN in line:
        raise RuntimeError(line)


CPU = Runtime(device="cpu", threads=1, warn=_no_fault)
FAST = PredictOptions(lung_method="thresholds", write=("lesion", "numbers"))


@cache
def world() -> Path:
    """A folder with a data set, a finished run, weights, and results of slices and of a volume; made once."""
    folder = Path(tempfile.mkdtemp(prefix="world-"))
    owner = os.getpid()
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == owner else None)
    phantom(folder / "phantom")
    tiny_weights(folder / "tiny.safetensors")
    image_files(folder / "images")
    for path in (folder / "images").iterdir():
        if path.name not in ("eight.png", "wide.png"):
            path.unlink()
    (folder / "scans").mkdir()
    make().make_nifti(folder / "scans" / "ct.nii", make().chest(CHEST).hu, affine=make().affine_of((8, 8, 20)))
    train_run(Run.create(folder / "run", TINY), folder / "phantom", cache=folder / "cache", runtime=CPU)
    _predict_images(folder / "found-images")
    _predict_volume(folder / "found-volumes")
    return folder


@cache
def _predictor(folder: Path) -> Predictor:
    return Predictor.load(folder / "tiny.safetensors", runtime=CPU)


def _predict_images(out: Path, folder: Path | None = None) -> None:
    folder = folder or out.parent
    predict_slices(sorted((folder / "images").iterdir()), out, _predictor(folder))


def _predict_volume(out: Path, folder: Path | None = None) -> None:
    folder = folder or out.parent
    cases = find_cases([folder / "scans" / "ct.nii"], recursive=False).cases
    predict_volumes(cases, out, _predictor(folder), FAST)


def _of_run(*names: str) -> list[Seed]:
    files = files_of(world() / "run")
    files = {name: content for name, content in files.items() if not name.startswith(("tensorboard", "pictures"))}
    return [Seed(name, name, files) for name in names]


@cache
def _settings() -> list[Seed]:
    found = [("tiny.toml", to_toml(TINY).encode())]
    found += [(path.name, path.read_bytes()) for path in sorted(_package("configs").glob("*.toml"))]
    return [Seed(name, name, {name: content}) for name, content in found]


@cache
def _comparisons() -> list[Seed]:
    return [
        Seed(path.name, path.name, {path.name: path.read_bytes()}) for path in _package("comparisons").glob("*.toml")
    ]


def _package(name: str) -> Path:
    import lesionsplit

    return Path(lesionsplit.__file__).parent / name


def _of_weights(*paths: Path) -> list[Seed]:
    """Weights files, as they are and without the digest, as files of before 0.3.0 are."""
    found = []
    for path in paths:
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        header["__metadata__"].pop("sha256", None)
        text = json.dumps(header).encode()
        plain = len(text).to_bytes(8, "little") + text + data[8 + length :]
        found += [
            Seed(path.name, path.name, {path.name: data}),
            Seed(f"old {path.name}", path.name, {path.name: plain}),
        ]
    return found


@cache
def _weights() -> list[Seed]:
    return _of_weights(world() / "tiny.safetensors")


@cache
def _lung_weights() -> list[Seed]:
    return _of_weights(_package("weights") / "lungs.safetensors")


@cache
def _results(kind: str, *names: str) -> list[Seed]:
    files = files_of(world() / f"found-{kind}")
    return [Seed(name, name, files) for name in names]


@cache
def _cache(end: str) -> list[Seed]:
    files = files_of(world() / "cache")
    return [Seed(name, name, files) for name in files if name.endswith(end)]


def not_finite(value: Any, place: str = "") -> str:
    """Where in nested tables a number is not finite; empty if all are."""
    if isinstance(value, dict):
        return next(filter(None, (not_finite(one, f"{place}.{key}") for key, one in value.items())), "")
    if isinstance(value, (list, tuple)):
        return next(filter(None, (not_finite(one, f"{place}[]") for one in value)), "")
    return place if isinstance(value, float) and not math.isfinite(value) else ""


def _read_settings(path: Path) -> str:
    settings = read_settings(RunSettings, path)
    table = to_table(settings)
    if where := not_finite(table):
        return f"{where} is not finite"
    return "" if from_table(RunSettings, table, source="again") == settings else "not the same when read again"


def _read_comparison(path: Path) -> str:
    where = not_finite(to_table(read_comparison(str(path))))
    return f"{where} is not finite" if where else ""


def _read_weights(path: Path) -> str:
    model = Model.load(path)
    if where := not_finite(to_table(model.card)):
        return f"{where} of the card is not finite"
    if not all(torch.isfinite(one).all() for one in model.network.state_dict().values()):
        return "weights that are not finite"
    placement = model.card.placement
    if placement.rows * placement.columns > 1 << 16:
        return ""
    with torch.inference_mode():
        score = model.infer(torch.zeros(1, 1, placement.rows, placement.columns)).score
    return "" if torch.isfinite(score).all() and 0 <= score.min() <= score.max() <= 1 else "scores that are none"


def _read_lung_weights(path: Path) -> str:
    model = LungModel.load(path)
    fine = all(torch.isfinite(one).all() for one in model.network.state_dict().values())
    return "" if fine else "weights that are not finite"


def _read_checkpoint(path: Path) -> str:
    method = TINY.method.build()
    method.setup(launch(TINY, "cpu"))
    state = {**method.state(), "average": running_average(method, 0.5)}
    progress = read_progress(path)
    again = load_checkpoint(path, state)
    if not all(isinstance(again[key], (int, float)) and math.isfinite(again[key]) for key in ("step", "seconds")):
        return "progress that is no number"
    if progress != again or not 0 <= again["step"] == int(again["step"]):
        return "a step that is none"
    for part in state.values():
        for tensor in part.state_dict().values() if isinstance(part, torch.nn.Module) else ():
            if not torch.isfinite(tensor).all():
                return "weights that are not finite"
    return ""


def _read_run(path: Path) -> str:
    """What `train --resume` reads before it trains."""
    run = Run.open(path.parent)
    where = not_finite(run.facts())
    if not isinstance(run.facts(), dict) or where:
        return f"facts that are none {where}"
    run.data()
    run.finished()
    return ""


def _read_metrics(path: Path) -> str:
    record = Record(path.parent, slices_a_step=4, step=2)
    record.add({"loss": torch.tensor(1.0)})
    record.flush(4)
    record.close()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    if steps != sorted(set(steps)) or steps[-1] != 4:
        return f"steps {steps}"
    values = [float(cell) for row in rows for cell in row.values() if cell]
    return "" if all(map(math.isfinite, values)) else "numbers that are none"


@contextmanager
def _unchanged(path: Path, table: str) -> Iterator[list[str]]:
    """Whether the whole rows of a table are those of the undisturbed one afterwards."""
    wrong: list[str] = []
    yield wrong
    with (path.parent / table).open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if None in row or None in row.values():
            wrong.append(f"{table} has rows of other lengths")
        for name, cell in row.items():
            try:
                number = float(cell)
            except (TypeError, ValueError):
                continue
            if not math.isfinite(number) and name not in ("slice", "name", "reason", "notes"):
                wrong.append(f"{table} has {cell} in {name}")


def _read_predictions(path: Path) -> str:
    with _unchanged(path, "predictions.csv") as wrong:
        _predict_images(path.parent, world())
    with (path.parent / "predictions.csv").open(newline="") as file:
        names = {Path(row["slice"]).name for row in csv.DictReader(file)}
    return "".join(wrong[:1]) or ("" if {"eight.png", "wide.png"} <= names else "rows are missing")


def _read_manifest(path: Path) -> str:
    out = path.parent if path.name == "cases.csv" else path.parent.parent
    with _unchanged(out / "cases.csv", "cases.csv") as wrong:
        _predict_volume(out, world())
    with (out / "cases.csv").open(newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    if "ct" not in rows:
        return "the case is not in the table"
    if rows["ct"]["status"] == "failed" and not wrong:  # a damaged manifest is an error of its case
        raise DataError(rows["ct"]["reason"])
    json.loads((out / "ct" / "manifest.json").read_text())
    return "".join(wrong[:1]) or ("" if rows["ct"]["status"] == "done" else f"the case is {rows['ct']['status']}")


def _read_cache(path: Path) -> str:
    folder = path.parent.parent
    table = read_table(world() / "phantom").split("train").without_masks()
    slices = prepare(table, TINY.placement, folder=folder)
    expected = prepare(table, TINY.placement, folder=world() / "cache")
    shape = (len(table), *TINY.placement.canvas)
    if slices.images.shape != shape or slices.images.dtype not in (np.uint8, np.uint16):
        return f"images of {slices.images.dtype} {slices.images.shape}"
    if not np.array_equal(slices.labels, expected.labels):
        return "labels of other slices"
    fine = math.isfinite(slices.normalisation.mean) and slices.normalisation.std > 0
    return "" if fine and isinstance(slices.fingerprint, str) else "a normalisation that is none"


STATE = (
    Reader("settings", _settings, _read_settings, changed_toml),
    Reader("comparison", _comparisons, _read_comparison, changed_toml),
    Reader("weights", _weights, _read_weights, changed_safetensors),
    Reader("lung weights", _lung_weights, _read_lung_weights, changed_safetensors),
    Reader("checkpoint", lambda: _of_run("checkpoint.safetensors"), _read_checkpoint, changed_safetensors),
    Reader("run.json", lambda: _of_run("run.json"), _read_run, changed_json),
    Reader("settings of a run", lambda: _of_run("settings.toml"), _read_run, changed_toml),
    Reader("metrics.csv", lambda: _of_run("metrics.csv"), _read_metrics, changed_csv, fresh=True),
    Reader("predictions.csv", lambda: _results("images", "predictions.csv"), _read_predictions, changed_csv, True),
    Reader("predictions.json", lambda: _results("images", "predictions.json"), _read_predictions, changed_json, True),
    Reader("manifest.json", lambda: _results("volumes", "ct/manifest.json"), _read_manifest, changed_json, True),
    Reader("cases.csv", lambda: _results("volumes", "cases.csv"), _read_manifest, changed_csv, True),
    Reader("cache: entry.json", lambda: _cache("entry.json"), _read_cache, changed_json, True),
    Reader("cache: images.npy", lambda: _cache("images.npy"), _read_cache, None, True),
)

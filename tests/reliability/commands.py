"""The commands that are killed and starved of disk: what they are given, and what counts as the same results."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from safetensors import safe_open

from lesionsplit.settings import to_toml

from .seeds import ROOT, TINY, files_of, image_files, make, phantom, settings_with, tiny_weights, zipped

RESULTS = ("out", "cache", "tmp", "home", "runs")
"""Folders that commands write to; the others hold what they are given."""

CPU = ("--device", "cpu", "--threads", "1")


@dataclass(frozen=True)
class Command:
    """A command line, run in a folder that has its inputs in ``in``."""

    name: str
    prepare: Callable[[Path], None]
    """Makes the inputs."""

    words: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    """Calls whose results are there already when the disk fails."""

    again: Callable[[Path], tuple[str, ...]] | None = None
    """What is called after it was stopped, where that is another command."""

    def next(self, folder: Path) -> tuple[str, ...]:
        """The call that continues."""
        return self.words if self.again is None else self.again(folder)


def _train_inputs(folder: Path) -> None:
    phantom(folder / "in" / "phantom", 9)
    (folder / "in" / "tiny.toml").write_text(to_toml(TINY))
    text = (ROOT / "tests/methods/teacher.toml").read_text()
    (folder / "in" / "teacher.toml").write_text(text.replace("[4, 8, 12, 16]", "[4, 6]").replace("= 3\n", "= 2\n"))
    (folder / "in" / "student.toml").write_text(
        to_toml(settings_with(steps=2)).partition("[method]")[0]
        + '[method]\nname = "distilled"\n[method.network]\nchannels = [4, 6]\n[method.distillation]\n'
        'teachers = ["in/teacher.toml"]\nseeds = 1\n[training]\nsteps = 2\nbatch_size = 2\nema_decay = 0.5\n'
        "log_every = 1\ncheckpoint_every = 1\npicture_every = 2\n"
    )


def _compare_inputs(folder: Path) -> None:
    phantom(folder / "in" / "phantom", 18)
    (folder / "in" / "tiny.toml").write_text(to_toml(settings_with(steps=2)))
    (folder / "in" / "two.toml").write_text(
        'reference = "network"\nresolution = 64\nexamples = 2\n[[entry]]\nname = "network"\nconfig = "in/tiny.toml"\n'
        '[[entry]]\nname = "opening"\nuntrained = "opening"\n'
    )


def _image_inputs(folder: Path) -> None:
    image_files(folder / "files")
    (folder / "in" / "images").mkdir(parents=True)
    for name in ("eight.png", "wide.png", "grey.tiff"):
        (folder / "files" / name).rename(folder / "in" / "images" / name)
    shutil.rmtree(folder / "files")
    tiny_weights(folder / "in" / "tiny.safetensors")


def _volume_inputs(folder: Path) -> None:
    scans = folder / "in" / "scans"
    chest = make().chest((48, 40, 6))
    make().make_nifti(scans / "a.nii.gz", chest.hu, affine=make().affine_of((8, 8, 20)))
    make().make_series(folder / "ct", (48, 40, 6), spacing=(8.0, 8.0, 20.0))
    zipped(folder / "ct", scans / "b.zip")
    shutil.rmtree(folder / "ct")
    tiny_weights(folder / "in" / "tiny.safetensors")


def _raw_inputs(folder: Path) -> None:
    whole = make().chest((240, 200, 9))
    (folder / "in" / "raw").mkdir(parents=True)
    for k in (3, 4, 5):
        hu = whole.hu[9:-9, 20:-20, k].T
        grey = (np.clip((hu + 1450) / 1500, 0, 1) * 255).astype(np.uint8)
        Image.fromarray(grey).save(folder / "in" / "raw" / f"{k}.png")


def _resumed(data: str) -> Callable[[Path], tuple[str, ...]]:
    def again(folder: Path) -> tuple[str, ...]:
        if (folder / "out/run/settings.toml").is_file():
            return ("train", data, "--run", "out/run", "--resume", "--cache", "cache", *CPU)
        return ()

    return again


def _or(first: tuple[str, ...], again: Callable[[Path], tuple[str, ...]]) -> Callable[[Path], tuple[str, ...]]:
    return lambda folder: again(folder) or first


def _training(name: str, config: str) -> Command:
    words = ("train", "in/phantom", "--config", config, "--run", "out/run", "--cache", "cache", *CPU)
    return Command(name, _train_inputs, words, again=_or(words, _resumed("in/phantom")))


_SLICES = ("-o", "out", "--weights", "in/tiny.safetensors", *CPU)
_VOLUMES = (*_SLICES, "--lung-method", "thresholds")

COMMANDS = (
    _training("train", "in/tiny.toml"),
    _training("distil", "in/student.toml"),
    Command(
        "predict slices",
        _image_inputs,
        ("predict", "in/images", *_SLICES),
        before=(("predict", "in/images/eight.png", *_SLICES),),
    ),
    Command(
        "predict volumes",
        _volume_inputs,
        ("predict", "in/scans/a.nii.gz", "in/scans/b.zip", *_VOLUMES),
        before=(("predict", "in/scans/a.nii.gz", *_VOLUMES),),
    ),
    Command(
        "compare", _compare_inputs, ("compare", "in/two.toml", "in/phantom", "-o", "out", "--cache", "cache", *CPU)
    ),
    Command("phantom", lambda _: None, ("phantom", "out/p", "--normal", "1", "--lesion", "1", "--size", "64")),
    Command(
        "lungs",
        _raw_inputs,
        ("lungs", "in/raw", "-o", "out"),
        before=(("lungs", "in/raw/3.png", "-o", "out"),),
    ),
)


def reset(folder: Path) -> None:
    """Remove what commands have written."""
    for name in RESULTS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("tmp", "home"):
        (folder / name).mkdir()


def written(folder: Path) -> dict[str, bytes]:
    """The files that commands have written, hidden ones too, and empty folders that are hidden."""
    found: dict[str, bytes] = {}
    for name in RESULTS:
        if (folder / name).is_dir():
            found |= {f"{name}/{path}": content for path, content in files_of(folder / name).items()}
            hidden = [path for path in (folder / name).rglob(".*") if path.is_dir()]
            found |= {f"{path.relative_to(folder)}/": b"" for path in hidden}
    return found


def same(one: dict[str, bytes], other: dict[str, bytes], unstable: frozenset[str] = frozenset()) -> str:
    """How two sets of results differ; empty if they are the same to the bit, but for times.

    A training that was stopped by SIGTERM has one picture more.
    """
    other = {name: content for name, content in other.items() if name in one or "/pictures/" not in name}
    if set(one) != set(other):
        more, less = sorted(set(other) - set(one)), sorted(set(one) - set(other))
        return "; ".join(filter(None, (more and f"left behind: {more[:3]}", less and f"missing: {less[:3]}")))
    for name in one:
        if name not in unstable and essence(name, one[name]) != essence(name, other[name]):
            return f"{name} differs"
    return ""


def essence(name: str, content: bytes) -> Any:
    """What of a file must be the same in each run: all but times and identifiers."""
    end = Path(name).name
    if end == "metrics.csv":
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        return [{key: cell for key, cell in row.items() if "second" not in key} for row in rows]
    if end == "checkpoint.safetensors":  # its metadata has the seconds
        return hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()
    if end == "manifest.json":
        table = json.loads(content)
        table.pop("seconds", None)
        table.get("input", {}).pop("made", None)
        return table
    if end.endswith(".dcm"):
        data = pydicom.dcmread(io.BytesIO(content))
        pixels = [data[key].value for key in ("PixelData", "FloatPixelData") if key in data]
        return len(data), [hashlib.sha256(one).hexdigest() for one in pixels]
    return hashlib.sha256(content).hexdigest()


def half(folder: Path) -> str:
    """A file under its final name that is not whole; empty if all are."""
    for name, content in written(folder).items():
        if any(part.startswith(".") for part in Path(name).parts) or name.startswith(("tmp", "home")):
            continue
        try:
            _check_whole(folder / name, name, content)
        except Exception as error:
            return f"{name} is not whole ({type(error).__name__}: {error})"
    return ""


def _check_whole(path: Path, name: str, content: bytes) -> None:
    end = re.sub(r".*?(\.nii\.gz|\.\w+)$", r"\1", name)
    match end:
        case ".png":
            Image.open(io.BytesIO(content)).load()
        case ".json":
            json.loads(content)
        case ".csv" if not name.endswith("predictions.csv"):  # rows are added to this one
            rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
            assert len({len(row) for row in rows}) == 1, "rows of several lengths"
            assert content.endswith(b"\n"), "half a row"
        case ".safetensors":
            with safe_open(path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118
                    file.get_tensor(key)
        case ".nii.gz":
            assert len(gzip.decompress(content)) > 352, "too short"
        case ".html":
            assert content.rstrip().endswith(b"</html>"), "no end"
        case ".dcm":
            pydicom.dcmread(io.BytesIO(content))
        case ".npy":
            np.load(io.BytesIO(content), allow_pickle=False)

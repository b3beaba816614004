"""predictions.csv whatever happens to it: other processes, full disks, damage."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lesionsplit.errors import DataError
from lesionsplit.inference.predictor import Prediction
from lesionsplit.pipeline.prediction_rows import BEFORE, COLUMNS
from lesionsplit.pipeline.prediction_table import NameTakenError, PredictionTable
from lesionsplit.pipeline.result import SliceResult

MADE: dict[str, str | float] = {"lesionsplit": "1", "weights": "abc", "threshold": 0.25, "lungs": "masked"}


def slices(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.png").write_text(f"the slice {name}")
    return [folder / f"{name}.png" for name in names]


def begun(out: Path, paths: list[Path], *, overwrite: bool = False, **other: str | float) -> PredictionTable:
    table = PredictionTable(out)
    table.begin(MADE | other, paths, overwrite=overwrite)
    return table


def add(table: PredictionTable, path: Path, fraction: int = 0, folder: str = ".written") -> None:
    """Add a slice of which so many hundredths are lesion."""
    mask = np.arange(100).reshape(10, 10) < fraction
    found = Prediction(score=mask.astype(np.float32), mask=mask, healthy=mask, lungs=np.ones_like(mask))  # type: ignore[arg-type]
    table.look(path)
    written = table.out / folder
    written.mkdir(exist_ok=True)
    result = SliceResult(name=path.stem, image=mask.astype(np.uint8), prediction=found, threshold=0.5)
    result.save(written)
    try:
        table.add(path, result, written)
    finally:
        shutil.rmtree(written)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def names(out: Path) -> list[str]:
    return [Path(row["slice"]).stem for row in rows(out)]


def done(out: Path, paths: list[Path], **other: str | float) -> list[bool]:
    return [begun(out, paths, **other).has(path) for path in paths]


def test_a_row_says_what_was_found(tmp_path: Path) -> None:
    paths = slices(tmp_path / "in", "one", "two")
    table = begun(tmp_path / "out", paths)
    add(table, paths[0], 25)
    add(table, paths[1], 0)
    table.finish(paths)
    first, second = rows(tmp_path / "out")
    assert list(first) == list(COLUMNS)
    assert (first["slice"], first["lesion"], first["lesion_pixels"]) == (str(paths[0]), "yes", "25")
    assert (first["lesion_fraction"], first["slice_score"]) == ("0.25000", "1.00000")
    assert (second["lesion"], second["lesion_pixels"]) == ("no", "0")
    assert done(tmp_path / "out", paths) == [True, True]
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".png") == [
        "predictions.csv",
        "predictions.json",
    ]


@pytest.mark.parametrize("other", ["the slice two", "the slice of another size"])
def test_another_slice_of_an_older_time_in_its_place_is_seen(tmp_path: Path, other: str) -> None:
    """As `cp -p`, `unzip` and `rsync -t` put it there; of the same size and time too."""
    (path,) = slices(tmp_path / "in", "one")
    table = begun(tmp_path / "out", [path])
    add(table, path)
    before = path.stat()
    path.write_text(other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns if "two" in other else 10**18))
    assert done(tmp_path / "out", [path]) == [False]
    path.write_text("the slice one")  # what was predicted has come back
    assert done(tmp_path / "out", [path]) == [True]


def test_another_lung_mask_of_an_older_time_is_seen(tmp_path: Path) -> None:
    (path,) = slices(tmp_path / "in", "one")
    (mask,) = slices(tmp_path / "lungs", "one_lungs")
    table = PredictionTable(tmp_path / "out", lambda _: mask)
    table.begin(MADE, [path], overwrite=False)
    add(table, path)
    assert table.has(path)
    mask.write_text("another mask")
    os.utime(mask, ns=(1, 1))
    table = PredictionTable(tmp_path / "out", lambda _: mask)
    table.begin(MADE, [path], overwrite=False)
    assert not table.has(path)


def test_a_slice_that_changes_while_it_is_predicted_is_done_again(tmp_path: Path) -> None:
    (path,) = slices(tmp_path / "in", "one")
    table = begun(tmp_path / "out", [path])
    table.look(path)
    path.write_text("changed after it was looked at")
    add(table, path)
    assert done(tmp_path / "out", [path]) == [False]


@pytest.mark.parametrize("key", ["weights", "threshold", "lungs", "lesionsplit"])
def test_predictions_made_in_another_way_are_not_mixed_in(tmp_path: Path, key: str) -> None:
    paths = slices(tmp_path / "in", "one", "two")
    add(begun(tmp_path / "out", paths), paths[0])
    other: dict[str, str | float] = {key: 0.75 if key == "threshold" else "other"}
    with pytest.raises(DataError, match=r"holds predictions with another .*; choose another folder, or --overwrite"):
        begun(tmp_path / "out", paths, **other)
    assert done(tmp_path / "out", paths) == [True, False]
    add(begun(tmp_path / "out", paths, overwrite=True, **other), paths[1])
    assert names(tmp_path / "out") == ["two"]


def test_who_predicts_in_another_way_at_the_same_time_is_stopped(tmp_path: Path) -> None:
    """Both have begun before either had a row."""
    paths = slices(tmp_path / "in", "one", "two")
    one, other = begun(tmp_path / "out", paths), begun(tmp_path / "out", paths, weights="other")
    with pytest.raises(DataError, match=r"another process writes predictions with another weights"):
        add(one, paths[0])
    add(other, paths[1])
    assert names(tmp_path / "out") == ["two"]
    assert not (tmp_path / "out" / "one_score.png").exists()


def test_slices_of_one_name_in_two_calls_at_a_time_do_not_mix(tmp_path: Path) -> None:
    (first,), (second,) = slices(tmp_path / "a", "one"), slices(tmp_path / "b", "one")
    table, other = begun(tmp_path / "out", [first]), begun(tmp_path / "out", [second])
    add(table, first, 25)
    before = (tmp_path / "out" / "one_mask.png").read_bytes()
    with pytest.raises(NameTakenError, match=rf"{second}: another process has written the prediction of {first}, of"):
        add(other, second, 50)
    assert (tmp_path / "out" / "one_mask.png").read_bytes() == before
    assert [row["lesion_pixels"] for row in rows(tmp_path / "out")] == ["25"]


def test_calls_at_a_time_keep_the_rows_of_each_other(tmp_path: Path) -> None:
    paths = slices(tmp_path / "in", "a", "b", "c", "d", "e")
    one, two = begun(tmp_path / "out", paths[:2]), begun(tmp_path / "out", paths[2:4])
    for table, path in ((one, 0), (two, 2), (two, 3), (one, 1)):
        add(table, paths[path])
    two.finish(paths[2:4])
    assert names(tmp_path / "out") == ["c", "d", "a", "b"]
    add(begun(tmp_path / "out", paths[4:]), paths[4])
    one.drop(paths[0])
    one.finish(paths[:2])
    assert names(tmp_path / "out") == ["b", "c", "d", "e"]


def test_calls_of_the_same_slices_at_a_time_write_them_once(tmp_path: Path) -> None:
    paths = slices(tmp_path / "in", "one", "two")
    tables = [begun(tmp_path / "out", paths), begun(tmp_path / "out", paths)]
    for path in paths:
        for table in tables:
            add(table, path, 25)
    for table in tables:
        table.finish(paths)
    assert names(tmp_path / "out") == ["one", "two"]
    assert done(tmp_path / "out", paths) == [True, True]


def test_processes_with_different_slices_lose_no_row(tmp_path: Path) -> None:
    """The rows of 40 slices, added by two processes at once."""
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import test_prediction_table as t\n"
        "paths = sorted(Path(sys.argv[2]).iterdir()); table = t.begun(Path(sys.argv[3]), paths)\n"
        "[t.add(table, path, folder=f'.{paths[0].parent.name}') for path in paths]; table.finish(paths)"
    )
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        slices(folder, *(f"{folder.name}{number}" for number in range(20)))
    here, out = str(Path(__file__).parent), str(tmp_path / "out")
    both = [subprocess.Popen([sys.executable, "-c", code, here, str(folder), out]) for folder in folders]
    assert [one.wait() for one in both] == [0, 0]
    assert len(set(names(tmp_path / "out"))) == 40
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".lesionsplit")]


@pytest.mark.parametrize("left", [b"", b"slice,les", b"slice,lesion,slice_score,lesion_pixels,lesion_fraction,"])
def test_a_table_that_a_full_disk_left_without_a_header_is_begun_anew(tmp_path: Path, left: bytes) -> None:
    paths = slices(tmp_path / "in", "one", "two")
    add(begun(tmp_path / "out", paths), paths[0])
    (tmp_path / "out" / "predictions.csv").write_bytes(left)
    assert done(tmp_path / "out", paths) == [False, False]
    add(begun(tmp_path / "out", paths), paths[0])
    assert names(tmp_path / "out") == ["one"]


def test_rows_below_a_lost_header_are_kept(tmp_path: Path) -> None:
    """What version 0.2.0 left: the header did not fit on the disk, later rows did."""
    paths = slices(tmp_path / "in", "one", "two")
    table = begun(tmp_path / "out", paths)
    for path in paths:
        add(table, path)
    file = tmp_path / "out" / "predictions.csv"
    file.write_text(file.read_text().partition("\n")[2])
    assert done(tmp_path / "out", paths) == [True, True]
    assert names(tmp_path / "out") == ["one", "two"]


def test_a_table_of_an_older_version_is_understood(tmp_path: Path) -> None:
    paths = slices(tmp_path / "in", "one", "two")
    add(begun(tmp_path / "out", paths), paths[0])
    old = {column: cell for column, cell in rows(tmp_path / "out")[0].items() if column in BEFORE}
    (tmp_path / "out" / "predictions.csv").write_text(f"{','.join(BEFORE)}\n{','.join(old.values())}\n")
    assert done(tmp_path / "out", paths) == [False, False]  # nobody knows which slice that was
    assert rows(tmp_path / "out")[0] == dict.fromkeys(COLUMNS, "") | old


@pytest.mark.parametrize("room", [0, 10])
def test_a_row_that_does_not_fit_leaves_the_table_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    paths = slices(tmp_path / "in", "one", "two")
    table = begun(tmp_path / "out", paths)
    add(table, paths[0])
    before = (tmp_path / "out" / "predictions.csv").read_bytes()
    opened = Path.open

    def full(path: Path, mode: str = "r", *more: object, **keys: object) -> object:
        file = opened(path, mode, *more, **keys)  # type: ignore[call-overload]
        return Full(file, room) if path.name == "predictions.csv" and mode == "ab" else file

    monkeypatch.setattr(Path, "open", full)
    message = r"predictions.csv: cannot be written \(No space left on device\); choose another folder, or free some"
    with pytest.raises(DataError, match=message):
        add(table, paths[1])
    monkeypatch.undo()
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == before
    add(begun(tmp_path / "out", paths), paths[1])
    assert names(tmp_path / "out") == ["one", "two"]


class Full:
    """A file on a disk with room for a few bytes."""

    def __init__(self, file: object, room: int) -> None:
        self.file, self.room = file, room

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()  # type: ignore[attr-defined]

    def write(self, text: bytes) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        return int(self.file.write(text[: self.room]))  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> object:
        return getattr(self.file, name)


@pytest.mark.parametrize("step", ["predictions.csv", "predictions.json"])
def test_a_full_disk_at_the_beginning_names_the_file_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    paths = slices(tmp_path / "in", "one", "two")
    add(begun(tmp_path / "out", paths), paths[0])
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    written = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name != step:
            return written(path, content)
        written(path, content[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=rf"{step}: cannot be written \(No space left on device\)"):
        begun(tmp_path / "out", paths)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"weights": 3}', '{"weights": "abc", "threshold": "x"}', "[" * 100_000, "\xff"]
)
def test_a_damaged_predictions_json_is_one_line(tmp_path: Path, text: str) -> None:
    paths = slices(tmp_path / "in", "one", "two")
    add(begun(tmp_path / "out", paths), paths[0])
    (tmp_path / "out" / "predictions.json").write_text(text, encoding="latin1")
    with pytest.raises(DataError, match=r"because predictions.json is damaged; choose another folder, or --overwrite"):
        begun(tmp_path / "out", paths)
    assert names(tmp_path / "out") == ["one"]
    assert begun(tmp_path / "out", paths, overwrite=True).rows == {}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "predictions.json").write_text(text, encoding="latin1")
    for overwrite in (False, True):
        with pytest.raises(DataError, match=r"predictions.json: is not a file of lesionsplit; move it away, or choose"):
            begun(tmp_path / "mine", paths, overwrite=overwrite)
    assert (tmp_path / "mine" / "predictions.json").read_text(encoding="latin1") == text


def test_predictions_of_which_nobody_knows_how_they_were_made_are_not_mixed_in(tmp_path: Path) -> None:
    paths = slices(tmp_path / "in", "one", "two")
    add(begun(tmp_path / "out", paths), paths[0])
    (tmp_path / "out" / "predictions.json").unlink()
    with pytest.raises(DataError, match=r"because predictions.json is missing; choose another folder, or --overwrite"):
        begun(tmp_path / "out", paths)


def test_a_damaged_table_is_an_error_or_keeps_only_rows_with_valid_numbers(tmp_path: Path) -> None:
    """A byte of predictions.csv is changed, removed or added."""
    paths = slices(tmp_path / "in", *"abcdef")
    table = begun(tmp_path / "out", paths)
    for number, path in enumerate(paths):
        add(table, path, number)
    file = tmp_path / "out" / "predictions.csv"
    whole = file.read_bytes()
    draw = random.Random(0)
    for _ in range(100):
        damaged = bytearray(whole)
        at = draw.randrange(len(damaged))
        damaged[at : at + draw.choice((0, 1, 1, 40))] = draw.choice((b"", b"\0", b"\xff", b'"', b"\n", b",", b"nan"))
        file.write_bytes(bytes(damaged))
        (tmp_path / "out" / "predictions.json").write_text(json.dumps(MADE))
        try:
            found = begun(tmp_path / "out", paths).rows
        except DataError:
            continue
        for row in found.values():
            assert 0 <= float(row["lesion_fraction"]) <= 1
            assert row["lesion"] in ("yes", "no")
            assert int(row["lesion_pixels"]) >= 0


def test_links_are_slices_of_their_own(tmp_path: Path) -> None:
    """As `git annex` and `dvc` keep them: two slices that look alike are links to one file."""
    stored = tmp_path / "0a1b.png"
    stored.write_text("a slice")
    (tmp_path / "in").mkdir()
    paths = [tmp_path / "in" / "one.png", tmp_path / "in" / "two.png"]
    for path in paths:
        path.symlink_to(stored)
    table = begun(tmp_path / "out", paths)
    for path in paths:
        add(table, path)
    table.finish(paths)
    assert names(tmp_path / "out") == ["one", "two"]
    assert done(tmp_path / "out", paths) == [True, True]


@pytest.mark.parametrize("damage", ["emptied", "removed", "a line"])
def test_rows_that_a_damaged_table_lost_are_named_once(tmp_path: Path, damage: str) -> None:
    paths, out = slices(tmp_path / "in", "a", "b", "c"), tmp_path / "out"
    table = begun(out, paths[:2])
    add(table, paths[0])
    add(table, paths[1])
    whole = table.path.read_text()
    assert begun(out, paths[2:]).damage == ""
    if damage == "emptied":
        table.path.write_text("")
    elif damage == "removed":
        table.path.unlink()
    else:
        table.path.write_text(whole.replace(",no,", ",maybe,", 1))
    lost = "a" if damage == "a line" else "a, b"
    assert begun(out, paths[:2]).damage == ""  # they are given: their rows come again
    table.path.write_text("" if damage != "a line" else whole.replace(",no,", ",maybe,", 1))
    assert begun(out, paths[2:]).damage == (
        f"{table.path}: was empty, damaged or removed: it has no rows of slices whose images are there ({lost}); give "
        "these slices again to get their rows"
    )
    assert begun(out, paths[2:]).damage == ""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lesionsplit.data.lung_slice import find_lungs
from lesionsplit.errors import DataError
from lesionsplit.images import read_grey
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.pipeline import slices as module
from lesionsplit.pipeline.inputs import Outcome
from lesionsplit.pipeline.options import PredictOptions
from lesionsplit.pipeline.prediction_table import PredictionTable
from lesionsplit.pipeline.predictor import Predictor
from lesionsplit.pipeline.slices import predict_slices
from lesionsplit.runtime import Runtime


@pytest.fixture
def slices(tmp_path: Path, phantom_folder: Path) -> Path:
    folder = tmp_path / "slices"
    folder.mkdir()
    for name in ("lesion_1", "lesion_2", "normal_1"):
        shutil.copy(phantom_folder / "images" / f"{name}.png", folder)
    return folder


def predict_files(
    inputs: list[Path],
    out: Path,
    weights: Path,
    *,
    threshold: float | None = None,
    lungs: Path | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    predictor = Predictor.load(weights, threshold=threshold, runtime=Runtime(device="cpu", say=say, warn=say))
    return predict_slices(inputs, out, predictor, PredictOptions(lungs=lungs), overwrite=overwrite)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_files_hold_what_the_predictor_says(tmp_path: Path, slices: Path, weights: Path) -> None:
    out = tmp_path / "out"
    outcome = predict_files([slices], out, weights)
    assert (outcome.done, outcome.skipped, outcome.failed) == (3, 0, 0)
    predictor = SlicePredictor.load(weights)
    for row in rows(out):
        path = Path(row["slice"])
        expected = predictor.predict(read_grey(path))
        score = np.asarray(Image.open(out / f"{path.stem}_score.png"))
        assert score.dtype == np.uint16
        np.testing.assert_allclose(score / 65535, expected.score, atol=1e-4)
        mask = np.asarray(Image.open(out / f"{path.stem}_mask.png"))
        assert set(np.unique(mask)) <= {0, 255}
        assert ((mask > 0) != expected.mask).mean() < 1e-3
        assert np.asarray(Image.open(out / f"{path.stem}_overlay.png")).shape == (*score.shape, 3)
        healthy = np.asarray(Image.open(out / f"{path.stem}_healthy.png"))
        assert np.abs(healthy.astype(int) - expected.healthy).max() <= 1
        assert float(row["slice_score"]) == pytest.approx(expected.slice_score, abs=1e-4)
        assert int(row["lesion_pixels"]) == np.count_nonzero(mask)
        assert row["lesion"] == ("yes" if float(row["lesion_fraction"]) >= 0.01 else "no")
    manifest = json.loads((out / "predictions.json").read_text())
    assert manifest["threshold"] == predictor.threshold


def test_one_bad_file_among_many_is_said_and_left_out(tmp_path: Path, slices: Path, weights: Path) -> None:
    (slices / "broken.png").write_bytes((slices / "lesion_1.png").read_bytes()[:200])
    Image.fromarray(np.zeros((32, 32), dtype=np.uint8)).save(slices / "empty.png")
    said: list[str] = []
    outcome = predict_files([slices], tmp_path / "out", weights, say=said.append)
    assert (outcome.done, outcome.failed) == (3, 2)
    assert [line.split(":")[0] for line in said] == [str(slices / "broken.png"), str(slices / "empty.png")]
    assert len(rows(tmp_path / "out")) == 3
    assert not list((tmp_path / "out").glob("broken*"))


def test_a_rerun_does_only_what_is_missing_or_changed(tmp_path: Path, slices: Path, weights: Path) -> None:
    out = tmp_path / "out"
    predict_files([slices], out, weights)
    first = rows(out)
    (out / "lesion_2_mask.png").unlink()
    outcome = predict_files([slices], out, weights)
    assert (outcome.done, outcome.skipped) == (1, 2)
    assert rows(out) == first
    shutil.copy(slices / "lesion_2.png", slices / "normal_1.png")  # newer than what was predicted
    outcome = predict_files([slices], out, weights)
    assert (outcome.done, outcome.skipped) == (1, 2)
    assert predict_files([slices], out, weights, overwrite=True).done == 3


def test_a_slice_that_another_of_an_older_time_replaced_is_predicted_again(
    tmp_path: Path, slices: Path, weights: Path
) -> None:
    out = tmp_path / "out"
    predict_files([slices], out, weights)
    before = {row["slice"]: row["slice_score"] for row in rows(out)}
    shutil.copy(slices / "lesion_2.png", slices / "normal_1.png")
    os.utime(slices / "normal_1.png", (1, 1))  # as `cp -p`, `unzip` and `rsync -t` set it
    assert predict_files([slices], out, weights) == Outcome(done=1, skipped=2)
    after = {row["slice"]: row["slice_score"] for row in rows(out)}
    assert after[str(slices / "normal_1.png")] == before[str(slices / "lesion_2.png")]
    assert (out / "normal_1_score.png").read_bytes() == (out / "lesion_2_score.png").read_bytes()
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("left", ["", "slice,lesion,slice_sc"])
def test_a_table_without_a_header_does_not_make_the_folder_useless(
    tmp_path: Path, slices: Path, weights: Path, left: str
) -> None:
    """As a full disk leaves it."""
    out = tmp_path / "out"
    predict_files([slices], out, weights)
    expected = rows(out)
    (out / "predictions.csv").write_text(left)
    assert predict_files([slices], out, weights).done == 3
    assert rows(out) == expected


def test_images_that_do_not_fit_on_the_disk_leave_those_that_were_there(
    tmp_path: Path, slices: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    predict_files([slices], out, weights)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    written = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "lesion_1_mask.png":
            raise OSError(28, "No space left on device")
        return written(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    said: list[str] = []
    outcome = predict_files([slices], out, weights, overwrite=True, say=said.append)
    assert (outcome.done, outcome.failed) == (2, 1)
    assert f"{out / 'lesion_1_mask.png'}: cannot be written (No space left on device)" in said[-1]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_interrupted_it_goes_on(tmp_path: Path, slices: Path, weights: Path) -> None:
    out = tmp_path / "out"
    predict_files([slices / "lesion_1.png"], out, weights)
    with (out / "predictions.csv").open("a") as file:
        file.write(f"{slices / 'lesion_2.png'},0.1")  # the line that was being written
    assert predict_files([slices], out, weights).done == 2
    assert [Path(row["slice"]).stem for row in rows(out)] == ["lesion_1", "lesion_2", "normal_1"]


def test_half_a_line_of_a_killed_process_is_removed_before_anything_is_added(
    tmp_path: Path, slices: Path, weights: Path
) -> None:
    out = tmp_path / "out"
    predict_files([slices], out, weights)
    whole = (out / "predictions.csv").read_text()
    (out / "predictions.csv").write_text(whole[:-20])
    paths = sorted(slices.iterdir())
    table = PredictionTable(out)
    table.begin(json.loads((out / "predictions.json").read_text()), paths, overwrite=False)
    assert (out / "predictions.csv").read_text() == "".join(whole.splitlines(keepends=True)[:-1])


def test_other_weights_or_threshold_are_not_mixed_in(tmp_path: Path, slices: Path, weights: Path) -> None:
    predict_files([slices], tmp_path / "out", weights)
    with pytest.raises(DataError, match="another threshold"):
        predict_files([slices], tmp_path / "out", weights, threshold=0.9)
    predict_files([slices], tmp_path / "out", weights, threshold=0.9, overwrite=True)


def test_rows_that_an_overwrite_removes_are_counted(tmp_path: Path, slices: Path, weights: Path) -> None:
    out, said = tmp_path / "out", list[str]()
    first, *others = sorted(slices.iterdir())
    predict_files([first, *others], out, weights)
    (out / "predictions.json").write_text("junk")
    predict_files([first], out, weights, overwrite=True, say=said.append)
    assert [row["slice"] for row in rows(out)] == [str(first)]
    assert (f"{out / 'predictions.csv'}: 2 rows of other slices with other or unknown settings were removed") in said
    said.clear()
    predict_files([first], out, weights, overwrite=True, say=said.append)
    assert not [line for line in said if "removed" in line]


def test_what_other_weights_found_is_never_taken_for_ours(tmp_path: Path, slices: Path, weights: Path) -> None:
    out = tmp_path / "out"
    predict_files([slices], out, weights)
    predict_files([slices / "lesion_1.png"], out, weights, threshold=0.9, overwrite=True)
    assert len(rows(out)) == 1
    outcome = predict_files([slices], out, weights, threshold=0.9)
    assert (outcome.done, outcome.skipped) == (2, 1)


def test_slices_of_one_name_are_not_written_over_each_other(tmp_path: Path, slices: Path, weights: Path) -> None:
    out = tmp_path / "out"
    predict_files([slices], out, weights)
    shutil.copytree(slices, tmp_path / "others")
    with pytest.raises(DataError, match="choose another folder"):
        predict_files([tmp_path / "others"], out, weights)
    assert len(rows(out)) == 3


def test_one_slice_has_one_row_however_it_is_named(
    tmp_path: Path, slices: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict_files([slices], tmp_path / "out", weights)
    monkeypatch.chdir(tmp_path)
    assert predict_files([Path("slices")], Path("out"), weights).skipped == 3
    assert len(rows(tmp_path / "out")) == 3


def test_a_slice_that_broke_since_has_no_result_any_more(tmp_path: Path, slices: Path, weights: Path) -> None:
    out = tmp_path / "out"
    predict_files([slices], out, weights)
    (slices / "lesion_1.png").write_text("broken")
    assert predict_files([slices], out, weights).failed == 1
    assert [Path(row["slice"]).stem for row in rows(out)] == ["lesion_2", "normal_1"]
    assert not list(out.glob("lesion_1_*"))


def test_results_do_not_go_among_the_slices(slices: Path, weights: Path) -> None:
    with pytest.raises(DataError, match="holds slices that are given"):
        predict_files([slices], slices, weights)


def test_a_table_of_somebody_else_is_not_touched(tmp_path: Path, slices: Path, weights: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/predictions.csv").write_text("patient,finding\n1,none\n")
    with pytest.raises(DataError, match="is not a table of predictions"):
        predict_files([slices], tmp_path / "out", weights)
    assert (tmp_path / "out/predictions.csv").read_text() == "patient,finding\n1,none\n"
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_raw_slices_with_lungs_are_as_lung_masked_ones(tmp_path: Path, slices: Path, weights: Path) -> None:
    raw, lungs = tmp_path / "raw", tmp_path / "lungs"
    for folder in (raw, lungs):
        folder.mkdir()
    for path in slices.iterdir():
        masked = read_grey(path)
        inside = find_lungs(masked)
        Image.fromarray(np.where(inside, masked, 180).astype(np.uint8)).save(raw / path.name)
        Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)).save(lungs / f"{path.stem}_lungs.png")
    predict_files([slices], tmp_path / "expected", weights)
    assert predict_files([raw], tmp_path / "out", weights).failed == 3
    assert predict_files([raw], tmp_path / "out", weights, lungs=lungs).done == 3
    for path in slices.iterdir():
        for kind in ("score", "mask"):
            name = f"{path.stem}_{kind}.png"
            assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()
        name, inside = f"{path.stem}_healthy.png", find_lungs(read_grey(path))
        healthy, expected = (read_grey(tmp_path / folder / name) for folder in ("out", "expected"))
        np.testing.assert_array_equal(healthy, np.where(inside, expected, 180))  # outside the lungs it is the slice
    assert predict_files([raw], tmp_path / "out", weights, lungs=lungs).skipped == 3
    changed = lungs / "lesion_1_lungs.png"
    Image.fromarray(np.roll(read_grey(changed), 3, axis=0)).save(changed)
    assert predict_files([raw], tmp_path / "out", weights, lungs=lungs).done == 1
    changed.unlink()
    said: list[str] = []
    assert predict_files([raw], tmp_path / "out", weights, lungs=lungs, say=said.append).failed == 1
    assert said[0] == f"{raw / 'lesion_1.png'}: {changed}: no such file"
    with pytest.raises(DataError, match="no such folder; give the one that `lesionsplit lungs` wrote"):
        predict_files([raw], tmp_path / "out", weights, lungs=tmp_path / "nowhere")


@pytest.fixture
def many(tmp_path: Path, phantom_folder: Path) -> Path:
    """Eight slices, of which the fourth is broken."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(8):
        shutil.copy(phantom_folder / "images" / "lesion_1.png", folder / f"{number}.png")
    (folder / "3.png").write_text("broken")
    return folder


def test_an_error_while_reading_ahead_does_not_end_the_batch_silently(
    tmp_path: Path, many: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise DataError("predictions.csv: cannot be written (No space left on device)")

    monkeypatch.setattr(PredictionTable, "drop", full)
    with pytest.raises(DataError, match="No space left on device"):
        predict_files([many], tmp_path / "out", weights)
    assert [Path(row["slice"]).stem for row in rows(tmp_path / "out")] == ["0", "1", "2"]  # what was read before


def test_a_terminal_that_is_gone_ends_the_batch(tmp_path: Path, many: Path, weights: Path) -> None:
    def gone(_: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        predict_files([many], tmp_path / "out", weights, say=gone)
    assert len(rows(tmp_path / "out")) == 3


def test_lost_slices_are_an_error(tmp_path: Path, slices: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Predictor, "predict_images", lambda *_: iter(()))
    with pytest.raises(RuntimeError, match="0 of 3 slices are done, skipped or failed; the others were lost"):
        predict_files([slices], tmp_path / "out", weights)


def test_the_table_is_changed_by_one_thread_at_a_time(
    tmp_path: Path, many: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the folder cannot be locked: broken slices are dropped while others are added."""
    for number in range(8, 24):
        (many / f"a{number}.png").write_text("broken")
    shutil.copy(many / "0.png", many / "3.png")
    busy, met = Lock(), []

    def alone(name: str) -> Callable[..., None]:
        change = getattr(PredictionTable, name)

        def changed(*given: Any) -> None:
            if not busy.acquire(blocking=False):
                met.append(name)
                busy.acquire()
            time.sleep(0.02)
            change(*given)
            busy.release()

        return changed

    for name in ("add", "drop"):
        monkeypatch.setattr(PredictionTable, name, alone(name))
    monkeypatch.setattr(module, "AHEAD", 0)
    assert predict_files([many], tmp_path / "out", weights) == Outcome(done=8, failed=16)
    assert not met

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionsplit.data.lungs import find_lungs
from lesionsplit.errors import DataError
from lesionsplit.images import read_grey
from lesionsplit.predictor import Predictor
from lesionsplit.report.predictions import predict_files


@pytest.fixture
def slices(tmp_path: Path, phantom_folder: Path) -> Path:
    folder = tmp_path / "slices"
    folder.mkdir()
    for name in ("lesion_1", "lesion_2", "normal_1"):
        shutil.copy(phantom_folder / "images" / f"{name}.png", folder)
    return folder


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_files_hold_what_the_predictor_says(tmp_path: Path, slices: Path, weights: Path) -> None:
    out = tmp_path / "out"
    outcome = predict_files([slices], out, weights)
    assert (outcome.done, outcome.skipped, outcome.failed) == (3, 0, 0)
    predictor = Predictor.load(weights)
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


def test_interrupted_it_goes_on(tmp_path: Path, slices: Path, weights: Path) -> None:
    out = tmp_path / "out"
    predict_files([slices / "lesion_1.png"], out, weights)
    with (out / "predictions.csv").open("a") as file:
        file.write(f"{slices / 'lesion_2.png'},0.1")  # the line that was being written
    assert predict_files([slices], out, weights).done == 2
    assert [Path(row["slice"]).stem for row in rows(out)] == ["lesion_1", "lesion_2", "normal_1"]


def test_other_weights_or_threshold_are_not_mixed_in(tmp_path: Path, slices: Path, weights: Path) -> None:
    predict_files([slices], tmp_path / "out", weights)
    with pytest.raises(DataError, match="another threshold"):
        predict_files([slices], tmp_path / "out", weights, threshold=0.9)
    predict_files([slices], tmp_path / "out", weights, threshold=0.9, overwrite=True)


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
    for kind in ("score", "mask", "healthy"):
        for path in slices.iterdir():
            name = f"{path.stem}_{kind}.png"
            assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()
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

"""Scans with labels become a data set that train reads."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel
import numpy as np
import pytest

from lesionsplit.data.lung_slice import read_slice
from lesionsplit.data.table import read_table
from lesionsplit.errors import DataError, SettingsError
from lesionsplit.images import read_grey, read_mask_file
from lesionsplit.pipeline.training_set.prepare import Prepared
from lesionsplit.pipeline.training_set.request import PrepareRequest
from lesionsplit.runtime import Runtime

SPACING = (4.0, 4.0, 8.0)
"""Millimetres: chests of 64 x 64 x 10 voxels are 26 cm wide."""

SHAPE = (64, 64, 10)


@pytest.fixture
def scans(tmp_path: Path, make: ModuleType) -> Path:
    """Four scans: a and b of one patient; masks and lungs of all in folders beside them."""
    for seed, (name, ill) in enumerate({"a": True, "b": False, "c": True, "d": False}.items()):
        chest = make.chest(SHAPE, seed=seed, lesion=ill)
        chest.hu[18, 32, 4] = -1300  # in the right lung: seen as air
        for folder, array in (("scans", chest.hu), ("masks", chest.lesion.astype(np.uint8)), ("lungs", chest.lungs)):
            save(tmp_path / folder / f"{name}.nii.gz", array)
    (tmp_path / "labels.csv").write_text("scan,label,patient\na,lesion,1\nb,normal,1\nc,lesion,2\nd.nii.gz,normal,3\n")
    return tmp_path


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*SPACING, 1.0])), path)


def prepared(home: Path, **given: Any) -> tuple[Prepared, list[str]]:
    lines: list[str] = []
    usual = {"labels": home / "labels.csv", "lungs": home / "lungs"} | given
    request = PrepareRequest(inputs=(home / "scans",), out=home / "data", **usual)
    return request.run(Runtime(warn=lines.append)), lines


def rows(home: Path, name: str) -> list[dict[str, str]]:
    with (home / "data" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_slices_are_what_prediction_gives_the_network(scans: Path) -> None:
    done, lines = prepared(scans, masks=(f"exact={scans / 'masks'}",))
    assert (done.done, done.failed, lines) == (4, 0, [])
    table = read_table(scans / "data")
    hu = nibabel.load(scans / "scans/a.nii.gz").get_fdata()
    lungs = nibabel.load(scans / "lungs/a.nii.gz").get_fdata() > 0
    lesion = nibabel.load(scans / "masks/a.nii.gz").get_fdata() > 0
    mine = [row for row in table if row.series == "scans-a"]
    areas = [np.count_nonzero(lungs[..., k]) * 16 for k in range(10)]
    assert [int(row.image.stem) - 1 for row in mine] == [k for k in range(10) if areas[k] >= 1000]
    for row in mine:
        k = int(row.image.stem) - 1  # slices of the file run from the feet up, x to the right, y to the front
        values = np.maximum(hu[..., k][::-1, ::-1].T, -1024)
        inside = lungs[..., k][::-1, ::-1].T
        grey = np.where(inside, np.rint(np.clip((values + 1450) / 1500, 0, 1) * 65535), 0)
        np.testing.assert_allclose(read_grey(row.image), grey, atol=1)
        assert row.lungs is not None
        np.testing.assert_array_equal(read_mask_file(row.lungs, "lung"), inside)
        assert len(list(row.image.parent.glob("*.png"))) == len(mine)  # `predict` of the folder finds slices only
        np.testing.assert_array_equal(
            read_mask_file(row.masks["exact"], "lesion"), lesion[..., k][::-1, ::-1].T & inside
        )
        assert read_slice(row).lungs.any()


def test_masks_are_of_lesion_slices_and_labels_of_the_scan(scans: Path) -> None:
    prepared(scans, masks=(f"exact={scans / 'masks'}",))
    for row in read_table(scans / "data"):
        assert row.label == ("lesion" if row.series in {"scans-a", "scans-c"} else "normal")
        assert bool(row.masks) == (row.label == "lesion")
    assert json.loads((scans / "data/prepare.json").read_text())["supervision"] == "labels of scans only"


def test_masks_of_a_padded_scan_stay_in_place(scans: Path, make: ModuleType) -> None:
    chest = make.chest(SHAPE)
    padded = np.pad(chest.hu, ((9, 3), (2, 6), (3, 1)), constant_values=-2048)
    lesion = np.pad(chest.lesion, ((9, 3), (2, 6), (3, 1)))
    save(scans / "scans/a.nii.gz", padded)
    save(scans / "masks/a.nii.gz", lesion.astype(np.uint8))
    prepared(scans, lungs=None, lung_method="thresholds", masks=(f"exact={scans / 'masks'}",))
    mine = [row for row in read_table(scans / "data") if row.series == "scans-a"]
    assert len(mine) > 3
    for row in mine:
        k = int(row.image.stem) - 1
        inside = read_mask_file(row.lungs, "lung")  # type: ignore[arg-type]
        expected = lesion[9:-3, 2:-6, k][::-1, ::-1].T & inside
        np.testing.assert_array_equal(read_mask_file(row.masks["exact"], "lesion"), expected)
    assert any(read_mask_file(row.masks["exact"], "lesion").any() for row in mine)


@pytest.mark.parametrize("seed", range(4))
def test_no_patient_is_in_two_splits(scans: Path, seed: int) -> None:
    prepared(scans, seed=seed)
    splits = {row["scan"]: (row["patient"], row["split"]) for row in rows(scans, "scans.csv")}
    assert splits["scans-a"] == splits["scans-b"]
    assert len({patient for patient, _ in splits.values()}) == 3
    written = {row["series"]: row["split"] for row in rows(scans, "slices.csv")}
    assert written == {scan: split for scan, (_, split) in splits.items()}


def test_labels_from_masks(scans: Path) -> None:
    prepared(scans, labels=None, masks=(f"exact={scans / 'masks'}",), labels_from="exact", min_lesion_mm2=100)
    lesion = nibabel.load(scans / "masks/a.nii.gz").get_fdata() > 0
    area = [np.count_nonzero(lesion[..., k]) * 16 for k in range(10)]
    found = {
        int(row["image"][-8:-4]) - 1: row["label"] for row in rows(scans, "slices.csv") if row["series"] == "scans-a"
    }
    assert "lesion" in found.values()
    assert "normal" in found.values()
    assert all(label == ("lesion" if area[k] >= 100 else "normal") for k, label in found.items())
    assert not [k for k in found if 0 < area[k] < 100]
    assert "masks of exact chose" in (scans / "data/prepare.json").read_text()


def test_slices_without_visible_disease_can_be_dropped(scans: Path) -> None:
    prepared(scans, masks=(f"exact={scans / 'masks'}",), drop_unseen="exact")
    lesion = nibabel.load(scans / "masks/a.nii.gz").get_fdata() > 0
    found = [int(row["image"][-8:-4]) - 1 for row in rows(scans, "slices.csv") if row["series"] == "scans-a"]
    assert found == [k for k in range(10) if lesion[..., k].any()]


def test_ranges_and_every_kth_slice(scans: Path) -> None:
    (scans / "labels.csv").write_text("scan,label,first,last\na,normal,,4\na,lesion,6,\nd,normal,,\n")
    prepared(scans, every=2)
    found = {int(row["image"][-8:-4]): row["label"] for row in rows(scans, "slices.csv") if row["series"] == "scans-a"}
    assert found == {3: "normal", 7: "lesion", 9: "lesion"}


def test_a_broken_scan_is_a_line_and_a_row(scans: Path) -> None:
    path = scans / "scans/c.nii.gz"
    path.write_bytes(path.read_bytes()[:2000])
    done, lines = prepared(scans)
    assert (done.done, done.failed) == (3, 1)
    assert len(lines) == 1
    assert "c.nii.gz: is broken" in lines[0]
    failed = next(row for row in rows(scans, "scans.csv") if row["scan"] == "scans-c")
    assert failed["status"] == "failed"
    assert failed["reason"] in lines[0]
    assert len({row.series for row in read_table(scans / "data")}) == 3


def test_a_second_call_keeps_what_is_done(scans: Path) -> None:
    prepared(scans)
    first = {path: path.stat().st_mtime_ns for path in (scans / "data").rglob("*.png")}
    before = (scans / "data/slices.csv").read_bytes()
    shutil.rmtree(scans / "data/scans-b")
    done, _ = prepared(scans)
    assert (done.done, done.kept) == (4, 3)
    assert (scans / "data/slices.csv").read_bytes() == before
    same = [path for path, when in first.items() if path.stat().st_mtime_ns == when]
    assert {path.relative_to(scans / "data").parts[0] for path in same} == {"scans-a", "scans-c", "scans-d"}


def test_a_call_that_was_stopped_ends_with_the_same_splits(scans: Path, make: ModuleType) -> None:
    text = "scan,label,patient\n"
    for number in range(9):
        save(scans / f"scans/new{number}.nii.gz", make.chest(SHAPE, seed=20 + number).hu)
        shutil.copy(scans / "lungs/a.nii.gz", scans / f"lungs/new{number}.nii.gz")
        text += f"new{number},{'normal' if number % 3 else 'lesion'},{number}\n"
    (scans / "labels.csv").write_text(text)
    prepared(scans)
    whole = (scans / "data/slices.csv").read_bytes()
    table = (scans / "data/scans.csv").read_text().splitlines(keepends=True)
    done = [line for line in table if ",done," in line]
    (scans / "data/slices.csv").unlink()
    for stopped in range(len(done)):
        (scans / "data/scans.csv").write_text("".join([table[0], *done[:stopped]]))
        prepared(scans)
        assert (scans / "data/slices.csv").read_bytes() == whole


def test_splits_stay_when_scans_are_added(scans: Path, make: ModuleType) -> None:
    prepared(scans)
    before = {row["scan"]: row["split"] for row in rows(scans, "scans.csv")}
    text = (scans / "labels.csv").read_text()
    for number in range(5):
        save(scans / f"scans/new{number}.nii.gz", make.chest(SHAPE, seed=20 + number).hu)
        text += f"new{number},lesion,0{number}\n"
        shutil.copy(scans / "lungs/a.nii.gz", scans / f"lungs/new{number}.nii.gz")
    (scans / "labels.csv").write_text(text)
    prepared(scans)
    after = {row["scan"]: row["split"] for row in rows(scans, "scans.csv")}
    assert {name: after[name] for name in before} == before
    assert len(after) == 9


def test_a_changed_label_is_obeyed(scans: Path) -> None:
    prepared(scans)
    (scans / "labels.csv").write_text((scans / "labels.csv").read_text().replace("b,normal", "b,lesion"))
    done, _ = prepared(scans)
    assert done.kept == 3
    assert {row["label"] for row in rows(scans, "slices.csv") if row["series"] == "scans-b"} == {"lesion"}


def test_the_same_voxels_under_two_names_are_written_once(scans: Path) -> None:
    shutil.copy(scans / "scans/a.nii.gz", scans / "scans/c.nii.gz")
    done, lines = prepared(scans)
    assert done.failed == 1
    assert "has the same voxels as" in lines[0]
    assert not [row for row in rows(scans, "slices.csv") if row["series"] == "scans-c"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("scan,label\na,lesion\nzz,normal\n", "line 3: zz names no scan; found: scans-a"),
        ("scan,label\na,lesion\nc,lesion\n", "all 2 scans are labelled 'lesion'"),
        ("scan,label\na,lesion\nb,ill\n", "line 3: label is 'ill'; allowed: normal, lesion"),
        ("scan,label\na,lesion\na,normal\n", "a is already listed at .*line 2"),
        ("scan,label\na,lesion\na.nii.gz,normal\n", "line 3: a.nii.gz is the scan of .*line 2"),
        ("scan,label,split,patient\na,lesion,train,1\nb,normal,val,1\n", "of the same patient in 'train'"),
        ("scan,label,first,last\na,lesion,1,5\na,normal,5,9\n", "ranges of a overlap at slice 5"),
        ("scan,label,first\na,lesion,0\n", "first is '0'"),
        ("scan\na\n", "lacks the column label"),
        ("scan,label,colour\na,lesion,red\n", "unknown column 'colour'"),
        ("scan,label\n", "has no row"),
        ("scan,label,mask_x\na,lesion,none.nii\n", "mask_x none.nii is missing"),
    ],
)
def test_bad_tables_are_refused_before_anything_is_written(scans: Path, table: str, message: str) -> None:
    (scans / "labels.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        prepared(scans)
    assert not (scans / "data").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": None}, "nothing says what the scans are"),
        ({"labels_from": "x"}, "--labels-from is 'x', but no masks of that annotator are given; found: none"),
        ({"split": (0.5, 0.2, 0.2)}, "--split is 0.5 0.2 0.2"),
        ({"masks": ("x=nowhere",)}, "--masks is 'x=nowhere'"),
        ({"recipe": "mosmed"}, "--labels and --recipe contradict"),
        ({"labels_from": "x", "drop_unseen": "x"}, "--drop-unseen does not apply"),
    ],
)
def test_options_that_do_not_fit_are_refused(scans: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        prepared(scans, **given)
    assert not (scans / "data").exists()


def test_one_patient_id_as_two_patients_is_refused(scans: Path, make: ModuleType) -> None:
    for number in (1, 2):
        make.make_series(scans / f"scans/dicom{number}", SHAPE, spacing=SPACING, SeriesNumber=number)
    (scans / "labels.csv").write_text("scan,label,patient\ndicom1,normal,x\ndicom2,lesion,y\n")
    with pytest.raises(DataError, match="both have the same PatientID"):
        prepared(scans, lungs=None)


def test_scans_of_one_patient_id_are_in_one_split_and_it_is_not_written(scans: Path, make: ModuleType) -> None:
    for number in (1, 2):
        hu = make.chest(SHAPE, seed=number).hu
        make.make_series(scans / f"scans/dicom{number}", hu=hu, spacing=SPACING, SeriesNumber=number)
    (scans / "labels.csv").write_text("scan,label\nP-4711,normal\na,lesion\nc,lesion\n")
    prepared(scans, lungs=None, lung_method="thresholds")
    found = {row["scan"]: row for row in rows(scans, "scans.csv")}
    assert found["scans-dicom1"]["patient"] == found["scans-dicom2"]["patient"] == "patient-1"
    assert found["scans-dicom1"]["split"] == found["scans-dicom2"]["split"]
    assert "4711" not in (scans / "data/scans.csv").read_text()


def test_an_empty_folder_and_other_settings_are_one_line(scans: Path) -> None:
    prepared(scans)
    with pytest.raises(DataError, match="was made with different settings: every"):
        prepared(scans, every=3)
    done, _ = prepared(scans, every=3, overwrite=True)
    assert done.kept == 0
    shutil.rmtree(scans / "scans")
    (scans / "scans").mkdir()
    with pytest.raises(DataError, match="holds nothing readable"):
        prepared(scans)


def test_a_folder_of_something_else_is_left_alone(scans: Path) -> None:
    (scans / "data").mkdir()
    (scans / "data/mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is not a folder of lesionsplit prepare"):
        prepared(scans, overwrite=True)
    assert [path.name for path in (scans / "data").iterdir()] == ["mine.txt"]


def test_the_command_says_what_became_of_the_scans_without_pytorch(scans: Path) -> None:
    (scans / "scans/c.nii.gz").write_bytes(b"broken")
    code = "import sys; sys.modules['torch'] = None; from lesionsplit.cli import main; main()"
    words = ["prepare", "scans", "--labels", "labels.csv", "-o", "data", "--lungs", "lungs"]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=scans, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "3 scans prepared, 1 failed: data" in done.stderr
    assert "train on it with: lesionsplit train data" in done.stderr

"""`lesionsplit predict` as people call it: volumes, raw slices, and what they get wrong."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def predict(call: Call) -> Call:
    return partial(call, "predict")


@pytest.fixture
def ct(tmp_path: Path, make: ModuleType) -> Path:
    return Path(make.make_nifti(tmp_path / "ct.nii.gz", make.chest((48, 40, 6)).hu, affine=make.affine_of((8, 8, 20))))


def test_a_volume_and_its_line_in_the_table(predict: Call, ct: Path, tmp_path: Path) -> None:
    code, said = predict(ct, "-o", tmp_path / "out", "--lung-method", "thresholds", "--write", "lesion")
    assert code == 0
    assert "lesion mL" in said
    assert "1 predicted" in said
    assert {path.name for path in (tmp_path / "out" / "ct").iterdir()} == {"lesion.nii.gz", "manifest.json"}
    code, said = predict(ct, "-o", tmp_path / "out", "--lung-method", "thresholds", "--write", "lesion")
    assert code == 0
    assert "1 were there already" in said


def test_hounsfield_ranges_can_be_set(predict: Call, ct: Path, tmp_path: Path) -> None:
    common = (ct, "--lung-method", "thresholds", "--write", "numbers")
    assert predict(*common, "-o", tmp_path / "a")[0] == 0
    ranges = ("--ground-glass", "-500", "-400", "--consolidation", "-400", "100")
    assert predict(*common, "-o", tmp_path / "b", *ranges)[0] == 0
    glass = []
    for out in ("a", "b"):
        with (tmp_path / out / "cases.csv").open(newline="") as file:
            glass.append(float(next(csv.DictReader(file))["ground_glass_ml"]))
    assert glass[0] != glass[1]
    code, said = predict(*common, "-o", tmp_path / "c", "--ground-glass", "-300", "-700")
    assert (code, said.count("\n")) == (2, 1)
    assert "lower end comes first" in said


def test_raw_slices_go_through_lungs_first(predict: Call, tmp_path: Path, make: ModuleType) -> None:
    whole = make.chest((240, 200, 9))
    chest = type(whole)(*(part[9:-9, 20:-20] for part in whole))  # cropped to the body, as MedSeg's are
    (tmp_path / "raw").mkdir()
    for name, k in (("chest", 4), ("abdomen", 0)):
        grey = np.clip((chest.hu[..., k].T + 1000) / 6, 0, 255).astype(np.uint8)
        Image.fromarray(grey).save(tmp_path / "raw" / f"{name}.png")
    code, said = predict(tmp_path / "raw", "-o", tmp_path / "masked")
    assert code == 1
    assert "not lung-masked" in said
    assert "--intensity 8-bit" in said
    code, said = predict(tmp_path / "raw", "-o", tmp_path / "out", "--intensity", "8-bit")
    assert code == 0, said
    assert "abdomen.png: no lung found, so no lesion" in said
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = {Path(row["slice"]).stem: row for row in csv.DictReader(file)}
    assert int(rows["abdomen"]["lesion_pixels"]) == 0
    found = np.array(Image.open(tmp_path / "out" / "chest_mask.png")) > 0
    lesion, lungs = chest.lesion[..., 4].T, chest.lungs[..., 4].T > 0
    assert np.mean(found[lesion]) > 0.8
    assert np.mean(found[lungs & ~lesion]) < 0.1
    healthy = np.array(Image.open(tmp_path / "out" / "chest_healthy.png"))
    raw = np.array(Image.open(tmp_path / "raw" / "chest.png"))
    assert healthy[lesion].mean() < raw[lesion].mean() - 10
    np.testing.assert_array_equal(healthy[~lungs][:2000], raw[~lungs][:2000])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.nii",), "no such file or folder"),
        (("ct.nii.gz", "--lungs", "nowhere.nii.gz"), "no such file or folder"),
        (("ct.nii.gz", "--threshold", "0"), "allowed: above 0 and up to 1"),
        (("ct.nii.gz", "--intensity", "grey"), "is not one of 'auto', 'hu', '8-bit'"),
        (("ct.nii.gz", "--write", "everything"), "is not one of"),
        (("ct.nii.gz", "--weights", "ct.nii.gz"), "is not a whole safetensors file"),
        (("ct.nii.gz", "--ground-glass", "dense", "0"), "is not a valid float"),
    ],
)
def test_what_is_typed_wrongly_is_one_line(
    arguments: tuple[str, ...], message: str, predict: Call, ct: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = predict(*arguments, "-o", "out")
    assert (code, said.count("\n")) == (2, 1), said
    assert message in said
    assert not Path("out").exists()


def test_one_volume_that_is_refused_is_exit_code_one_and_one_line_of_it(
    predict: Call, ct: Path, tmp_path: Path, make: ModuleType
) -> None:
    flat = make.make_nifti(tmp_path / "flat.nii", np.zeros((20, 20, 4), np.int16))
    code, said = predict(ct, flat, "-o", tmp_path / "out", "--lung-method", "thresholds", "--write", "lesion")
    assert code == 1
    assert said.count(f"{flat}") == 1
    assert "1 predicted, 1 could not be read" in said

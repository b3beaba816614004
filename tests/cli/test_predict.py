"""`lesionsplit predict` as people call it: volumes, raw slices, and what they get wrong."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pydicom
import pytest
from PIL import Image

from lesionsplit.cli import console

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
    assert "allowed: a lower end below the upper end" in said


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
        (("ct.nii.gz", "--threshold", "0"), "allowed: a number above 0 and up to 1, or specific, sensitive"),
        (("ct.nii.gz", "--threshold", "0,5"), "threshold is 0,5; allowed: a number above 0 and up to 1, or specific"),
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
    assert "1 predicted, 1 failed" in said


def test_quiet_leaves_failures_and_results(
    predict: Call, call: Call, ct: Path, tmp_path: Path, make: ModuleType
) -> None:
    flat = make.make_nifti(tmp_path / "flat.nii", np.zeros((20, 20, 4), np.int16))
    common = ("-o", tmp_path / "out", "--lung-method", "thresholds", "--write", "lesion")
    code, said = call("-q", "predict", ct, flat, *common)
    console.console.quiet = False
    assert code == 1
    assert "every voxel is 0" in said
    assert "lesion mL" in said
    assert "1 predicted" not in said


def test_without_a_folder_results_go_beside_the_call(
    predict: Call, ct: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert predict(ct, "--lung-method", "thresholds", "--write", "lesion")[0] == 0
    assert Path("ct-lesionsplit/ct/lesion.nii.gz").is_file()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--lung-method", "lungmask"), "--lung-method applies to volumes only"),
        (("--lobes", "nowhere"), "--lobes applies to volumes only"),
        (("--write", "seg"), "--write applies to volumes only"),
        (("--deidentify",), "--deidentify applies to volumes only"),
        (("--omit-empty-frames",), "--omit-empty-frames applies to volumes only"),
        (("--force",), "--force applies to volumes only"),
        (("--ground-glass", "-700", "-300"), "--ground-glass and --consolidation apply to volumes only"),
    ],
)
def test_options_that_images_have_no_use_for_are_errors(
    more: tuple[str, ...], message: str, predict: Call, tmp_path: Path, phantom_folder: Path
) -> None:
    code, said = predict(phantom_folder / "images" / "lesion_1.png", "-o", tmp_path / "out", *more)
    assert (code, said.count("\n")) == (2, 1), said
    assert message in said
    assert not (tmp_path / "out").exists()


def test_empty_frames_are_left_out_where_asked(predict: Call, tmp_path: Path, make: ModuleType) -> None:
    make.make_series(tmp_path / "series", (48, 40, 6), spacing=(8.0, 8.0, 20.0))
    common = (tmp_path / "series", "--lung-method", "thresholds", "--write", "seg")
    assert predict(*common, "-o", tmp_path / "all")[0] == 0
    assert predict(*common, "-o", tmp_path / "some", "--omit-empty-frames")[0] == 0
    sizes = [
        int(pydicom.dcmread(tmp_path / out / "series" / "segmentation.dcm").NumberOfFrames) for out in ("all", "some")
    ]
    assert sizes[1] < sizes[0]


def test_an_option_that_no_input_can_use_is_refused_before_anything_is_read(
    predict: Call, tmp_path: Path, make: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lesionsplit.io.case.Case.read", lambda *_: pytest.fail("it was read"))
    ct = make.make_itk(tmp_path / "ct.nrrd", make.chest((48, 40, 6)).hu)
    image = tmp_path / "slice.png"
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(image)
    for options, message in (
        (("--write", "seg"), "ct.nrrd: was not read from DICOM, so seg cannot be made of it; allowed here: --write"),
        (("--omit-empty-frames",), "ct.nrrd: gets no DICOM segmentation, so --omit-empty-frames does not apply"),
        (("--intensity", "8-bit", "--ground-glass", "-600", "-300"), "ct.nrrd: is not in HU, so --ground-glass"),
    ):
        code, said = predict(ct, "-o", tmp_path / "out", *options)
        assert (code, said.count("\n")) == (2, 1), said
        assert message in said
        code, said = predict(ct, image, "-o", tmp_path / "out", *options)
        assert (code, said.count("\n")) == (2, 2), said
        assert not (tmp_path / "out").exists()


def test_inputs_that_can_use_an_option_are_predicted(predict: Call, tmp_path: Path, make: ModuleType) -> None:
    ct = make.make_itk(tmp_path / "ct.nrrd", make.chest((48, 40, 6)).hu)
    make.make_series(tmp_path / "series", (48, 40, 6), spacing=(8.0, 8.0, 20.0))
    common = ("-o", tmp_path / "out", "--lung-method", "thresholds", "--write", "seg")
    code, said = predict(ct, tmp_path / "series", *common)
    assert code == 1
    assert said.count("was not read from DICOM, so seg cannot be made of it") == 1
    assert "1 predicted, 1 failed" in said
    assert (tmp_path / "out/series/segmentation.dcm").is_file()


def test_an_object_that_a_series_cannot_get_is_exit_code_two(
    predict: Call, tmp_path: Path, make: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = "lesionsplit.pipeline.volume_predictor.find_lungs"
    monkeypatch.setattr(begun, lambda *_, **__: pytest.fail("work has begun"))
    make.make_series(
        tmp_path / "in", (48, 40, 6), spacing=(8.0, 8.0, 20.0), change=lambda _, data: delattr(data, "StudyInstanceUID")
    )
    code, said = predict(tmp_path / "in", "-o", tmp_path / "out", "--write", "seg")
    assert code == 2
    assert "6 of 6 slices have no StudyInstanceUID, so seg cannot be made of it" in said

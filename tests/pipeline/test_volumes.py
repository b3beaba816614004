"""Volumes in, folders of results out: all formats alike, one broken case among others, reruns, no patient."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest

from lesionsplit.errors import DataError
from lesionsplit.io.cases import find_cases
from lesionsplit.io.dicom.pseudonyms import Pseudonyms
from lesionsplit.pipeline import volumes as module
from lesionsplit.pipeline.identifiers import IDENTIFIERS
from lesionsplit.pipeline.inputs import Outcome
from lesionsplit.pipeline.options import DICOM_FILES, FILES, PredictOptions
from lesionsplit.pipeline.predictor import Predictor
from lesionsplit.pipeline.volumes import predict_volumes
from lesionsplit.runtime import Runtime, ignore
from lesionsplit.volumes.scratch import Scratch

SMALL = (48, 40, 6)
SPACING = (8.0, 8.0, 20.0)
FAST = PredictOptions(lung_method="thresholds", write=("lesion", "numbers"))


def run(inputs: list[Path], out: Path, options: PredictOptions = FAST, **more: Any) -> Outcome:
    cases = find_cases(inputs, recursive=True).cases
    say = more.pop("say", ignore)
    runtime = Runtime(device="cpu", say=say, warn=say)
    predictor = Predictor.load(threshold=more.pop("threshold", None), runtime=runtime)
    return predict_volumes(cases, out, predictor, options, **more)


def table(out: Path) -> dict[str, dict[str, str]]:
    with (out / "cases.csv").open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


@pytest.fixture
def series(tmp_path: Path, make: ModuleType) -> Path:
    make.make_series(tmp_path / "in" / "series", SMALL, spacing=SPACING)
    return tmp_path / "in" / "series"


def test_every_format_gives_the_same_mask_and_numbers(
    tmp_path: Path, make: ModuleType, series: Path, weights: Path
) -> None:
    hu, affine = make.chest(SMALL).hu, make.affine_of(SPACING)
    given = tmp_path / "in"
    make.make_nifti(given / "one.nii.gz", hu, affine=affine)
    make.make_itk(given / "two.nrrd", hu, affine=affine)
    make.make_itk(given / "three.mha", hu, affine=affine)
    shutil.make_archive(str(given / "four"), "zip", series)
    inputs = [series, given / "one.nii.gz", given / "two.nrrd", given / "three.mha", given / "four.zip"]
    assert run(inputs, tmp_path / "out") == Outcome(done=5)
    rows = table(tmp_path / "out")
    assert list(rows) == ["series", "one", "two", "three", "four"]
    first = nib.load(tmp_path / "out" / "series" / "lesion.nii.gz")
    assert np.asarray(first.dataobj).any()
    np.testing.assert_allclose(first.affine, affine, atol=1e-5)
    for name, row in rows.items():
        other = nib.load(tmp_path / "out" / name / "lesion.nii.gz")
        np.testing.assert_array_equal(np.asarray(other.dataobj), np.asarray(first.dataobj))
        np.testing.assert_allclose(other.affine, first.affine, atol=1e-5)
        whose = dict.fromkeys(("name", *IDENTIFIERS), "")
        assert row | whose == rows["series"] | whose
        from_dicom = name in ("series", "four")
        assert (row["patient_id"], row["study_date"]) == (("P-4711", "20200401") if from_dicom else ("", ""))


def test_all_files_are_written_and_agree(tmp_path: Path, series: Path) -> None:
    settings = PredictOptions(lung_method="thresholds", write=("all",))
    run([series], tmp_path / "out", settings)
    folder = tmp_path / "out" / "series"
    assert {path.name for path in folder.iterdir()} == {*FILES.values(), "report.csv", "manifest.json"}
    manifest = json.loads((folder / "manifest.json").read_text())
    lesion = np.asarray(nib.load(folder / "lesion.nii.gz").dataobj)
    score = np.asarray(nib.load(folder / "score.nii.gz").dataobj)
    np.testing.assert_array_equal(lesion > 0, score >= manifest["settings"]["threshold"] - 1e-9)
    segmentation = hd.seg.segread(folder / "segmentation.dcm")
    numbers = segmentation.get_segment_numbers(segment_label="Lesion")
    found = segmentation.get_volume(segment_numbers=numbers, combine_segments=True, relabel=True)
    assert int(np.count_nonzero(found.array)) == int(lesion.sum())
    numbers = json.loads((folder / "report.json").read_text())
    assert numbers["regions"][0]["lesion_ml"] == pytest.approx(lesion.sum() * np.prod(SPACING) / 1000)
    assert set(manifest["files"]) == {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert len(manifest["input"]["SOPInstanceUIDs"]) == SMALL[2]
    assert manifest["engine"] == f"onnxruntime {version('onnxruntime')} on cpu"
    assert set(manifest["seconds"]) == {"reading", "lungs", "lesions", "numbers", "writing"}
    assert "series" in (folder / "report.html").read_text()


def test_a_parametric_map_and_a_pdf_are_written_only_if_asked_for(tmp_path: Path, series: Path) -> None:
    run([series], tmp_path / "out", PredictOptions(lung_method="thresholds"))
    folder = tmp_path / "out" / "series"
    assert {FILES[kind] for kind in FILES if not (folder / FILES[kind]).exists()} == {"score.dcm", "report.pdf.dcm"}
    assert json.loads((folder / "manifest.json").read_text())["settings"]["outputs"] == [
        kind for kind in FILES if kind not in ("map", "pdf")
    ]
    result = Predictor.load().predict(series, lung_method="thresholds")
    result.save(tmp_path / "saved")
    assert not (tmp_path / "saved" / "score.dcm").exists()
    result.save(tmp_path / "saved", write=["map", "pdf"])
    assert (tmp_path / "saved" / "score.dcm").exists()
    assert (tmp_path / "saved" / "report.pdf.dcm").exists()


def uids(folder: Path) -> dict[str, tuple[str, str, str]]:
    """Of the DICOM objects: series, object, and a tracking UID, where there is one."""
    found = {}
    for name in ("segmentation.dcm", "report.dcm"):
        one = pydicom.dcmread(folder / name)
        tracking = [str(part.TrackingUID) for part in one.get("SegmentSequence", [])]
        found[name] = (one.SeriesInstanceUID, one.SOPInstanceUID, *tracking[:1])
    return found


def test_the_same_result_has_the_same_uids_and_another_has_others(tmp_path: Path, series: Path) -> None:
    options = PredictOptions(lung_method="thresholds", write=("seg", "sr"))
    for name, changed, more in (
        ("one", options, {}),
        ("two", options, {}),
        ("threshold", options, {"threshold": 0.9}),
        ("frames", replace(options, omit_empty_frames=True), {}),
        ("masked", replace(options, pseudonyms=Pseudonyms()), {}),
        ("masked-again", replace(options, pseudonyms=Pseudonyms()), {}),
    ):
        run([series], tmp_path / name, changed, **more)
    found = {
        folder.name: uids(next(folder.glob("*/segmentation.dcm")).parent)
        for folder in tmp_path.iterdir()
        if folder.is_dir() and folder != series and any(folder.glob("*/segmentation.dcm"))
    }
    assert found.pop("two") == found["one"]
    assert len(found) == 5
    everything = [uid for one in found.values() for each in one.values() for uid in each]
    assert len(everything) == len(set(everything))


def test_the_page_says_whose_it_is(tmp_path: Path, make: ModuleType) -> None:
    stated = {
        "PatientName": "Quixano^Dulcinea",
        "PatientID": "P-4711-X",
        "AccessionNumber": "ACC-9",
        "StudyDate": "20200401",
    }
    make.make_series(tmp_path / "in", SMALL, spacing=SPACING, **stated)
    run([tmp_path / "in"], tmp_path / "out", PredictOptions(lung_method="thresholds", write=("page",)))
    page = (tmp_path / "out" / "in" / "report.html").read_text()
    first = pydicom.dcmread(min((tmp_path / "in").iterdir()))
    assert "Quixano, Dulcinea · P-4711-X" in page
    assert f"20200401 · ACC-9 · {first.StudyInstanceUID}" in page
    assert str(first.SeriesInstanceUID) in page


def test_all_files_of_a_volume_that_is_no_dicom_are_those_that_apply(tmp_path: Path, make: ModuleType) -> None:
    make.make_nifti(tmp_path / "ct.nii", make.chest(SMALL).hu, affine=make.affine_of(SPACING))
    run([tmp_path / "ct.nii"], tmp_path / "out", PredictOptions(lung_method="thresholds", write=("all",)))
    written = {path.name for path in (tmp_path / "out" / "ct").iterdir()}
    assert {FILES[kind] for kind in FILES if FILES[kind] not in written} == {FILES[kind] for kind in DICOM_FILES}


def test_a_named_threshold_is_named_in_the_results(tmp_path: Path, series: Path) -> None:
    settings = PredictOptions(lung_method="thresholds", write=("score", "lesion", "page"))
    run([series], tmp_path / "out", settings, threshold="specific")
    folder = tmp_path / "out" / "series"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["threshold from"].startswith("specific: of 95% of new normal series, at most 1% of the lung")
    named = Predictor.load().slices.card.thresholds["specific"].value
    assert manifest["settings"]["threshold"] == named
    score, lesion = (np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj) for name in ("score", "lesion"))
    np.testing.assert_array_equal(lesion > 0, score >= named - 1e-9)
    assert "0.588: specific: of 95% of new normal series" in (folder / "report.html").read_text()


def test_volumes_that_are_no_dicom_get_none(tmp_path: Path, make: ModuleType) -> None:
    make.make_nifti(tmp_path / "ct.nii", make.chest(SMALL).hu, affine=make.affine_of(SPACING))
    run([tmp_path / "ct.nii"], tmp_path / "out", PredictOptions(lung_method="thresholds"))
    names = {path.name for path in (tmp_path / "out" / "ct").iterdir()}
    assert not names & {FILES[kind] for kind in DICOM_FILES}
    assert names > {"score.nii.gz", "report.html", "manifest.json"}


def test_a_broken_case_is_said_and_the_rest_is_done(
    tmp_path: Path, make: ModuleType, series: Path, weights: Path
) -> None:
    broken = make.make_nifti(tmp_path / "in" / "broken.nii", make.chest(SMALL).hu)
    broken.write_bytes(broken.read_bytes()[:-100])
    abdomen = make.chest(SMALL).hu
    abdomen[make.chest(SMALL).lungs > 0] = 40
    make.make_nifti(tmp_path / "in" / "abdomen.nii", abdomen)
    said: list[str] = []
    inputs = [broken, tmp_path / "in" / "abdomen.nii", series]
    outcome = run(inputs, tmp_path / "out", say=said.append)
    assert outcome == Outcome(done=1, failed=2)
    rows = table(tmp_path / "out")
    assert rows["series"]["status"] == "done"
    assert "is broken at slice 6 of 6" in rows["broken"]["reason"]
    assert "no lung found" in rows["abdomen"]["reason"]
    assert [line.split(":")[0] for line in said if not line[0].isdigit()] == [*map(str, inputs[:2]), "series"]
    assert said[-1] == f"series: {rows['series']['notes']}"
    assert not (tmp_path / "out" / "broken").exists()


def test_a_slice_without_lung_has_no_lesion(tmp_path: Path, make: ModuleType) -> None:
    chest = make.chest((48, 40, 1))
    chest.hu[chest.lungs > 0] = 40
    make.make_series(tmp_path / "in", hu=chest.hu)
    assert run([tmp_path / "in"], tmp_path / "out").done == 1
    assert not np.asarray(nib.load(tmp_path / "out" / "in" / "lesion.nii.gz").dataobj).any()
    manifest = json.loads((tmp_path / "out" / "in" / "manifest.json").read_text())
    assert "no lung in this slice, so no lesion" in manifest["input"]["notes"]


def test_a_rerun_does_what_is_left_and_what_has_changed(
    tmp_path: Path, make: ModuleType, series: Path, weights: Path
) -> None:
    other = make.make_nifti(tmp_path / "in" / "other.nii", make.chest(SMALL).hu, affine=make.affine_of(SPACING))
    out = tmp_path / "out"
    assert run([series], out) == Outcome(done=1)
    before = (out / "series" / "lesion.nii.gz").stat().st_mtime_ns
    assert run([series, other], out) == Outcome(done=1, skipped=1)
    assert (out / "series" / "lesion.nii.gz").stat().st_mtime_ns == before
    assert list(table(out)) == ["series", "other"]
    assert run([other], out) == Outcome(skipped=1)
    assert set(table(out)) == {"series", "other"}
    make.make_nifti(other, make.chest(SMALL, seed=1).hu, affine=make.affine_of(SPACING))
    assert run([other], out) == Outcome(done=1)
    (out / "series" / "lesion.nii.gz").unlink()
    assert run([series, other], out) == Outcome(done=1, skipped=1)
    assert run([series, other], out, overwrite=True) == Outcome(done=2)


def test_results_with_other_settings_are_not_mixed(tmp_path: Path, series: Path) -> None:
    out = tmp_path / "out"
    run([series], out)
    with pytest.raises(DataError, match="holds results made with different settings: threshold; choose another folder"):
        run([series], out, threshold=0.9)
    assert run([series], out, threshold=0.9, overwrite=True) == Outcome(done=1)


def test_a_mask_that_is_given_is_used(tmp_path: Path, make: ModuleType) -> None:
    chest, affine = make.chest(SMALL), make.affine_of(SPACING)
    ct = make.make_nifti(tmp_path / "ct.nii", chest.hu, affine=affine)
    mine = (chest.lungs == 1).astype(np.uint8)
    (tmp_path / "masks").mkdir()
    make.make_nifti(tmp_path / "masks" / "ct.nii.gz", mine, affine=affine)
    write = ("lungs", "numbers")
    for given in (tmp_path / "masks", tmp_path / "masks" / "ct.nii.gz"):
        out = tmp_path / f"out-{given.name}"
        assert run([ct], out, PredictOptions(lungs=given, write=write)) == Outcome(done=1)
        np.testing.assert_array_equal(np.asarray(nib.load(out / "ct" / "lungs.nii.gz").dataobj) > 0, mine > 0)
    said: list[str] = []
    shifted = affine.copy()
    shifted[0, 3] += 8
    make.make_nifti(tmp_path / "masks" / "ct.nii.gz", mine, affine=shifted)
    settings = PredictOptions(lungs=tmp_path / "masks", write=write)
    assert run([ct], tmp_path / "other", settings, say=said.append).failed == 1
    assert "is not on the grid of" in said[-1]
    with pytest.raises(DataError, match="no such file or folder"):
        run([ct], tmp_path / "other", PredictOptions(lungs=tmp_path / "no"))


def test_lobes_that_are_given_bring_the_severity_score(tmp_path: Path, make: ModuleType) -> None:
    chest, affine = make.chest(SMALL), make.affine_of(SPACING)
    ct = make.make_nifti(tmp_path / "ct.nii", chest.hu, affine=affine)
    rows = np.arange(SMALL[1])[None, :, None]
    lobes = np.where(chest.lungs == 2, np.where(rows < 20, 1, 2), np.where(chest.lungs == 1, 3 + rows // 14, 0))
    make.make_nifti(tmp_path / "lobes.nii.gz", lobes.astype(np.uint8), affine=affine)
    run([ct], tmp_path / "plain")
    plain = table(tmp_path / "plain")["ct"]
    assert plain["severity_score"] == ""
    assert "severity_score not computed: no lobes" in plain["why_missing"]
    run([ct], tmp_path / "lobed", replace(FAST, lobes=tmp_path / "lobes.nii.gz"))
    assert 0 <= int(table(tmp_path / "lobed")["ct"]["severity_score"]) <= 25


def test_grey_of_unknown_scale_goes_through_and_says_that_it_has_no_hu(
    tmp_path: Path, make: ModuleType, weights: Path
) -> None:
    grey = np.clip((make.chest(SMALL).hu + 1000) / 6, 0, 255).astype(np.uint8)
    ct = make.make_nifti(tmp_path / "ct.nii", grey, affine=make.affine_of(SPACING))
    settings = PredictOptions(intensity="8-bit", write=("healthy", "numbers"), lung_method="thresholds")
    assert run([ct], tmp_path / "out", settings) == Outcome(done=1)
    healthy = np.asarray(nib.load(tmp_path / "out" / "ct" / "healthy.nii.gz").dataobj)
    assert (healthy.min(), healthy.max()) == (grey.min(), grey.max())
    assert (healthy != grey).any()
    row = table(tmp_path / "out")["ct"]
    assert row["ground_glass_ml"] == ""
    assert "ground_glass_ml not available: no HU" in row["why_missing"]


def test_nothing_of_the_patient_is_in_any_file(tmp_path: Path, make: ModuleType) -> None:
    folder = tmp_path / "in" / "QUIXANO_DULCINEA"
    planted = {
        "PatientName": "Quixano^Dulcinea",
        "PatientID": "P-4711-X",
        "PatientBirthDate": "19610203",
        "StudyDate": "20200401",
        "AccessionNumber": "ACC-99887",
        "InstitutionName": "Hospital of Somewhere",
        "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.11111",
        "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.22222",
    }
    make.make_series(folder, SMALL, spacing=SPACING, **planted)
    first = sorted(folder.iterdir())[0]
    shutil.copy(first, folder / "QUIXANO_copy.dcm")  # a duplicate, which notes may tell of
    settings = PredictOptions(lung_method="thresholds", pseudonyms=Pseudonyms())
    assert run([folder], tmp_path / "out", settings) == Outcome(done=1)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) > len(FILES)
    for path in files:
        content = path.read_bytes() + str(path.relative_to(tmp_path / "out")).encode()
        if path.suffix == ".gz":
            image = nib.load(path)
            content += bytes(image.header.binaryblock)
        for word in (*planted.values(), "Quixano", "QUIXANO", "DULCINEA", "Dulcinea", str(tmp_path), "IM000"):
            assert word.encode() not in content, (path.name, word)
    assert run([folder], tmp_path / "out", settings) == Outcome(skipped=1)


def test_a_case_that_cannot_be_written_leaves_nothing_and_what_was_there(
    tmp_path: Path, series: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert run([series], out) == Outcome(done=1)
    (out / "series" / "mine.nii.gz").write_text("corrected by hand")
    before = {path.name: path.read_bytes() for path in (out / "series").iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lesionsplit.pipeline.outputs.to_csv", full)
    said: list[str] = []
    assert run([series], out, overwrite=True, say=said.append) == Outcome(failed=1)
    assert "No space left on device" in said[-1]
    assert {path.name: path.read_bytes() for path in (out / "series").iterdir()} == before
    assert {path.name for path in out.iterdir()} == {"series", "cases.csv"}
    monkeypatch.undo()
    assert run([series], out, overwrite=True) == Outcome(done=1)
    assert (out / "series" / "mine.nii.gz").read_text() == "corrected by hand"


def test_results_are_not_taken_for_cases(tmp_path: Path, series: Path) -> None:
    out = tmp_path / "in" / "results"
    settings = replace(FAST, write=("score", "seg"))
    assert run([tmp_path / "in"], out, settings) == Outcome(done=1)
    assert (out / "in-series" / "score.nii.gz").is_file()
    assert run([tmp_path / "in"], out, settings) == Outcome(skipped=1)
    refused = find_cases([out / "in-series"], recursive=False).refused
    assert refused == [f"{out / 'in-series'}: holds results of lesionsplit; give the original CT"]


def test_two_series_of_one_archive_are_two_cases_to_the_end(tmp_path: Path, make: ModuleType) -> None:
    for name, seed in (("one", 0), ("two", 1)):
        hu = make.chest(SMALL, seed=seed).hu
        make.make_series(tmp_path / "both" / name, hu=hu, spacing=SPACING, SeriesInstanceUID=f"1.2.3.{seed + 1}")
    archive = Path(shutil.make_archive(str(tmp_path / "both"), "zip", tmp_path / "both"))
    masked = replace(FAST, write=("numbers",), pseudonyms=Pseudonyms())
    for out, settings in (("plain", FAST), ("masked", masked)):
        assert run([archive], tmp_path / out, settings) == Outcome(done=2)
        assert len(table(tmp_path / out)) == 2
        assert run([archive], tmp_path / out, settings) == Outcome(skipped=2)


def test_a_case_keeps_its_folder_whatever_stands_beside_it(tmp_path: Path, make: ModuleType) -> None:
    incoming, out = tmp_path / "in", tmp_path / "out"
    make.make_series(incoming, SMALL, spacing=SPACING, SeriesInstanceUID="1.2.3.1")
    assert run([incoming], out) == Outcome(done=1)
    for path in make.make_series(tmp_path / "more", hu=make.chest(SMALL, seed=1).hu, SeriesInstanceUID="1.2.3.2"):
        path.rename(incoming / f"more-{path.name}")
    assert run([incoming], out) == Outcome(done=1, skipped=1)
    assert len(table(out)) == 2
    assert "in" in table(out)


def test_another_scan_of_the_same_name_does_not_take_its_place(tmp_path: Path, make: ModuleType) -> None:
    one = make.make_nifti(tmp_path / "a" / "ct.nii", make.chest(SMALL).hu, affine=make.affine_of(SPACING))
    two = make.make_nifti(tmp_path / "b" / "ct.nii", make.chest(SMALL, seed=1).hu, affine=make.affine_of(SPACING))
    run([one], tmp_path / "out")
    with pytest.raises(DataError, match=f"holds results of another scan, {one}; choose another folder"):
        run([two], tmp_path / "out")


def test_a_mask_or_a_file_of_voxels_that_has_changed_is_seen(tmp_path: Path, make: ModuleType) -> None:
    chest, affine = make.chest(SMALL), make.affine_of(SPACING)
    ct = make.make_itk(tmp_path / "ct.mhd", chest.hu, affine=affine)
    mine = make.make_nifti(tmp_path / "masks" / "mine.nii.gz", chest.lungs, affine=affine)
    settings = replace(FAST, lung_method=None, lungs=mine)
    assert run([ct], tmp_path / "out", settings) == Outcome(done=1)
    assert run([ct], tmp_path / "out", settings) == Outcome(skipped=1)
    make.make_nifti(mine, (chest.lungs == 1).astype(np.uint8), affine=affine)
    assert run([ct], tmp_path / "out", settings) == Outcome(done=1)
    assert float(table(tmp_path / "out")["ct"]["lung_ml"]) == pytest.approx(
        np.count_nonzero(chest.lungs == 1) * np.prod(SPACING) / 1000, rel=1e-4
    )
    header = ct.read_bytes()
    make.make_itk(ct, make.chest(SMALL, seed=1).hu, affine=affine)
    ct.write_bytes(header)
    assert run([ct], tmp_path / "out", settings) == Outcome(done=1)


def test_files_of_an_earlier_call_do_not_stay_beside_those_of_another(tmp_path: Path, series: Path) -> None:
    out = tmp_path / "out"
    run([series], out, replace(FAST, write=("score", "numbers")))
    run([series], out, replace(FAST, write=("lesion",)), threshold=0.9, overwrite=True)
    assert {path.name for path in (out / "series").iterdir()} == {"lesion.nii.gz", "manifest.json"}


def test_a_masked_run_does_not_name_cases_of_others(tmp_path: Path, make: ModuleType, series: Path) -> None:
    named = make.make_nifti(tmp_path / "Quixano.nii", make.chest(SMALL).hu, affine=make.affine_of(SPACING))
    run([named], tmp_path / "out")
    masked = replace(FAST, write=("numbers",), pseudonyms=Pseudonyms())
    run([series], tmp_path / "out", masked, refused=[f"{tmp_path}/Doe.nii: is broken"])
    assert "Quixano" not in (tmp_path / "out" / "cases.csv").read_text()
    assert "Doe" not in (tmp_path / "out" / "cases.csv").read_text()
    assert len(table(tmp_path / "out")) == 2


def test_inputs_that_are_no_case_are_in_the_table(tmp_path: Path, series: Path) -> None:
    run([series], tmp_path / "out", refused=["somewhere/ct.nii: no such file or folder"])
    rows = table(tmp_path / "out")
    assert rows["ct.nii"]["status"] == "failed"
    assert rows["ct.nii"]["reason"] == "somewhere/ct.nii: no such file or folder"
    assert rows["series"]["status"] == "done"


def test_files_that_only_dicom_has_are_not_promised_of_others(tmp_path: Path, make: ModuleType) -> None:
    ct = make.make_nifti(tmp_path / "ct.nii", make.chest(SMALL).hu, affine=make.affine_of(SPACING))
    said: list[str] = []
    settings = replace(FAST, write=("seg", "sr"))
    assert run([ct], tmp_path / "out", settings, say=said.append) == Outcome(failed=1)
    assert "was not read from DICOM, so seg, sr cannot be made of it" in said[-1]


def test_sagittally_stored_volumes_give_the_same(tmp_path: Path, make: ModuleType) -> None:
    hu, affine = make.chest(SMALL).hu, make.affine_of(SPACING)
    straight = make.make_nifti(tmp_path / "straight.nii", hu, affine=affine)
    moved = affine[:, [1, 2, 0, 3]]
    turned = make.make_nifti(tmp_path / "turned.nii", hu.transpose(1, 2, 0), affine=moved)
    run([straight, turned], tmp_path / "out")
    one, two = (
        np.asarray(nib.load(tmp_path / "out" / name / "lesion.nii.gz").dataobj) for name in ("straight", "turned")
    )
    assert one.any()
    np.testing.assert_array_equal(one.transpose(1, 2, 0), two)


@pytest.mark.parametrize(("full", "expected"), [({2}, Outcome(done=3)), ({2, 3}, Outcome(done=2, failed=1))])
def test_a_case_for_which_there_is_no_room_fails_in_its_own_turn(
    full: set[int], expected: Outcome, tmp_path: Path, make: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again when the case before it is done and its room is free."""
    paths = [make.make_nifti(tmp_path / f"{name}.nii", make.chest(SMALL).hu) for name in "abc"]
    asked: list[int] = []

    def room() -> Scratch:
        asked.append(1)
        if len(asked) in full:
            raise DataError("TMPDIR: no temporary folder can be made (No space left on device)")
        return Scratch()

    monkeypatch.setattr(module, "Scratch", room)
    said: list[str] = []
    assert run(paths, tmp_path / "out", say=said.append) == expected
    assert [row["status"] for row in table(tmp_path / "out").values()].count("done") == expected.done
    assert list(table(tmp_path / "out")) == ["a", "b", "c"]
    assert sum("b.nii: TMPDIR: no temporary folder" in line for line in said) == expected.failed

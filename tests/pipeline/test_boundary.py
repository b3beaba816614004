"""One bad input, or one file that cannot be made, ends nothing: it is one line, and the rest is done."""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import highdicom
import numpy as np
import pytest
from PIL import Image

from lesionsplit.errors import DataError, SettingsError
from lesionsplit.io.cases import FoundCases, find_cases
from lesionsplit.lungs.find import LungLabels
from lesionsplit.pipeline.inputs import Outcome, usable
from lesionsplit.pipeline.lung_masks import write_lungs
from lesionsplit.pipeline.options import PredictOptions
from lesionsplit.pipeline.predictor import Predictor
from lesionsplit.pipeline.slices import predict_slices
from lesionsplit.pipeline.volume_predictor import VolumePredictor
from lesionsplit.pipeline.volumes import predict_volumes
from lesionsplit.runtime import Runtime

SMALL = (48, 40, 6)
SPACING = (8.0, 8.0, 20.0)
FAST = PredictOptions(lung_method="thresholds", write=("lesion", "numbers"))
ALL = PredictOptions(lung_method="thresholds", write=("all",))

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load(runtime=Runtime(device="cpu"))


@pytest.fixture
def said(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the user is told."""
    lines: list[str] = []
    monkeypatch.setattr(predictor, "runtime", Runtime(device="cpu", say=lines.append, warn=lines.append))
    return lines


@pytest.fixture
def series(tmp_path: Path, make: ModuleType) -> Path:
    make.make_series(tmp_path / "in" / "series", SMALL, spacing=SPACING)
    return tmp_path / "in" / "series"


def table(out: Path) -> dict[str, dict[str, str]]:
    with (out / "cases.csv").open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def volumes(predictor: Predictor, found: FoundCases, out: Path, options: PredictOptions = FAST, **more: Any) -> Outcome:
    return predict_volumes(found.cases, out, predictor, options, refused=found.refused, **more)


@pytest.mark.parametrize(
    "error",
    [OverflowError("cannot convert"), MemoryError(), RecursionError("too deep"), OSError(5, "I/O")],
)
def test_whatever_a_volume_raises_the_next_is_predicted(
    error: Exception,
    predictor: Predictor,
    said: list[str],
    tmp_path: Path,
    make: ModuleType,
    series: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = make.make_nifti(tmp_path / "in" / "bad.nii", make.chest(SMALL).hu, affine=make.affine_of(SPACING))
    found = find_cases([bad, series], recursive=False)
    whole = type(found.cases[0]).read

    def read(case: Any, *arguments: Any) -> Any:
        if case.path == bad:
            raise error
        return whole(case, *arguments)

    monkeypatch.setattr(type(found.cases[0]), "read", read)
    with caplog.at_level(logging.ERROR, logger="lesionsplit"):
        assert volumes(predictor, found, tmp_path / "out") == Outcome(done=1, failed=1)
    assert sum(line.startswith(f"{bad}: ") for line in said) == 1
    assert {name: row["status"] for name, row in table(tmp_path / "out").items()} == {"bad": "failed", "series": "done"}
    assert [record.exc_info is not None for record in caplog.records] == [True]


@pytest.mark.parametrize("slope", ["1e20", "1e300", "-1e20"])
def test_a_slope_that_no_integer_holds(
    slope: str, predictor: Predictor, said: list[str], tmp_path: Path, make: ModuleType, series: Path
) -> None:
    make.make_series(tmp_path / "in" / "bad", SMALL, spacing=SPACING, RescaleSlope=slope)
    found = find_cases([tmp_path / "in" / "bad", series], recursive=False)
    assert volumes(predictor, found, tmp_path / "out") == Outcome(done=1, failed=1)
    assert table(tmp_path / "out")["bad"]["status"] == "failed"


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("kind", ["nifti", "series", "slice"])
def test_a_volume_that_vanishes_before_it_is_read(
    kind: str, predictor: Predictor, said: list[str], tmp_path: Path, make: ModuleType, series: Path
) -> None:
    gone = tmp_path / "in" / ("gone.nii" if kind == "nifti" else "gone")
    if kind == "nifti":
        make.make_nifti(gone, make.chest(SMALL).hu, affine=make.affine_of(SPACING))
    else:
        make.make_series(gone, SMALL, spacing=SPACING, StudyID="7")
    found = find_cases([gone, series], recursive=False)
    remove(next(gone.iterdir()) if kind == "slice" else gone)
    assert volumes(predictor, found, tmp_path / "out") == Outcome(done=1, failed=1)
    assert "No such file" in table(tmp_path / "out")["gone"]["reason"]


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_names_that_are_not_utf_8(
    predictor: Predictor, said: list[str], tmp_path: Path, make: ModuleType, phantom_folder: Path
) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/caf\xe9"))
    make.make_series(odd, SMALL, spacing=SPACING)
    (odd / "IM0000.dcm").rename(Path(os.fsdecode(os.fsencode(odd) + b"/\xff.dcm")))
    assert volumes(predictor, find_cases([odd], recursive=False), tmp_path / "out") == Outcome(done=1)
    assert volumes(predictor, find_cases([odd], recursive=False), tmp_path / "out") == Outcome(skipped=1)
    picture = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.png"))
    shutil.copy(phantom_folder / "images" / "lesion_1.png", picture)
    assert predict_slices([picture], tmp_path / "slices", predictor) == Outcome(done=1)
    assert predict_slices([picture], tmp_path / "slices", predictor) == Outcome(skipped=1)
    for file in (tmp_path / "slices/predictions.csv", tmp_path / "out/cases.csv"):
        assert "\\udce9" in file.read_text(encoding="utf-8") or file.name == "cases.csv"


def test_slices_that_vanish_or_break_the_network(
    predictor: Predictor, said: list[str], tmp_path: Path, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("lesion_1", "lesion_2", "normal_1", "normal_2")
    for name in names:
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy(phantom_folder / "images" / f"{name}.png", tmp_path / "in")
    paths = [tmp_path / "in" / f"{name}.png" for name in names]
    broken = np.array(Image.open(paths[1]))
    whole = type(predictor.slices)._prepare

    def prepare(self: Any, one: Any, spacing: Any) -> Any:
        if np.array_equal(one.grey, broken):
            raise ZeroDivisionError("division by zero")
        return whole(self, one, spacing)

    def listed(items: Any, total: int, title: str) -> Any:
        for item in items:
            paths[2].unlink(missing_ok=True)
            yield item

    monkeypatch.setattr(type(predictor.slices), "_prepare", prepare)
    monkeypatch.setattr(predictor, "runtime", replace(predictor.runtime, progress=listed))
    assert predict_slices([tmp_path / "in"], tmp_path / "out", predictor) == Outcome(done=2, failed=2)
    with (tmp_path / "out/predictions.csv").open(newline="") as file:
        assert [Path(row["slice"]).stem for row in csv.DictReader(file)] == ["lesion_1", "normal_2"]
    assert sorted(said) == [
        f"{paths[1]}: unforeseen error (ZeroDivisionError: division by zero)",
        f"{paths[2]}: no such file",
    ]
    monkeypatch.undo()
    alone = predict_slices([paths[3]], tmp_path / "alone", predictor)
    assert alone == Outcome(done=1)
    one, other = (tmp_path / folder / "normal_2_score.png" for folder in ("out", "alone"))
    assert one.read_bytes() == other.read_bytes()


def test_an_image_that_cannot_be_written_is_the_only_one_missing(
    predictor: Predictor, said: list[str], tmp_path: Path, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("no such colour")

    path = phantom_folder / "images" / "lesion_1.png"
    monkeypatch.setattr("lesionsplit.pipeline.slice_files.overlay_tile", fail)
    assert predict_slices([path], tmp_path / "out", predictor) == Outcome(failed=1)
    assert said == [f"{path}: lesion_1_overlay.png is missing: unforeseen error (ValueError: no such colour)"]
    names = {"lesion_1_score.png", "lesion_1_mask.png", "lesion_1_healthy.png", "predictions.csv", "predictions.json"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == names
    monkeypatch.undo()
    assert predict_slices([path], tmp_path / "out", predictor) == Outcome(done=1)


def test_lungs_of_what_is_missing_or_breaks(
    tmp_path: Path, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    image = phantom_folder / "images" / "lesion_1.png"
    (tmp_path / "empty").mkdir()
    inputs = [tmp_path / "gone.png", tmp_path / "empty", image, phantom_folder / "images" / "lesion_2.png"]

    def find(grey: Any, *, path: Path) -> Any:
        if path == image:
            raise OverflowError("too large")
        return grey > 0

    monkeypatch.setattr("lesionsplit.pipeline.lung_masks.find_lungs_in_slice", find)
    assert write_lungs(inputs, tmp_path / "out", say=said.append) == Outcome(done=1, failed=3)
    assert said == [
        f"{inputs[0]}: no such file or folder",
        f"{inputs[1]}: has no image in it; give a folder of PNG, JPG or TIFF files",
        f"{image}: unforeseen error (OverflowError: too large)",
    ]
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"lesion_2_lungs.png", "lungs.png"}
    with pytest.raises(DataError, match=r"no such file or folder; .*has no image in it"):
        write_lungs(inputs[:2], tmp_path / "out")


HOMES = {
    f"write_{name}": f"io.dicom.{name}"
    for name in ("parametric_map", "segmentation", "structured_report", "secondary_capture", "encapsulated_pdf")
}
"""Modules that are loaded where they are used."""


@pytest.mark.parametrize(
    ("target", "missing"),
    [
        ("write_page", {"report.html"}),
        ("write_parametric_map", {"score.dcm"}),
        ("write_segmentation", {"segmentation.dcm", "report.dcm"}),
        ("write_structured_report", {"report.dcm"}),
        ("write_secondary_capture", {"pictures.dcm"}),
        ("write_encapsulated_pdf", {"report.pdf.dcm"}),
        ("to_json", {"report.json", "report.csv"}),
    ],
)
def test_a_file_that_cannot_be_made_is_the_only_one_missing(
    target: str,
    missing: set[str],
    predictor: Predictor,
    said: list[str],
    tmp_path: Path,
    series: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, out = find_cases([series], recursive=False), tmp_path / "out"
    everything = {
        *("score.nii.gz", "lesion.nii.gz", "lungs.nii.gz", "healthy.nii.gz", "segmentation.dcm", "score.dcm"),
        *("report.dcm", "pictures.dcm", "report.pdf.dcm", "report.json", "report.csv", "report.html", "manifest.json"),
    }

    def fail(*_: object, **__: object) -> None:
        raise ValueError("odd value")

    monkeypatch.setattr(f"lesionsplit.{HOMES.get(target, 'pipeline.outputs')}.{target}", fail)
    assert volumes(predictor, found, out, ALL) == Outcome(failed=1)
    assert {file.name for file in (out / "series").iterdir()} == everything - missing
    row = table(out)["series"]
    assert row["status"] == "incomplete"
    assert float(row["lung_ml"]) > 0
    for name in missing - {"report.csv"}:
        assert f"{name} is missing: " in row["reason"]
    assert said[-1] == f"{series}: {row['reason']}; the other files are written"
    if target != "write_page":
        return
    monkeypatch.undo()
    assert volumes(predictor, found, out, ALL) == Outcome(done=1)  # it is made again, not taken for done
    assert {file.name for file in (out / "series").iterdir()} == everything


def test_a_case_of_which_nothing_can_be_made_has_no_folder(
    predictor: Predictor, said: list[str], tmp_path: Path, series: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("odd value")

    monkeypatch.setattr("lesionsplit.pipeline.outputs.write_page", fail)
    options = replace(ALL, write=("page",))
    assert volumes(predictor, find_cases([series], recursive=False), tmp_path / "out", options) == Outcome(failed=1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cases.csv"]
    assert table(tmp_path / "out")["series"]["status"] == "failed"


def without(keyword: str) -> Callable[[int, Any], None]:
    return lambda _, data: delattr(data, keyword)


def same_instance(_: int, data: Any) -> None:
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"


def own_study(k: int, data: Any) -> None:
    data.StudyInstanceUID = f"1.2.3.{k + 1}"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (without("StudyInstanceUID"), "6 of 6 slices have no StudyInstanceUID"),
        (same_instance, "its 6 slices share 1 SOPInstanceUID"),
        (own_study, "its 6 slices have 6 different values of StudyInstanceUID"),
    ],
)
def test_a_series_that_no_dicom_object_can_refer_to_gets_the_other_files(
    change: Any,
    why: str,
    predictor: Predictor,
    said: list[str],
    tmp_path: Path,
    make: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make.make_series(tmp_path / "in", SMALL, spacing=SPACING, change=change)
    found, out = find_cases([tmp_path / "in"], recursive=False), tmp_path / "out"
    told: list[str] = []
    whole = VolumePredictor._lungs

    def lungs(self: VolumePredictor, *arguments: Any) -> LungLabels:
        told.extend(said)
        return whole(self, *arguments)

    monkeypatch.setattr(VolumePredictor, "_lungs", lungs)
    assert volumes(predictor, found, out, ALL) == Outcome(done=1)
    names = {file.name for file in (out / "in").iterdir()}
    assert names == {
        *("score.nii.gz", "lesion.nii.gz", "lungs.nii.gz", "healthy.nii.gz"),
        *("report.json", "report.csv", "report.html", "manifest.json"),
    }
    assert told[-1] == (  # before the work begins
        f"in: DICOM objects are left out: {why}; the other files are written; to ask for them alone: --write score "
        "--write lesion --write lungs --write healthy --write numbers --write page"
    )
    assert f"DICOM objects are left out: {why}" in table(out)["in"]["notes"]
    assert f"DICOM objects are left out: {why}" in json.loads((out / "in/report.json").read_text())["notes"]
    told.clear()
    assert volumes(predictor, found, tmp_path / "seg", replace(ALL, write=("lesion", "seg"))) == Outcome(failed=1)
    assert told == []
    assert f"in: {why}, so seg cannot be made of it; allowed here: --write score" in said[-1]
    assert volumes(predictor, found, tmp_path / "lesion", replace(ALL, write=("lesion",))) == Outcome(done=1)
    assert "DICOM" not in table(tmp_path / "lesion")["in"]["notes"]


def test_an_option_is_refused_by_the_kind_of_input_before_anything_is_read(tmp_path: Path, make: ModuleType) -> None:
    ct = make.make_itk(tmp_path / "ct.nrrd", make.chest(SMALL).hu)
    make.make_series(tmp_path / "series", SMALL, spacing=SPACING)
    images = [tmp_path / "a.png", tmp_path / "b.png"]
    found = replace(find_cases([ct, tmp_path / "series"], recursive=False), images=images)
    kept = usable(found, PredictOptions(write=("seg", "sr")))
    assert [case.name for case in kept.cases] == ["series"]
    assert kept.images == []
    assert kept.refused == [
        f"{ct}: was not read from DICOM, so seg, sr cannot be made of it; allowed here: --write score --write lesion "
        "--write lungs --write healthy --write numbers --write page",
        f"{tmp_path / 'a.png'} and 1 more: is an image, and --write applies to volumes only; leave it out",
    ]
    assert usable(found, PredictOptions()) == found
    kept = usable(found, PredictOptions(omit_empty_frames=True))
    assert ([case.name for case in kept.cases], len(kept.refused)) == (["series"], 2)
    ranges = PredictOptions.of({"intensity": "8-bit", "ground_glass": (-600, -300)})
    assert (usable(found, ranges).cases, len(usable(found, ranges).refused)) == ([], 3)
    with pytest.raises(SettingsError, match="--omit-empty-frames applies to the DICOM segmentation only"):
        PredictOptions(omit_empty_frames=True, write=("lesion",))


def test_notes_stand_wherever_the_result_stands(
    predictor: Predictor, said: list[str], tmp_path: Path, make: ModuleType
) -> None:
    chest = make.chest((48, 40, 4))
    make.make_series(tmp_path / "in", hu=chest.hu[..., 1:3], spacing=SPACING)
    found, out = find_cases([tmp_path / "in"], recursive=False), tmp_path / "out"
    assert volumes(predictor, found, out, ALL) == Outcome(done=1)
    folder = out / "in"
    notes = json.loads((folder / "report.json").read_text())["notes"]
    assert "the scan cuts the lungs at the bottom and top: they are incomplete" in notes
    assert table(out)["in"]["notes"] == "; ".join(notes)
    assert "; ".join(notes) in "; ".join(line.removeprefix("in: ") for line in said)
    assert json.loads((folder / "manifest.json").read_text())["input"]["notes"] == notes
    page = (folder / "report.html").read_text()
    assert all(note[1:] in page for note in notes)
    content: Any = highdicom.sr.srread(folder / "report.dcm").content
    group = content.get_volumetric_roi_measurement_groups()[0]
    comments = [item.TextValue for item in group[0].ContentSequence if item.name.value == "121106"]
    assert comments == notes

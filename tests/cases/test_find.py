"""Which cases there are in files, folders and archives, and that each is read as what it is."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import MediaStorageDirectoryStorage, SegmentationStorage

from lesionsplit.cases.find import Case, find_cases
from lesionsplit.volumes.scratch import Scratch

SMALL = (24, 20, 6)


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def only(path: Path, *, recursive: bool = False) -> Case:
    found = find_cases([path], recursive=recursive)
    assert not found.refused
    assert not found.images
    (case,) = found.cases
    return case


def test_whatever_holds_a_volume_is_the_same_volume(make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path / "flat", SMALL)
    make.make_series(tmp_path / "nested" / "DICOM" / "S1", SMALL)
    make.make_nifti(tmp_path / "n" / "Größe 肺.nii.gz", make.chest(SMALL).hu)
    make.make_itk(tmp_path / "ct.mha", make.chest(SMALL).hu)
    make.make_itk(tmp_path / "m" / "ct.mhd", make.chest(SMALL).hu)
    bare = tmp_path / "bare"
    for file in make.make_series(bare, SMALL):
        file.rename(file.with_suffix(""))
    inputs = {
        tmp_path / "flat": ("flat", "dicom"),
        tmp_path / "nested": ("nested", "dicom"),
        tmp_path / "bare": ("bare", "dicom"),
        tmp_path / "n" / "Größe 肺.nii.gz": ("Größe-肺", "nifti"),
        tmp_path / "n": ("n-Größe-肺", "nifti"),
        tmp_path / "ct.mha": ("ct", "metaimage"),
        zipped(tmp_path / "nested", tmp_path / "series.zip"): ("series", "dicom"),
        zipped(tmp_path / "n", tmp_path / "volume.zip"): ("volume", "nifti"),
        zipped(tmp_path / "m", tmp_path / "apart.zip"): ("apart", "metaimage"),
    }
    for path, (name, kind) in inputs.items():
        case = only(path)
        with Scratch() as scratch:
            volume = case.read(scratch)
            np.testing.assert_array_equal(volume.array, make.chest(SMALL).hu)
        np.testing.assert_allclose(volume.affine, make.affine_of(), atol=1e-4)
        assert (case.name, case.kind) == (volume.source.name, volume.source.kind) == (name, kind)
        assert volume.source.path == case.path
        assert volume.source.notes == ()
        assert len(volume.source.instances) == (6 if kind == "dicom" else 0)


def test_dicom_files_given_one_by_one_are_cases_by_series(make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(tmp_path / "ct", SMALL)
    (alone,) = make.make_series(tmp_path / "other", (24, 20, 1), SeriesNumber=2)
    found = find_cases([*sorted(files), alone], recursive=False)
    assert [(case.name, case.path, len(case.entries)) for case in found.cases] == [
        ("ct", tmp_path / "ct", 6),
        (alone.stem, alone, 1),
    ]
    with Scratch() as scratch:
        np.testing.assert_array_equal(found.cases[0].read(scratch).array, make.chest(SMALL).hu)


@pytest.fixture
def export(make: ModuleType, tmp_path: Path) -> Path:
    """What archives give out: two patients, one with two series, a localiser and a segmentation beside them."""
    folder = tmp_path / "export"
    make.make_series(folder / "A" / "1", SMALL)
    make.make_series(folder / "A" / "2", SMALL, SeriesNumber=2, SeriesDescription="Body 5.0/x")
    make.make_series(folder / "B", SMALL, PatientID="P-2", PatientName="Roe^Anna")
    make.make_series(
        folder / "B" / "scout", (24, 20, 1), PatientID="P-2", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    shutil.copy(next((folder / "B" / "scout").iterdir()), folder / "B" / "scout.dcm")
    seg = pydicom.dcmread(next((folder / "A" / "1").iterdir()))
    seg.SOPClassUID, seg.SeriesInstanceUID = SegmentationStorage, "1.2.3"
    seg.save_as(folder / "A" / "1" / "seg.dcm")
    (folder / "README").write_text("hello")
    Image.new("L", (4, 4)).save(folder / "A" / "1" / "logo.png")
    Image.new("L", (4, 4)).save(folder / "slice.png")
    return folder


def test_recursive_takes_every_series_below(export: Path) -> None:
    found = find_cases([export], recursive=True)
    assert found.refused == []
    assert {case.name: case.notes for case in found.cases} == {
        "export-A-1": ("left out beside it: 1 x Segmentation",),
        "export-A-2": (),
        "export-B": ("left out beside it: 1 x localiser",),
    }
    assert found.images == [export / "slice.png"]
    for case in found.cases:
        with Scratch() as scratch:
            assert case.read(scratch).shape == SMALL


def test_without_recursive_several_series_are_listed(export: Path) -> None:
    (export / "slice.png").unlink()
    assert find_cases([export], recursive=False).refused == [
        f'{export}: holds 3 series of 2 patients: 1 "Lung 1.0" (6 slices), 2 "Body 5.0/x" (6 slices), 1 "Lung 1.0" '
        "(6 slices); give one of them alone, or --recursive takes each as a case"
    ]
    assert only(export / "B").name == "B"


def test_the_directory_of_a_disc_is_nothing_to_speak_of(make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(tmp_path / "disc" / "DICOM", SMALL)
    directory = pydicom.dcmread(files[0])
    directory.SOPClassUID = directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.save_as(tmp_path / "disc" / "DICOMDIR")
    for recursive, name in ((False, "disc"), (True, "disc-DICOM")):
        case = only(tmp_path / "disc", recursive=recursive)
        assert (case.name, case.notes, len(case.entries)) == (name, (), 6)


def test_series_that_share_a_folder_are_told_apart(make: ModuleType, tmp_path: Path) -> None:
    for number, kind in ((1, "Lung 1.0"), (2, "Body/5.0"), (3, "Body/5.0")):
        files = make.make_series(tmp_path / "x", SMALL, SeriesNumber=number, SeriesDescription=kind)
        for file in files:
            (tmp_path / "ct").mkdir(exist_ok=True)
            file.rename(tmp_path / "ct" / f"{number}-{file.name}")
    make.make_series(tmp_path / "y", (24, 20, 1), SeriesNumber=3, SeriesDescription="one", StudyID="2")
    shutil.move(next((tmp_path / "y").iterdir()), tmp_path / "ct" / "alone.dcm")
    found = find_cases([tmp_path / "ct"], recursive=True)
    assert sorted(case.name for case in found.cases) == ["ct-1-Lung-1.0", "ct-2-Body-5.0", "ct-3-Body-5.0", "ct-alone"]
    archive = zipped(tmp_path / "ct", tmp_path / "a.zip")
    again = find_cases([archive], recursive=True)
    assert sorted(case.name for case in again.cases) == ["a-1-Lung-1.0", "a-2-Body-5.0", "a-3-Body-5.0", "a-alone"]
    assert all(case.path == archive for case in again.cases)


def test_no_name_of_a_patient_is_taken_from_headers(export: Path) -> None:
    found = find_cases([export], recursive=True)
    for word in ("Doe", "Jane", "Roe", "4711", "P-2"):
        assert not any(word in f"{case.name} {case.where}" for case in found.cases)


def test_archives_below_a_folder_are_taken_when_recursive(make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path / "ct", SMALL)
    (tmp_path / "d").mkdir()
    zipped(tmp_path / "ct", tmp_path / "d" / "a.zip")
    (tmp_path / "d" / "b.zip").write_text("hello")
    found = find_cases([tmp_path / "d"], recursive=True)
    assert [case.name for case in found.cases] == ["a"]
    assert found.refused == [
        f"{tmp_path / 'd' / 'b.zip'}: is not a zip archive that can be read (File is not a zip file); is it whole?"
    ]
    assert find_cases([tmp_path / "d"], recursive=False).refused == [
        f"{tmp_path / 'd'}: holds 2 archives; give them, or --recursive takes each"
    ]


def test_one_bad_input_does_not_stop_the_others(make: ModuleType, tmp_path: Path) -> None:
    make.make_nifti(tmp_path / "a" / "ct.nii", make.chest(SMALL).hu)
    make.make_nifti(tmp_path / "b" / "ct.nii", make.chest(SMALL).hu)
    inputs = [tmp_path / "a" / "ct.nii", tmp_path / "nothing", tmp_path / "b" / "ct.nii"]
    found = find_cases(inputs, recursive=False)
    assert [case.name for case in found.cases] == ["ct", "ct-2"]
    assert found.refused == [f"{tmp_path / 'nothing'}: no such file or folder"]


def test_pictures_are_left_to_others(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "c.tif"):
        Image.new("L", (4, 4)).save(tmp_path / name)
    found = find_cases([tmp_path / "b.png"], recursive=False)
    assert found.images == [tmp_path / "b.png"]
    assert find_cases([tmp_path], recursive=False).images == [
        tmp_path / "a.JPG",
        tmp_path / "b.png",
        tmp_path / "c.tif",
    ]


def test_real_slices_of_many_patients_are_cases(tmp_path: Path) -> None:
    folder = Path(__file__).parents[3] / "shared" / "data" / "covid-ny-sbu"
    if not folder.is_dir():
        pytest.skip(f"the real slices are not here: {folder}")
    found = find_cases([folder], recursive=True)
    assert sorted(case.name for case in found.cases) == [
        f"covid-ny-sbu-{path.stem}" for path in sorted(folder.glob("*.dcm"))
    ]
    for case in found.cases:
        with Scratch() as scratch:
            volume = case.read(scratch)
            assert volume.shape == (512, 512, 1)
            assert volume.intensity == "hu"
            assert volume.array.min() == -1024


def test_what_is_lost_of_a_tree_is_said(tmp_path: Path, make: ModuleType) -> None:
    tree = tmp_path / "tree"
    make.make_series(tree / "good", (12, 10, 4))
    for path in make.make_series(tree / "bad", (12, 10, 4)):
        path.write_bytes(path.read_bytes()[:300])
    (tree / "worse").mkdir()
    (tree / "worse" / "x.dcm").write_bytes(b"nothing")
    found = find_cases([tree], recursive=True)
    assert [case.name for case in found.cases] == ["tree-good"]
    assert len(found.refused) == 2
    assert found.refused[0].startswith(f"{tree / 'bad'}")
    assert found.refused[0].endswith(" (and 3 more)")
    assert found.refused[1] == f"{tree / 'worse' / 'x.dcm'}: is not DICOM, though it is called so; is it whole?"


def test_what_is_given_twice_is_one_case(tmp_path: Path, make: ModuleType) -> None:
    ct = make.make_nifti(tmp_path / "ct.nii", make.chest((12, 10, 4)).hu)
    found = find_cases([ct, tmp_path / "." / "ct.nii", ct], recursive=False)
    assert [case.name for case in found.cases] == ["ct"]


def test_no_description_is_no_name(tmp_path: Path, make: ModuleType) -> None:
    for number in (1, 2):
        for path in make.make_series(
            tmp_path / str(number), (12, 10, 4), SeriesInstanceUID=f"1.2.{number}", SeriesDescription="None",
            SeriesNumber=number,
        ):  # fmt: skip
            path.rename(tmp_path / f"{number}-{path.name}")
        (tmp_path / str(number)).rmdir()
    names = [case.name for case in find_cases([tmp_path], recursive=True).cases]
    assert names == [f"{tmp_path.name}-1", f"{tmp_path.name}-2"]


def test_pictures_that_predict_wrote_are_no_slices(tmp_path: Path) -> None:
    (tmp_path / "in" / "out").mkdir(parents=True)
    for folder, name in (("in", "a.png"), ("in/out", "a_mask.png")):
        (tmp_path / folder / name).write_bytes(b"a picture")
    (tmp_path / "in" / "out" / "predictions.json").write_text('{\n  "lesionsplit": "0.1.0"\n}')
    assert [path.name for path in find_cases([tmp_path / "in"], recursive=True).images] == ["a.png"]

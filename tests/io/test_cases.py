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

from lesionsplit.io.cases import Case, find_cases
from lesionsplit.pipeline.predictor import Predictor
from lesionsplit.pipeline.slices import predict_slices
from lesionsplit.runtime import Runtime
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
        f'{export}: holds 3 series of 2 patients: 1 "Lung 1.0" from 1/IM0000.dcm (6 slices), 2 "Body 5.0/x" (6 '
        'slices), 1 "Lung 1.0" from B/IM0000.dcm (6 slices); give one of them, or use --recursive to read each as a '
        "case"
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
        f"{tmp_path / 'd' / 'b.zip'}: is not a zip archive that can be read (File is not a zip file); is it complete?"
    ]
    assert find_cases([tmp_path / "d"], recursive=False).refused == [
        f"{tmp_path / 'd'}: holds 2 archives; give one of them, or use --recursive"
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
            assert volume.seen(volume.array).min() == -1024


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
    assert found.refused[1] == f"{tree / 'worse' / 'x.dcm'}: is not DICOM despite its name; is it complete?"


@pytest.fixture
def lost(make: ModuleType, tmp_path: Path) -> Path:
    """A tree without a case: cut slices, what only begins as DICOM does, and a segmentation."""
    tree = tmp_path / "lost"
    for path in make.make_series(tree / "cut", (12, 10, 5)):
        path.write_bytes(path.read_bytes()[:300])
    (tree / "magic").mkdir()
    (tree / "magic" / "x.dcm").write_bytes(bytes(128) + b"DICM" + b"garbage" * 50)
    (path,) = make.make_series(tree / "seg", (12, 10, 1))
    make.edit(path, SOPClassUID=SegmentationStorage)
    return tree


def lines_of(lost: Path) -> list[str]:
    cut = sorted((lost / "cut").iterdir())[0]
    return [
        f"{cut}: ends inside its header; is it complete? (and 4 more)",
        f"{lost / 'magic' / 'x.dcm'}: cannot be read as DICOM (no SOPClassUID); is it complete?",
    ]


def test_each_folder_that_is_lost_has_a_line_whatever_is_found_beside_it(make: ModuleType, lost: Path) -> None:
    found = find_cases([lost], recursive=True)
    assert (found.cases, found.images, found.refused) == ([], [], lines_of(lost))

    (lost / "pictures").mkdir()
    Image.new("L", (4, 4)).save(lost / "pictures" / "a.png")
    found = find_cases([lost], recursive=True)
    assert (found.cases, found.images, found.refused) == ([], [lost / "pictures" / "a.png"], lines_of(lost))

    make.make_series(lost / "good", SMALL)
    found = find_cases([lost], recursive=True)
    assert [case.name for case in found.cases] == ["lost-good"]
    assert (found.images, found.refused) == ([lost / "pictures" / "a.png"], lines_of(lost))


@pytest.mark.parametrize("kept", ["cut", "magic", "seg"])
def test_archives_are_taken_whatever_lies_beside_them(make: ModuleType, lost: Path, kept: str) -> None:
    for folder in lost.iterdir():
        if folder.name != kept:
            shutil.rmtree(folder)
    make.make_series(lost.parent / "ct", SMALL)
    zipped(lost.parent / "ct", lost / "a.zip")
    found = find_cases([lost], recursive=True)
    assert [case.name for case in found.cases] == ["a"]
    # only broken files have a line
    assert len(found.refused) == (kept != "seg")
    assert all(line.startswith(str(lost / kept)) for line in found.refused)


def test_what_is_lost_of_an_archive_is_said(lost: Path, tmp_path: Path) -> None:
    archive = zipped(lost, tmp_path / "a.zip")
    found = find_cases([archive], recursive=True)
    assert not found.cases
    first = sorted((lost / "cut").iterdir())[0].name
    assert found.refused == [
        f"{archive}: cut/{first}: ends inside its header; is it complete? (and 4 more)",
        f"{archive}: magic/x.dcm: cannot be read as DICOM (no SOPClassUID); is it complete?",
    ]


def test_what_is_given_twice_is_one_case_under_its_first_name(tmp_path: Path, make: ModuleType) -> None:
    ct = make.make_nifti(tmp_path / "ct.nii", make.chest((12, 10, 4)).hu)
    files = sorted(make.make_series(tmp_path / "series", (12, 10, 4)))
    (tmp_path / "link.nii").symlink_to(ct)
    (tmp_path / "link").symlink_to(tmp_path / "series")
    for inputs, name in (
        ([ct, tmp_path / "link.nii", tmp_path / "." / "ct.nii", ct], "ct"),
        ([tmp_path / "series", tmp_path / "link", tmp_path / "series"], "series"),
        ([*files, *files], "series"),
    ):
        found = find_cases(inputs, recursive=False)
        assert [case.name for case in found.cases] == [name]
        assert found.cases[0].path in (ct, tmp_path / "series")
        assert len(found.cases[0].entries) == (1 if name == "ct" else 4)
        assert found.refused == []


def test_series_that_differ_only_in_their_uid_are_told_apart_by_files(tmp_path: Path, make: ModuleType) -> None:
    hu = make.chest(SMALL).hu
    make.make_series(tmp_path / "ct", SMALL)
    for file in make.make_series(tmp_path / "other", hu=hu + 30, SeriesInstanceUID="1.2.3"):
        file.rename(tmp_path / "ct" / f"other-{file.name}")
    folder = tmp_path / "ct"
    assert find_cases([folder], recursive=False).refused == [
        f'{folder}: holds 2 series: 1 "Lung 1.0" from ct/IM0000.dcm (6 slices), 1 "Lung 1.0" from '
        "ct/other-IM0000.dcm (6 slices); give the files of one of them, or use --recursive to read each as a case"
    ]
    found = find_cases([folder], recursive=True).cases
    assert [case.where for case in found] == [
        f'{folder}, series 1 "Lung 1.0" from ct/IM0000.dcm', f'{folder}, series 1 "Lung 1.0" from ct/other-IM0000.dcm'
    ]  # fmt: skip
    found += find_cases(sorted(folder.glob("other*")), recursive=False).cases
    with Scratch() as scratch:
        arrays = [case.read(scratch).array for case in found]
        for array, more in zip(arrays, (0, 30, 30), strict=True):
            np.testing.assert_array_equal(array, hu + more)


def test_a_link_to_itself_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert find_cases([tmp_path / "loop"], recursive=False).refused == [f"{tmp_path / 'loop'}: no such file or folder"]


@pytest.mark.parametrize("description", ["None", "none", "", None])
def test_no_description_is_no_name(tmp_path: Path, make: ModuleType, description: str | None) -> None:
    folder = tmp_path / "inc"
    folder.mkdir()
    for number in (1, 2):
        for path in make.make_series(
            tmp_path / "made", (12, 10, 4), SeriesInstanceUID=f"1.2.{number}", SeriesNumber=number,
            SeriesDescription=description or "",
        ):  # fmt: skip
            header = pydicom.dcmread(path)
            if description is None:
                del header.SeriesDescription
            header.save_as(folder / f"{number}-{path.name}")
    assert [case.name for case in find_cases([folder], recursive=True).cases] == ["inc-1", "inc-2"]
    assert find_cases([folder], recursive=False).refused == [
        f"{folder}: holds 2 series: 1 (4 slices), 2 (4 slices); give the files of one of them, or use --recursive to "
        "read each as a case"
    ]


def test_pictures_that_predict_wrote_are_no_slices(tmp_path: Path, weights: Path) -> None:
    given, out = tmp_path / "in" / "a.png", tmp_path / "in" / "out"
    given.parent.mkdir()
    picture = np.zeros((40, 48), dtype=np.uint8)
    picture[8:32, 8:40] = np.arange(32, dtype=np.uint8) * 4 + 20
    Image.fromarray(picture).save(given)
    predict_slices([given], out, Predictor.load(weights, runtime=Runtime(device="cpu", threads=1)))
    assert (out / "a_mask.png").is_file()
    for recursive in (True, False):
        found = find_cases([given.parent], recursive=recursive)
        assert (found.images, found.refused) == ([given], [])
        assert find_cases([out], recursive=recursive).refused == [
            f"{out}: holds results of lesionsplit; give the original CT"
        ]
    # a picture below is a slice all the same, and so is one that is given itself
    (out / "more").mkdir()
    shutil.copy(given, out / "more" / "b.png")
    assert find_cases([out], recursive=True).images == [out / "more" / "b.png"]
    assert find_cases([out / "a_healthy.png"], recursive=False).images == [out / "a_healthy.png"]


@pytest.mark.parametrize("text", ['[{"score": 0.5}]', '{"by": "lesionsplit", "score": 0.5}', "\0", ""])
def test_predictions_of_others_do_not_hide_pictures(tmp_path: Path, text: str) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "predictions.json").write_text(text)
    for recursive in (True, False):
        assert find_cases([tmp_path], recursive=recursive).images == [tmp_path / "a.png"]


@pytest.mark.parametrize("recursive", [False, True])
def test_an_archive_in_an_archive_is_not_read(recursive: bool, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as inner:
        inner.writestr("a.txt", "a")
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as outer:
        outer.write(tmp_path / "in.zip", "in.zip")
    found = find_cases([tmp_path / "out.zip"], recursive=recursive)
    assert [str(one) for one in found.refused] == [
        f"{tmp_path / 'out.zip'}: holds an archive, which is not read from archives; unpack it"
    ]


def test_links_to_files_that_do_not_exist_are_reported(tmp_path: Path, make: ModuleType) -> None:
    def link(folder: Path, name: str) -> str:
        (folder / name).symlink_to(tmp_path / "gone")
        return f"{folder / name}: is a link to a file that does not exist; copy that file, or remove the link"

    files = make.make_series(tmp_path / "series", (12, 10, 4))
    (tmp_path / "volume").mkdir()
    make.make_nifti(tmp_path / "volume" / "ct.nii", make.chest((12, 10, 4)).hu)
    (tmp_path / "slices").mkdir()
    (tmp_path / "slices" / "a.png").touch()
    (tmp_path / "empty").mkdir()
    said = {
        name: link(tmp_path / name, other)
        for name, other in {"series": "z.dcm", "volume": "b.nii", "slices": "b.png", "empty": "c.dcm"}.items()
    }
    for recursive in (False, True):
        (case,) = find_cases([tmp_path / "series"], recursive=recursive).cases
        assert (len(case.entries), case.broken) == (len(files), (said["series"],))
        for name, count in {"volume": (1, 0), "slices": (0, 1), "empty": (0, 0)}.items():
            found = find_cases([tmp_path / name], recursive=recursive)
            assert ((len(found.cases), len(found.images)), found.refused) == (count, [said[name]])

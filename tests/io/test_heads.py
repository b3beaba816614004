"""Series whose UIDs an anonymiser scrambled are put together by position, and only those that belong together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from lesionsplit.errors import DataError
from lesionsplit.io.cases import FoundCases, find_cases
from lesionsplit.volumes.intensity import ReadOptions
from lesionsplit.volumes.scratch import Scratch

SMALL = (24, 20, 8)

Change = Callable[[int, pydicom.Dataset], None]


def own(keyword: str) -> Change:
    """Each slice has a UID of its own."""
    return lambda _, data: setattr(data, keyword, generate_uid())


def without(keyword: str) -> Change:
    return lambda _, data: delattr(data, keyword)


def one(keyword: str) -> Change:
    """All slices have the same UID."""
    return lambda _, data: setattr(data, keyword, "1.2.3.4")


def each(keyword: str) -> Change:
    """Each slice has a number, date or name of its own, in an order in which every second ones follow each other."""
    numbers = [1, 5, 2, 6, 3, 7, 4, 8]
    texts = {"StudyDate": "202004{:02}", "PatientID": "P-{}", "PatientName": "Doe^{}", "AccessionNumber": "A{}"}
    return lambda k, data: setattr(data, keyword, texts.get(keyword, "{}").format(numbers[k]))


def both(*changes: Change) -> Change:
    def change(k: int, data: pydicom.Dataset) -> None:
        for each in changes:
            each(k, data)

    return change


def some(change: Change) -> Change:
    return lambda k, data: change(k, data) if k % 3 == 1 else None


SCRAMBLED = {
    "series UID of each slice": (own("SeriesInstanceUID"), "8 different values of SeriesInstanceUID"),
    "no series UID": (without("SeriesInstanceUID"), "no SeriesInstanceUID"),
    "no series UID in some": (some(without("SeriesInstanceUID")), "2 different values of SeriesInstanceUID"),
    "own series UID in one": (
        lambda k, data: own("SeriesInstanceUID")(k, data) if k == 3 else None,
        "2 different values of SeriesInstanceUID",
    ),
    "frame of each slice": (own("FrameOfReferenceUID"), "8 different values of FrameOfReferenceUID"),
    "study UID of each slice": (own("StudyInstanceUID"), "8 different values of StudyInstanceUID"),
    "no study UID": (without("StudyInstanceUID"), "no StudyInstanceUID"),
    "no SOP UID": (without("SOPInstanceUID"), "no SOPInstanceUID of their own"),
    "one SOP UID": (one("SOPInstanceUID"), "no SOPInstanceUID of their own"),
    "study, series and frame of each slice": (
        both(own("StudyInstanceUID"), own("SeriesInstanceUID"), own("FrameOfReferenceUID")),
        "8 different values of StudyInstanceUID, 8 different values of SeriesInstanceUID, "
        "8 different values of FrameOfReferenceUID",
    ),
    "series UID of each slice, no SOP UID": (
        both(own("SeriesInstanceUID"), without("SOPInstanceUID")),
        "8 different values of SeriesInstanceUID, no SOPInstanceUID of their own",
    ),
    "series number of each slice": (each("SeriesNumber"), "8 different values of SeriesNumber"),
    "series number and UID of each slice": (
        both(each("SeriesNumber"), own("SeriesInstanceUID")),
        "8 different values of SeriesInstanceUID, 8 different values of SeriesNumber",
    ),
    "series number and all UIDs of each slice": (
        both(each("SeriesNumber"), own("SeriesInstanceUID"), own("StudyInstanceUID")),
        "8 different values of StudyInstanceUID, 8 different values of SeriesInstanceUID, "
        "8 different values of SeriesNumber",
    ),
    "series number of each slice, no series UID": (
        both(each("SeriesNumber"), without("SeriesInstanceUID")),
        "no SeriesInstanceUID, 8 different values of SeriesNumber",
    ),
    "date of each slice": (each("StudyDate"), "8 different values of StudyDate"),
    "date and series UID of each slice": (
        both(each("StudyDate"), own("SeriesInstanceUID")),
        "8 different values of SeriesInstanceUID, 8 different values of StudyDate",
    ),
    "date of acquisition of each slice": (
        both(each("StudyDate"), lambda _, data: setattr(data, "AcquisitionDate", data.StudyDate)),
        "8 different values of StudyDate",
    ),
    "patient of each slice": (both(each("PatientID"), each("PatientName")), "8 different values of PatientID"),
    "patient and series UID of each slice": (
        both(each("PatientID"), each("PatientName"), own("SeriesInstanceUID")),
        "8 different values of SeriesInstanceUID, 8 different values of PatientID",
    ),
    "patient, date, series number and UID of each slice": (
        both(each("PatientID"), each("StudyDate"), each("SeriesNumber"), own("SeriesInstanceUID")),
        "8 different values of SeriesInstanceUID, 8 different values of SeriesNumber, 8 different values of "
        "StudyDate, 8 different values of PatientID",
    ),
    "studies in turn": (
        lambda k, data: setattr(data, "StudyInstanceUID", f"1.2.{k % 2}"),
        "2 different values of StudyInstanceUID",
    ),
    "frames in turn": (
        lambda k, data: setattr(data, "FrameOfReferenceUID", f"1.2.{k % 2}"),
        "2 different values of FrameOfReferenceUID",
    ),
    "no series UID, one SOP UID": (
        both(without("SeriesInstanceUID"), one("SOPInstanceUID")),
        "no SeriesInstanceUID, no SOPInstanceUID of their own",
    ),
}


@pytest.mark.parametrize("kind", SCRAMBLED)
@pytest.mark.parametrize("force", [False, True])
def test_scrambled_uids_are_one_volume(kind: str, force: bool, make: ModuleType, tmp_path: Path) -> None:
    change, note = SCRAMBLED[kind]
    written(make, tmp_path / "ct", change)
    (case,) = find_cases([tmp_path / "ct"], recursive=False).cases
    with Scratch() as scratch:
        volume = case.read(scratch, ReadOptions(force=force))
        np.testing.assert_array_equal(volume.array, make.chest(SMALL).hu)
    assert volume.source.notes == (f"its 8 slices have {note}: they were read as one volume",)


def test_scrambled_files_given_one_by_one_are_one_volume(make: ModuleType, tmp_path: Path) -> None:
    files = written(make, tmp_path / "ct", own("SeriesInstanceUID"))
    (case,) = find_cases(files, recursive=False).cases
    assert len(case.entries) == 8


def test_scrambled_slices_in_folders_of_their_own_are_one_volume(make: ModuleType, tmp_path: Path) -> None:
    for number, file in enumerate(written(make, tmp_path / "ct", own("SeriesInstanceUID"))):
        (tmp_path / "tree" / str(number)).mkdir(parents=True)
        file.rename(tmp_path / "tree" / str(number) / file.name)
    (case,) = find_cases([tmp_path / "tree"], recursive=True).cases
    assert len(case.entries) == 8


@pytest.mark.parametrize("scramble", [own("SeriesInstanceUID"), without("SeriesInstanceUID")], ids=["own", "without"])
@pytest.mark.parametrize(
    "uids", [("StudyInstanceUID",), ("FrameOfReferenceUID",), ("StudyInstanceUID", "FrameOfReferenceUID")]
)
@pytest.mark.parametrize("shift", [8.0, 12.0, 0.5])
def test_studies_and_frames_that_slices_share_tell_two_apart(
    shift: float, uids: tuple[str, ...], scramble: Change, make: ModuleType, tmp_path: Path
) -> None:
    """One after the other, with a gap, and in turn."""
    beside(make, tmp_path, scramble, shift, 8, both(*(one(keyword) for keyword in uids)))
    assert [len(case.entries) for case in found_in(tmp_path / "ct").cases] == [8, 8]


@pytest.mark.parametrize("change", [one, own])
@pytest.mark.parametrize("scramble", [lambda _, __: None, own("SeriesInstanceUID")], ids=["proper", "scrambled"])
def test_a_series_takes_no_slice_of_another_study(
    scramble: Change, change: Callable[[str], Change], make: ModuleType, tmp_path: Path
) -> None:
    other = both(own("SeriesInstanceUID"), change("StudyInstanceUID"), change("FrameOfReferenceUID"))
    beside(make, tmp_path, scramble, 8.0, 1, other)
    assert [len(case.entries) for case in found_in(tmp_path / "ct").cases] == [8, 1]


@pytest.mark.parametrize("change", [without("StudyInstanceUID"), own("FrameOfReferenceUID")], ids=["without", "own"])
def test_a_slice_with_less_uids_joins_the_only_study(change: Change, make: ModuleType, tmp_path: Path) -> None:
    written(make, tmp_path / "ct", both(own("SeriesInstanceUID"), lambda k, data: change(k, data) if k == 3 else None))
    assert [len(case.entries) for case in found_in(tmp_path / "ct").cases] == [8]


def beside(make: ModuleType, folder: Path, scramble: Change, shift: float, count: int, other: Change) -> None:
    """A series, and slices like it ``shift`` slices further."""
    written(make, folder / "ct", scramble)
    origin = (*make.ORIGIN[:2], make.ORIGIN[2] + shift * make.SPACING[2])
    files = written(make, folder / "other", both(scramble, other), hu=make.chest((*SMALL[:2], count)).hu, origin=origin)
    for file in files:
        file.rename(folder / "ct" / f"other-{file.name}")


def test_a_scrambled_series_with_a_gap_is_refused_as_any_with_a_gap(make: ModuleType, tmp_path: Path) -> None:
    written(make, tmp_path / "ct", own("SeriesInstanceUID"))[4].unlink()
    (case,) = find_cases([tmp_path / "ct"], recursive=False).cases
    with Scratch() as scratch, pytest.raises(DataError, match="1 slice is missing"):
        case.read(scratch)


@pytest.mark.parametrize(
    "scramble",
    [own("SeriesInstanceUID"), without("SeriesInstanceUID"), one("SeriesInstanceUID")],
    ids=["own", "without", "one"],
)
@pytest.mark.parametrize(
    "differ",
    [
        {"SeriesNumber": 2, "SeriesDescription": "Body 5.0", "ConvolutionKernel": "B30f"},
        {"SeriesDescription": "Body", "PatientID": "P-0815"},
    ],
    ids=["kernels", "patients"],
)
def test_two_scrambled_series_stay_two(
    scramble: Change, differ: dict[str, Any], make: ModuleType, tmp_path: Path
) -> None:
    hu = make.chest(SMALL).hu
    written(make, tmp_path / "ct", scramble)
    for file in written(make, tmp_path / "other", scramble, hu=np.minimum(hu + 30, 1000).astype(np.int16), **differ):
        file.rename(tmp_path / "ct" / f"other-{file.name}")
    found = find_cases([tmp_path / "ct"], recursive=True)
    with Scratch() as scratch:
        arrays = [np.array(case.read(scratch).array) for case in found.cases]
    assert len(arrays) == 2
    assert sorted(int(array.max()) for array in arrays) == [int(hu.max()), int(hu.max()) + 30]


SEVERAL_PATIENTS = "the series has slices of several patients; export it again"


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        both(each("PatientID"), without("StudyInstanceUID")),
        both(each("PatientID"), own("StudyInstanceUID")),
        both(each("PatientID"), lambda k, data: setattr(data, "PatientID", "P-1") if k == 7 else None),
    ],
    ids=["no study", "studies", "two of one"],
)
def test_patients_that_nothing_holds_together_are_several(
    change: Change, force: bool, make: ModuleType, tmp_path: Path
) -> None:
    written(make, tmp_path / "ct", change)
    (case,) = find_cases([tmp_path / "ct"], recursive=False).cases
    with Scratch() as scratch, pytest.raises(DataError, match=SEVERAL_PATIENTS):
        case.read(scratch, ReadOptions(force=force))


@pytest.mark.parametrize("scramble", [lambda _, __: None, own("SeriesInstanceUID")], ids=["one", "own"])
def test_slices_of_patients_of_their_own_must_be_complete(scramble: Change, make: ModuleType, tmp_path: Path) -> None:
    written(make, tmp_path / "ct", both(each("PatientID"), scramble))[4].unlink()
    (case,) = find_cases([tmp_path / "ct"], recursive=False).cases
    with Scratch() as scratch:
        with pytest.raises(DataError, match="1 slice is missing"):
            case.read(scratch)
        with pytest.raises(DataError, match=SEVERAL_PATIENTS):
            case.read(scratch, ReadOptions(force=True))


def test_two_phases_without_uids_stay_two(make: ModuleType, tmp_path: Path) -> None:
    written(make, tmp_path / "ct", own("SeriesInstanceUID"))
    for file in written(make, tmp_path / "other", own("SeriesInstanceUID"), TemporalPositionIdentifier=2):
        file.rename(tmp_path / "ct" / f"other-{file.name}")
    assert [len(case.entries) for case in find_cases([tmp_path / "ct"], recursive=True).cases] == [8, 8]


@pytest.mark.parametrize(
    "differ",
    [
        lambda k, data: setattr(data, "PatientID", f"P{k}"),
        lambda k, data: setattr(data, "StudyDate", f"202004{k + 1:02d}"),
        lambda k, data: setattr(data, "AccessionNumber", f"A{k}"),
        lambda k, data: setattr(data, "PixelSpacing", [3 + 0.1 * k] * 2),
        lambda k, data: setattr(data, "ImagePositionPatient", [0, 0, [0, 10, 27, 31, 90, 91, 133, 500][k]]),
        lambda _, data: setattr(data, "ImagePositionPatient", [0, 0, 50]),
        lambda k, data: setattr(data, "ImagePositionPatient", [0, 0, 100 * k]),
    ],
    ids=["patients", "dates", "accessions", "spacings", "uneven", "one place", "far apart"],
)
def test_single_slices_that_only_look_alike_stay_apart(differ: Change, make: ModuleType, tmp_path: Path) -> None:
    written(make, tmp_path / "ct", both(own("SeriesInstanceUID"), own("StudyInstanceUID"), differ))
    assert len(found_in(tmp_path / "ct").cases) == 8


def test_a_single_slice_beside_a_series_stays_apart(make: ModuleType, tmp_path: Path) -> None:
    written(make, tmp_path / "ct", lambda _, __: None)
    (file,) = make.make_series(tmp_path / "other", (24, 20, 1), SeriesNumber=2)
    file.rename(tmp_path / "ct" / "other.dcm")
    assert [len(case.entries) for case in found_in(tmp_path / "ct").cases] == [8, 1]


def written(make: ModuleType, folder: Path, change: Change, **options: Any) -> list[Path]:
    """A series of `SMALL`, changed, also where the standard forbids it."""
    files: list[Path] = make.make_series(folder, **{"hu": make.chest(SMALL).hu, **options})
    for k, file in enumerate(files):
        data = pydicom.dcmread(file)
        change(k, data)
        pydicom.dcmwrite(file, data, enforce_file_format=False)
    return files


def found_in(folder: Path) -> FoundCases:
    found = find_cases([folder], recursive=True)
    assert not found.refused
    return found

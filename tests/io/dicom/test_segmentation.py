from __future__ import annotations

import copy
import dataclasses
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from lesionsplit.errors import DataError
from lesionsplit.io.dicom.deidentify import EMPTY
from lesionsplit.io.dicom.identity import Identity, new_identity
from lesionsplit.io.dicom.segmentation import write_segmentation
from lesionsplit.volumes.decomposed import DecomposedVolume
from lesionsplit.volumes.scratch import Scratch

KINDS = ("straight", "oblique", "sagittal", "descending", "tilted", "irregular")

Find = Callable[..., DecomposedVolume]


def masks(findings: DecomposedVolume) -> dict[int, np.ndarray]:
    return {1: findings.lungs == 1, 2: findings.lungs == 2, 3: findings.lesion == 1}


def points(mask: np.ndarray, findings: DecomposedVolume) -> np.ndarray:
    """LPS millimetres of a mask's voxels, from the headers alone, in an order of their own."""
    found = []
    for k, header in enumerate(findings.volume.source.instances):
        i, j = np.nonzero(mask[..., k])
        orientation = np.array(header.ImageOrientationPatient, float)
        rows, columns = (float(x) for x in header.PixelSpacing)
        found.append(
            np.array(header.ImagePositionPatient, float)
            + np.outer(i * columns, orientation[:3])
            + np.outer(j * rows, orientation[3:])
        )
    return ordered(np.concatenate(found))


def ordered(points: np.ndarray) -> np.ndarray:
    points = np.round(points, 4)
    return points[np.lexsort(points.T)]


def points_in(path: Path) -> dict[int, np.ndarray]:
    """LPS millimetres of each segment's pixels, read with pydicom and nothing of highdicom's or ours."""
    data = pydicom.dcmread(path)
    shared = data.SharedFunctionalGroupsSequence[0]
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    rows, columns = (float(x) for x in shared.PixelMeasuresSequence[0].PixelSpacing)
    frames = data.pixel_array.reshape(-1, data.Rows, data.Columns)
    found: dict[int, list[np.ndarray]] = {1: [], 2: [], 3: []}
    for frame, item in zip(frames, data.PerFrameFunctionalGroupsSequence, strict=True):
        j, i = np.nonzero(frame)
        found[item.SegmentIdentificationSequence[0].ReferencedSegmentNumber].append(
            np.array(item.PlanePositionSequence[0].ImagePositionPatient, float)
            + np.outer(i * columns, orientation[:3])
            + np.outer(j * rows, orientation[3:])
        )
    return {number: ordered(np.concatenate(parts)) for number, parts in found.items()}


@pytest.mark.parametrize("omit", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_every_pixel_comes_back_where_it_was(
    find: Find, identity: Identity, tmp_path: Path, kind: str, omit: bool
) -> None:
    findings = find(kind)
    written = write_segmentation(findings, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=omit)
    back = points_in(written.path)
    for number, mask in masks(findings).items():
        np.testing.assert_allclose(back[number], points(mask, findings), atol=2e-4)
    read = highdicom.seg.segread(written.path).get_pixels_by_source_instance(
        [header.SOPInstanceUID for header in findings.volume.source.instances], assert_missing_frames_are_empty=True
    )
    for number, mask in masks(findings).items():
        np.testing.assert_array_equal(read[..., number - 1].transpose(2, 1, 0), mask)


@pytest.mark.parametrize("kind", ["straight", "oblique", "descending"])
def test_it_is_a_volume_on_the_grid_of_the_ct(find: Find, identity: Identity, tmp_path: Path, kind: str) -> None:
    findings = find(kind)
    path = write_segmentation(findings, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=False).path
    volume = highdicom.seg.segread(path).get_volume(combine_segments=False)
    slices = volume.spatial_shape[0]
    order = range(slices) if np.allclose(volume.position, origin(findings, 0), atol=1e-6) else range(slices)[::-1]
    np.testing.assert_allclose(volume.spacing, (2.5, 1.25, 0.75), atol=1e-6)
    for place, k in enumerate(order):
        np.testing.assert_allclose(
            volume.map_indices_to_reference(np.array([[place, 0, 0]]))[0], origin(findings, k), atol=1e-5
        )
        for number, mask in masks(findings).items():
            np.testing.assert_array_equal(volume.array[place, ..., number - 1].T, mask[..., k])


def origin(findings: DecomposedVolume, k: int) -> list[float]:
    return [float(x) for x in findings.volume.source.instances[k].ImagePositionPatient]


@pytest.mark.parametrize("omit", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_nothing(
    find: Find,
    identity: Identity,
    tmp_path: Path,
    complaints: Callable[[Path], list[str]],
    kind: str,
    omit: bool,
) -> None:
    written = write_segmentation(find(kind), tmp_path / "seg.dcm", identity=identity, omit_empty_frames=omit)
    assert complaints(written.path) == []


def test_empty_frames_are_left_out_or_kept(find: Find, identity: Identity, tmp_path: Path) -> None:
    findings = find()
    counts = {}
    for omit in (True, False):
        path = write_segmentation(findings, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=omit).path
        counts[omit] = pydicom.dcmread(path, stop_before_pixels=True).NumberOfFrames
    present = sum(int(mask.any(axis=(0, 1)).sum()) for mask in masks(findings).values())
    assert counts == {True: present, False: 3 * 9}
    assert present < 3 * 9


def test_without_lesion_its_segment_is_described_and_empty(find: Find, identity: Identity, tmp_path: Path) -> None:
    findings = find(lesion=False)
    path = write_segmentation(findings, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True).path
    data = highdicom.seg.segread(path)
    assert data.segment_numbers == [1, 2, 3]
    assert data.SegmentsOverlap == "NO"
    frames = [i.SegmentIdentificationSequence[0].ReferencedSegmentNumber for i in data.PerFrameFunctionalGroupsSequence]
    assert set(frames) == {1, 2}


def test_a_single_slice(
    find: Find, identity: Identity, tmp_path: Path, complaints: Callable[[Path], list[str]]
) -> None:
    findings = find(shape=(19, 13, 1))
    path = write_segmentation(findings, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True).path
    back = points_in(path)
    for number, mask in masks(findings).items():
        np.testing.assert_allclose(back[number], points(mask, findings), atol=1e-4)
    assert complaints(path) == []


def test_segments_say_what_they_are_and_who_found_them(find: Find, identity: Identity, tmp_path: Path) -> None:
    written = write_segmentation(find(), tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True)
    data = highdicom.seg.segread(written.path)
    right, left, lesion = (data.get_segment_description(number) for number in (1, 2, 3))
    assert data.SegmentationType == "BINARY"
    assert data.SegmentsOverlap == "YES"
    assert [d.segment_label for d in (lesion, right, left)] == ["Lesion", "Right lung", "Left lung"]
    assert [d.segmented_property_category.value for d in (lesion, right, left)] == ["49755003", "91723000", "91723000"]
    assert [d.segmented_property_type.value for d in (lesion, right, left)] == ["52988006", "39607008", "39607008"]
    assert lesion.anatomic_regions[0].value == "39607008"
    sides = [
        d.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0].CodeValue
        for d in (right, left)
    ]
    assert sides == ["24028007", "7771000"]
    for description in (lesion, right, left):
        assert description.algorithm_type.value == "AUTOMATIC"
        assert description.algorithm_identification is not None
        assert description.algorithm_identification.name == "lesionsplit"
        assert description.algorithm_identification.parameters == {
            "weights_sha256": identity.weights,
            "threshold": "0.6866",
        }
    assert {d.tracking_id: d.tracking_uid for d in (lesion, right, left)} == {
        f"lesionsplit {name}": uid for name, uid in written.tracking.items()
    }
    assert len(set(written.tracking.values())) == 3


def test_it_refers_to_the_slices_and_belongs_to_their_study(find: Find, identity: Identity, tmp_path: Path) -> None:
    findings = find()
    headers = findings.volume.source.instances
    path = write_segmentation(findings, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True).path
    data = pydicom.dcmread(path)
    series = data.ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == headers[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence} == {
        header.SOPInstanceUID for header in headers
    }
    assert {item.ReferencedSOPInstanceUID for item in data.SourceImageSequence} == {
        header.SOPInstanceUID for header in headers
    }
    for item in data.PerFrameFunctionalGroupsSequence:
        assert item.DerivationImageSequence[0].SourceImageSequence[0].SpatialLocationsPreserved == "YES"
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "StudyDate", "StudyID"):
        assert data[keyword].value == headers[0][keyword].value
    assert data.SeriesInstanceUID == identity.segmentation.series
    assert (data.SeriesNumber, data.Modality, data.Manufacturer) == (9001, "SEG", "The lesionsplit developers")


def test_missing_tags_stay_empty(
    find: Find, identity: Identity, tmp_path: Path, complaints: Callable[[Path], list[str]]
) -> None:
    names = [*EMPTY, "PositionReferenceIndicator", "SliceThickness"]
    findings = find(**dict.fromkeys(names))
    path = write_segmentation(findings, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True).path
    data = pydicom.dcmread(path)
    assert [str(data[name].value or "") for name in names[:-1]] == [""] * 10
    assert float(data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness) == 2.5
    assert complaints(path) == []


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", "Þórsdóttir^Ægir"),
        ("ISO_IR 100", "Müller^Jörg"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        ("ISO_IR 192", "no caret in it"),
    ],
)
def test_names_are_copied_whatever_their_alphabet(
    find: Find, identity: Identity, tmp_path: Path, charset: str | list[str], name: str
) -> None:
    findings = find(SpecificCharacterSet=charset, PatientName=name)
    path = write_segmentation(findings, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True).path
    data = pydicom.dcmread(path)
    assert str(data.PatientName) == name
    assert data.SpecificCharacterSet == charset


def test_values_that_dicom_forbids_are_copied_not_judged(find: Find, identity: Identity, tmp_path: Path) -> None:
    with pydicom.config.disable_value_validation():
        findings = find(
            PatientSex="w",
            PatientBirthDate="unknown",
            StudyTime="10:11",
            PatientAge="old",
            StudyInstanceUID="not a uid",
        )
        path = write_segmentation(findings, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True).path
        data = pydicom.dcmread(path)
        copied = [
            str(data[k].value)
            for k in ("PatientSex", "PatientBirthDate", "StudyTime", "PatientAge", "StudyInstanceUID")
        ]
    assert copied == ["w", "unknown", "10:11", "old", "not a uid"]


def test_slices_without_frame_of_reference_get_one_in_all_objects(
    find: Find, identity: Identity, tmp_path: Path
) -> None:
    findings = find(FrameOfReferenceUID=None)
    frames = set()
    for name in ("a.dcm", "b.dcm"):
        path = write_segmentation(findings, tmp_path / name, identity=identity, omit_empty_frames=True).path
        frames.add(pydicom.dcmread(path).FrameOfReferenceUID)
    assert len(frames) == 1


def test_slightly_different_orientations_are_one(find: Find, identity: Identity, tmp_path: Path) -> None:
    findings = find("oblique")
    header = findings.volume.source.instances[4]
    header.ImageOrientationPatient = [round(float(x), 5) for x in header.ImageOrientationPatient]
    written = write_segmentation(findings, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True)
    assert points_in(written.path)[3].shape[0] == findings.lesion.sum()


def test_the_headers_stay_as_they_are(find: Find, identity: Identity, tmp_path: Path) -> None:
    findings = find()
    before = copy.deepcopy(findings.volume.source.instances)
    write_segmentation(findings, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True)
    assert findings.volume.source.instances == before


def test_what_cannot_be_written_is_one_line(find: Find, identity: Identity, tmp_path: Path) -> None:
    findings = find()
    source = dataclasses.replace(findings.volume.source, instances=())
    other = dataclasses.replace(findings, volume=dataclasses.replace(findings.volume, source=source))
    with pytest.raises(DataError, match="it has 0 DICOM headers for 9 slices; write other files"):
        write_segmentation(other, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True)
    with pytest.raises(DataError, match="9 of 9 slices have no StudyInstanceUID"):
        write_segmentation(find(StudyInstanceUID=None), tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True)
    with pytest.raises(DataError, match=r"slices are of SOP class 1\.2\.3\.4, not "):
        write_segmentation(find(SOPClassUID="1.2.3.4"), tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True)
    turned = find()
    turned.volume.source.instances[3].ImageOrientationPatient = [0, 1, 0, 1, 0, 0]
    with pytest.raises(DataError, match="no common ImageOrientationPatient"):
        write_segmentation(turned, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True)
    twice = find()
    twice.volume.source.instances[3].SOPInstanceUID = twice.volume.source.instances[2].SOPInstanceUID
    with pytest.raises(DataError, match="its 9 slices share 8 SOPInstanceUIDs"):
        write_segmentation(twice, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True)
    for keyword in ("SeriesInstanceUID", "FrameOfReferenceUID"):
        mixed = find()
        setattr(mixed.volume.source.instances[3], keyword, "1.2.3")
        with pytest.raises(DataError, match=f"2 different values of {keyword}"):
            write_segmentation(mixed, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True)
    stacked = find()
    first, second = stacked.volume.source.instances[3:5]
    second.ImagePositionPatient = first.ImagePositionPatient
    with pytest.raises(DataError, match="its 9 slices lie in 8 planes"):
        write_segmentation(stacked, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True)
    assert list(tmp_path.iterdir()) == []


def test_decimals_longer_than_dicom_allows(
    find: Find, identity: Identity, tmp_path: Path, complaints: Callable[[Path], list[str]]
) -> None:
    with pydicom.config.disable_value_validation():
        findings = find(
            "oblique", SliceThickness="2.50000000000000000001", PixelSpacing=["1.25", "0.7500000000000000001"]
        )
        for header in findings.volume.source.instances:
            header.ImagePositionPatient = [f"{float(x):.20f}" for x in header.ImagePositionPatient]
            header.ImageOrientationPatient = [f"{float(x):.20f}" for x in header.ImageOrientationPatient]
        path = write_segmentation(findings, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True).path
        expected = points(findings.lesion == 1, findings)
    np.testing.assert_allclose(points_in(path)[3], expected, atol=2e-4)
    assert complaints(path) == []


def test_nothing_half_written(find: Find, identity: Identity, tmp_path: Path) -> None:
    (tmp_path / "seg.dcm").mkdir()
    with pytest.raises(DataError, match=r"seg\.dcm: cannot be written"):
        write_segmentation(find(), tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True)
    assert [path.name for path in tmp_path.iterdir()] == ["seg.dcm"]
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        write_segmentation(find(), tmp_path / "file" / "seg.dcm", identity=identity, omit_empty_frames=True)


def test_creators_are_named_in_dicoms_alphabet(find: Find, tmp_path: Path) -> None:
    named = new_identity(weights="0" * 64, creator="Doe^Jo")
    path = write_segmentation(find(), tmp_path / "seg.dcm", identity=named, omit_empty_frames=True).path
    assert pydicom.dcmread(path).ContentCreatorName == "Doe^Jo"
    with pytest.raises(DataError, match="content creator 'Jörg': allowed: up to 64 ASCII characters"):
        new_identity(weights="0" * 64, creator="Jörg")


def test_volumes_go_through_a_slice_at_a_time(find: Find, identity: Identity, tmp_path: Path) -> None:
    small = find(shape=(8, 8, 60), Rows=512, Columns=512)
    with Scratch(tmp_path) as scratch:
        arrays = {name: scratch.array((512, 512, 60), np.uint8) for name in ("lesion", "lungs")}
        arrays["lungs"][100:200, 100:200, 10:50] = 1
        arrays["lesion"][150:170, 150:170, 20:40] = 1
        volume = dataclasses.replace(small.volume, array=scratch.array((512, 512, 60), np.int16))
        findings = dataclasses.replace(small, volume=volume, **arrays)
        write_segmentation(small, tmp_path / "first.dcm", identity=identity, omit_empty_frames=False)  # load highdicom
        tracemalloc.start()
        path = write_segmentation(findings, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=False).path
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert path.stat().st_size > 180 * 512 * 512 / 8
        assert peak < 512 * 512 * 60 / 2, "half of one of the masks"

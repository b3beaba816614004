from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import msgspec
import numpy as np
import pydicom
import pytest

from lesionsplit.io.dicom.identity import Identity
from lesionsplit.io.dicom.segmentation import Written, write_segmentation
from lesionsplit.io.dicom.structured_report import write_structured_report
from lesionsplit.measurements.result import (
    LEFT_LUNG,
    LUNGS,
    NO_HU,
    NO_LOBES,
    RIGHT_LUNG,
    Lesion,
    Measurements,
    Missing,
    Profile,
    Region,
)
from lesionsplit.measurements.settings import MeasurementSettings
from lesionsplit.volumes.decomposed import DecomposedVolume

Find = Callable[..., DecomposedVolume]


def region(name: str, **changes: float | Missing) -> Region:
    """A number a field, each its own, so that none can stand for another."""
    fields = [field for field in Region.__struct_fields__ if field != "name"]
    start = {LUNGS: 100, RIGHT_LUNG: 200, LEFT_LUNG: 300}[name]
    numbers: dict[str, Any] = {field: start + index + 0.125 for index, field in enumerate(fields)}
    return Region(name=name, **{**numbers, **changes})


def measures(**changes: Any) -> Measurements:
    values: dict[str, Any] = {
        "name": "ct",
        "regions": [region(LUNGS), region(RIGHT_LUNG), region(LEFT_LUNG)],
        "lesion_count": 3,
        "small_lesion_count": 1,
        "small_lesions_ml": 0.05,
        "largest_axial_diameter_mm": 31.5,
        "largest_diameter_mm": 40.25,
        "slices": 9,
        "lung_slices": 6,
        "lesion_slices": 4,
        "lesion_slices_percent": 66.7,
        "first_lesion_slice": 4,
        "last_lesion_slice": 8,
        "most_affected_slice": 5,
        "most_affected_percent": 20.0,
        "severity_score": NO_LOBES,
        "lung_severity_score": NO_LOBES,
        "high_opacity_score": NO_LOBES,
        "zone_score": NO_LOBES,
        "zones": [],
        "threshold": 0.6866,
        "highest_score": 0.99,
        "highest_slice_score": 0.9,
        "highest_score_slice": 5,
        "lesions": [],
        "left_out": [],
        "profile": Profile(lung_pixels=[], lesion_pixels=[], score=[]),
        "settings": MeasurementSettings(),
        "notes": [],
    }
    return Measurements(**{**values, **changes})


@pytest.fixture
def write(find: Find, identity: Identity, tmp_path: Path) -> Callable[..., tuple[Written, Path, DecomposedVolume]]:
    def written(numbers: Measurements, kind: str = "straight", **tags: Any) -> tuple[Written, Path, DecomposedVolume]:
        findings = find(kind, **tags)
        segmentation = write_segmentation(findings, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True)
        path = write_structured_report(findings, numbers, segmentation, tmp_path / "sr.dcm", identity=identity)
        return segmentation, path, findings

    return written


Write = Callable[..., tuple[Written, Path, DecomposedVolume]]


def lines(group: Any) -> list[tuple[str, float, str, str]]:
    """Code, value, unit and derivation of each measurement of a group."""
    return [
        (
            line.name.value,
            line.value,
            line.unit.value,
            line.derivation.value if line.derivation is not None else "",
        )
        for line in group.get_measurements()
    ]


def test_every_number_is_with_its_segment(write: Write) -> None:
    segmentation, path, _ = write(measures())
    report = highdicom.sr.srread(path).content
    groups = report.get_volumetric_roi_measurement_groups()
    assert [group.referenced_segment[0].referenced_segment_numbers for group in groups] == [[3], [1], [2]]
    assert {group.referenced_segment[0].referenced_sop_instance_uid for group in groups} == {
        pydicom.dcmread(segmentation.path).SOPInstanceUID
    }
    names = ("lesion", "right lung", "left lung")
    assert [group.tracking_uid for group in groups] == [segmentation.tracking[name] for name in names]
    both, right, left = measures().regions
    assert lines(groups[0]) == [
        ("118565006", both.lesion_ml, "mL", ""),
        ("OPACITY", both.opacity_percent, "%", ""),
        ("HIGH-OPACITY", both.high_opacity_percent, "%", ""),
        ("GROUND-GLASS", both.ground_glass_ml, "mL", ""),
        ("CONSOLIDATION", both.consolidation_ml, "mL", ""),
        ("112031", both.lesion_mean_hu, "[hnsf'U]", "373098007"),
        ("112031", both.lesion_p50_hu, "[hnsf'U]", "373099004"),
        ("112031", both.lesion_sd_hu, "[hnsf'U]", "386136009"),
        ("246206008", 3, "1", ""),
        ("103339001", 31.5, "mm", ""),
    ]
    for group, lung in ((groups[1], right), (groups[2], left)):
        assert lines(group) == [
            ("118565006", lung.lung_ml, "mL", ""),
            ("112031", lung.lung_mean_hu, "[hnsf'U]", "373098007"),
            ("LESION-VOLUME", lung.lesion_ml, "mL", ""),
            ("OPACITY", lung.opacity_percent, "%", ""),
            ("HIGH-OPACITY", lung.high_opacity_percent, "%", ""),
            ("WELL-AERATED", lung.well_aerated_ml, "mL", ""),
        ]
    assert [group.finding_type.value for group in groups] == ["52988006", "39607008", "39607008"]
    assert [group.finding_sites[0].laterality for group in groups] == [None, *_sides()]


def _sides() -> list[Any]:
    from pydicom.sr.coding import Code

    return [Code("24028007", "SCT", "Right"), Code("7771000", "SCT", "Left")]


def test_scores_are_there_when_lobes_are(write: Write) -> None:
    _, path, _ = write(measures(severity_score=12, lung_severity_score=9, high_opacity_score=0))
    groups = highdicom.sr.srread(path).content.get_volumetric_roi_measurement_groups()
    assert lines(groups[0])[-3:] == [("CTSS", 12, "1", ""), ("LSS", 9, "1", ""), ("LHOS", 0, "1", "")]


def test_what_there_is_not_is_left_out(write: Write, complaints: Callable[[Path], list[str]]) -> None:
    fields = [field for field in Region.__struct_fields__ if field != "name"]
    gone = dict.fromkeys((field for field in fields if field not in ("lung_ml", "lesion_ml")), NO_HU)
    _, path, _ = write(
        measures(
            regions=[region(name, **gone) for name in (LUNGS, RIGHT_LUNG, LEFT_LUNG)],
            largest_axial_diameter_mm=Missing("not available: pixels of unknown size"),
        )
    )
    groups = highdicom.sr.srread(path).content.get_volumetric_roi_measurement_groups()
    assert [[line[0] for line in lines(group)] for group in groups] == [
        ["118565006", "246206008"],
        ["118565006", "LESION-VOLUME"],
        ["118565006", "LESION-VOLUME"],
    ]
    assert complaints(path) == []


def test_a_report_without_any_number(write: Write, complaints: Callable[[Path], list[str]]) -> None:
    fields = [field for field in Region.__struct_fields__ if field != "name"]
    nothing = [region(name, **dict.fromkeys(fields, NO_HU)) for name in (LUNGS, RIGHT_LUNG, LEFT_LUNG)]
    _, path, _ = write(measures(regions=nothing))
    groups = highdicom.sr.srread(path).content.get_volumetric_roi_measurement_groups()
    assert [lines(group) for group in groups[1:]] == [[], []]
    assert complaints(path) == []


@pytest.mark.parametrize("kind", ["straight", "oblique", "tilted"])
def test_dciodvfy_finds_nothing(write: Write, complaints: Callable[[Path], list[str]], kind: str) -> None:
    _, path, _ = write(measures(severity_score=12), kind)
    assert complaints(path) == []


def test_it_names_program_settings_and_evidence(write: Write, identity: Identity) -> None:
    segmentation, path, findings = write(measures())
    data = highdicom.sr.srread(path)
    assert (data.CompletionFlag, data.VerificationFlag, data.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )
    used = {
        item.ReferencedSOPInstanceUID
        for study in data.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    headers = findings.volume.source.instances
    assert used == {*(header.SOPInstanceUID for header in headers), segmentation.header.SOPInstanceUID}
    assert data.StudyInstanceUID == headers[0].StudyInstanceUID
    assert data.SeriesInstanceUID == identity.report.series
    content = path.read_bytes()
    for parameter in (
        f"weights_sha256={identity.weights}",
        "threshold=0.6866",
        "ground_glass_hu=-750..-300",
        "consolidation_hu=-300..50",
        "well_aerated_hu=-950..-700",
        "high_opacity_hu=-200..",
    ):
        assert parameter.encode() in content
    assert data.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99LESIONSPLIT"


def test_missing_tags_stay_empty(write: Write, complaints: Callable[[Path], list[str]]) -> None:
    names = ["PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "AccessionNumber"]
    _, path, _ = write(measures(), **dict.fromkeys(names))
    data = pydicom.dcmread(path)
    assert [str(data[name].value or "") for name in names] == [""] * 7
    assert complaints(path) == []


def test_notes_are_comments_in_every_group(write: Write, complaints: Callable[[Path], list[str]]) -> None:
    notes = ["the scan cuts the lungs at the top: they are incomplete", "Schicht \u00fc " + "x" * 200]
    _, path, _ = write(measures(notes=notes))
    groups = highdicom.sr.srread(path).content.get_volumetric_roi_measurement_groups()
    for group in groups:
        found = [item for item in group[0].ContentSequence if item.ValueType == "TEXT"]
        comments = [item.TextValue for item in found if item.ConceptNameCodeSequence[0].CodeValue == "121106"]
        assert comments[:2] == [notes[0], "Schicht \\xfc " + "x" * 200]
    assert complaints(path) == []


def test_numbers_are_the_measures_own(write: Write) -> None:
    numbers = measures()
    before = msgspec.json.encode(numbers)
    write(numbers)
    assert msgspec.json.encode(numbers) == before


@pytest.mark.parametrize("kind", ["straight", "oblique", "sagittal"])
def test_every_tracked_thing_has_a_place_in_its_slice_with_most_of_it(write: Write, kind: str) -> None:
    """OHIF 3.13 shows nothing of a report in which something has no coordinates."""
    _, path, findings = write(measures(), kind)
    arrays = {
        "lesionsplit lesion": findings.lesion > 0,
        "lesionsplit right lung": findings.lungs == 1,
        "lesionsplit left lung": findings.lungs == 2,
    }
    tracked = {text_of(group, "112040") for group, _ in measured(path)}
    placed = [group for group, first in measured(path) if first == "Area"]
    assert {text_of(group, "112040") for group in placed} == tracked
    for group in placed:
        inside = arrays.pop(text_of(group, "112039"))
        (number,) = [item for item in group.ContentSequence if item.ValueType == "NUM"]
        point = number.ContentSequence[0]
        uid = point.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        (plane,) = [k for k, one in enumerate(findings.volume.source.instances) if uid == one.SOPInstanceUID]
        counts = np.count_nonzero(inside, axis=(0, 1))
        assert counts[plane] == counts.max() > 0
        assert point.GraphicType == "POINT"
        column, row = (int(value - 0.5) for value in point.GraphicData)
        assert inside[column, row, plane]
        assert float(number.MeasuredValueSequence[0].NumericValue) == pytest.approx(0.75 * 1.25 * counts.max())
    assert arrays == {}


def test_without_lesion_its_place_is_in_the_lungs(
    find: Find, identity: Identity, tmp_path: Path, complaints: Callable[[Path], list[str]]
) -> None:
    findings = find(lesion=False)
    segmentation = write_segmentation(findings, tmp_path / "seg.dcm", identity=identity, omit_empty_frames=True)
    path = write_structured_report(findings, measures(), segmentation, tmp_path / "sr.dcm", identity=identity)
    areas = {
        text_of(group, "112039"): float(
            next(item for item in group.ContentSequence if item.ValueType == "NUM")
            .MeasuredValueSequence[0]
            .NumericValue
        )
        for group, first in measured(path)
        if first == "Area"
    }
    assert areas["lesionsplit lesion"] == 0
    assert areas["lesionsplit right lung"] > 0
    assert complaints(path) == []


def lesion(number: int, findings: DecomposedVolume, k: int, columns_rows: Any, **changes: Any) -> Lesion:
    """A lesion whose axial diameter joins two places of slice ``k``, from 0."""
    ends = [tuple((findings.volume.affine @ [*place, k, 1])[:3]) for place in columns_rows]
    values: dict[str, Any] = {
        "number": number,
        "side": "right",
        "lobe": NO_LOBES,
        "volume_ml": 2.0,
        "axial_diameter_mm": 7.5,
        "axial_diameter_slice": k + 1,
        "axial_diameter_from_ras_mm": ends[0],
        "axial_diameter_to_ras_mm": ends[1],
        "diameter_mm": 9.0,
        "mean_hu": -321.0,
        "centre_ras_mm": ends[0],
        "first_slice": 1,
        "last_slice": 3,
    }
    return Lesion(**{**values, **changes})


@pytest.mark.parametrize("kind", ["straight", "oblique", "tilted", "descending"])
def test_each_lesion_has_its_line_on_its_slice(
    write: Write, find: Find, complaints: Callable[[Path], list[str]], kind: str
) -> None:
    ends = [[(2.5, 3.5), (8.5, 6.5)], [(0.5, 1.5), (4.5, 1.5)]]
    lesions = [lesion(1, find(kind), 4, ends[0]), lesion(2, find(kind), 6, ends[1], side="left", mean_hu=NO_HU)]
    _, path, findings = write(measures(lesions=lesions), kind)
    groups = groups_of_lesions(path)
    assert len(groups) == 2
    for group, one, places, k in zip(groups, lesions, ends, (4, 6), strict=True):
        first, *others = [item for item in group.ContentSequence if item.ValueType == "NUM"]
        assert first.ConceptNameCodeSequence[0].CodeMeaning == "Length"
        assert float(first.MeasuredValueSequence[0].NumericValue) == one.axial_diameter_mm
        assert len(others) == 1 + (one.number == 1)  # the volume, and the density where there is one
        line = first.ContentSequence[0]
        assert (line.ValueType, line.GraphicType) == ("SCOORD", "POLYLINE")
        # the centre of the first pixel is (0.5, 0.5)
        assert line.GraphicData == pytest.approx([value + 0.5 for place in places for value in place])
        image = line.ContentSequence[0].ReferencedSOPSequence[0]
        assert image.ReferencedSOPInstanceUID == findings.volume.source.instances[k].SOPInstanceUID
        assert text_of(group, "112039") == "Cornerstone3DTools@^0.1.0:Length"
        assert text_of(group, "121106") == f"Lesion {one.number}, {one.side} lung"
    assert len({text_of(group, "112040") for group in groups}) == 2
    assert complaints(path) == []


def test_only_the_largest_have_a_group_and_the_rest_is_summed(write: Write, find: Find) -> None:
    lesions = [lesion(number, find(), 5, [(1.5, 1.5), (2.5, 1.5)]) for number in range(1, 26)]
    regions = [region(LUNGS, lesion_ml=60.0), region(RIGHT_LUNG), region(LEFT_LUNG)]
    _, path, _ = write(measures(lesions=lesions, lesion_count=25, small_lesion_count=4, regions=regions))
    assert len(groups_of_lesions(path)) == 20
    assert b"9 smaller lesions of 20.00 mL together not listed one by one" in path.read_bytes()


def test_a_line_between_slices_is_left_out(write: Write, find: Find, complaints: Callable[[Path], list[str]]) -> None:
    """As in a series that is not axial: its axial diameters lie across its slices."""
    findings = find()
    other = tuple((findings.volume.affine @ [8.5, 6.5, 7, 1])[:3])
    _, path, _ = write(measures(lesions=[lesion(1, findings, 4, [(2.5, 3.5)] * 2, axial_diameter_to_ras_mm=other)]))
    (group,) = groups_of_lesions(path)
    assert b"POLYLINE" not in path.read_bytes()
    assert text_of(group, "112039") == "lesionsplit lesion 1"
    assert complaints(path) == []


def groups_of_lesions(path: Path) -> list[Any]:
    """The groups of TID 1501 that begin with a length."""
    return [group for group, first in measured(path) if first == "Length"]


def measured(path: Path) -> list[tuple[Any, str]]:
    """Each group, and the meaning of its first number."""
    found = []
    for item in pydicom.dcmread(path).ContentSequence:
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Imaging Measurements":
            for group in item.ContentSequence:
                numbers = [one for one in group.ContentSequence if one.ValueType == "NUM"]
                found.append((group, numbers[0].ConceptNameCodeSequence[0].CodeMeaning if numbers else ""))
    return found


def text_of(group: Any, code: str) -> str:
    """The value of an item of text or UID."""
    for item in group.ContentSequence:
        if item.ConceptNameCodeSequence[0].CodeValue == code:
            return str(item.UID if item.ValueType == "UIDREF" else item.TextValue)
    raise KeyError(code)

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom.pm import ParametricMap

from lesionsplit.errors import DataError
from lesionsplit.io.dicom.identity import Identity
from lesionsplit.io.dicom.parametric_map import write_parametric_map
from lesionsplit.volumes.decomposed import DecomposedVolume

KINDS = ("straight", "oblique", "sagittal", "descending", "tilted", "irregular")

Find = Callable[..., DecomposedVolume]


@pytest.mark.parametrize("kind", KINDS)
def test_every_score_comes_back_on_its_slice(find: Find, identity: Identity, tmp_path: Path, kind: str) -> None:
    findings = find(kind)
    headers = findings.volume.source.instances
    data = pydicom.dcmread(write_parametric_map(findings, tmp_path / "map.dcm", identity=identity))
    numbers = {header.SOPInstanceUID: k for k, header in enumerate(headers)}
    values = data.pixel_array
    assert values.dtype == np.float32
    seen = set()
    for value, item in zip(values, data.PerFrameFunctionalGroupsSequence, strict=True):
        k = numbers[item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        assert item.PlanePositionSequence[0].ImagePositionPatient == headers[k].ImagePositionPatient
        np.testing.assert_array_equal(np.rint(value.astype(np.float64).T * 65535), findings.score[..., k])
        seen.add(k)
    assert seen == set(range(2, 8)), "from the first slice with lung to the last"


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_in_order_along_the_normal(find: Find, identity: Identity, tmp_path: Path, kind: str) -> None:
    data = pydicom.dcmread(write_parametric_map(find(kind), tmp_path / "map.dcm", identity=identity))
    orientation = np.array(data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient)
    normal = np.cross(orientation[:3].astype(float), orientation[3:].astype(float))
    items = data.PerFrameFunctionalGroupsSequence
    heights = [normal @ np.array(item.PlanePositionSequence[0].ImagePositionPatient, float) for item in items]
    assert (np.diff(heights) > 0).all()
    assert [item.FrameContentSequence[0].DimensionIndexValues for item in items] == list(range(1, len(items) + 1))


def test_highdicom_reads_the_scores_as_real_world_values(find: Find, identity: Identity, tmp_path: Path) -> None:
    findings = find("oblique")
    volume = ParametricMap.from_file(
        write_parametric_map(findings, tmp_path / "map.dcm", identity=identity)
    ).get_volume()
    scores = findings.score[..., 2:8].transpose(2, 1, 0) / 65535
    first = volume.map_indices_to_reference(np.zeros((1, 3), int))[0]
    ends = [np.array(findings.volume.source.instances[k].ImagePositionPatient, float) for k in (2, 7)]
    down = bool(np.linalg.norm(first - ends[1]) < np.linalg.norm(first - ends[0]))
    np.testing.assert_allclose(first, ends[down], atol=1e-5)
    np.testing.assert_allclose(volume.array, scores[::-1] if down else scores, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_nothing(
    find: Find, identity: Identity, tmp_path: Path, complaints: Callable[[Path], list[str]], kind: str
) -> None:
    assert complaints(write_parametric_map(find(kind), tmp_path / "map.dcm", identity=identity)) == []


def test_a_single_slice(
    find: Find, identity: Identity, tmp_path: Path, complaints: Callable[[Path], list[str]]
) -> None:
    findings = find(shape=(19, 13, 1))
    path = write_parametric_map(findings, tmp_path / "map.dcm", identity=identity)
    values = pydicom.dcmread(path).pixel_array.reshape(13, 19)
    np.testing.assert_array_equal(np.rint(values.astype(np.float64).T * 65535), findings.score[..., 0])
    assert complaints(path) == []


def test_it_says_what_the_values_are(find: Find, identity: Identity, tmp_path: Path) -> None:
    findings = find()
    data = pydicom.dcmread(write_parametric_map(findings, tmp_path / "map.dcm", identity=identity))
    mapping = data.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1.0, 0.0)
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    quantity = mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0]
    assert (quantity.CodeValue, quantity.CodingSchemeDesignator) == ("LESION-SCORE", "99LESIONSPLIT")
    assert data.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99LESIONSPLIT"
    header = findings.volume.source.instances[0]
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "StudyDate"):
        assert data[keyword].value == header[keyword].value
    assert data.SeriesInstanceUID == identity.parametric_map.series
    assert data.SeriesNumber == 9002


def test_without_lung_there_is_none(find: Find, identity: Identity, tmp_path: Path) -> None:
    findings = find()
    empty = dataclasses.replace(findings, lungs=np.zeros_like(findings.lungs))
    with pytest.raises(DataError, match="has no lung, so there is no score"):
        write_parametric_map(empty, tmp_path / "map.dcm", identity=identity)
    assert list(tmp_path.iterdir()) == []

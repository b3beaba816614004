from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID

from lesionsplit.dicom.deidentify import Pseudonyms, without_patient
from lesionsplit.dicom.identity import Identity, new_identity
from lesionsplit.dicom.parametric import write_parametric_map
from lesionsplit.dicom.segmentation import write_segmentation
from lesionsplit.dicom.structured import write_structured_report
from lesionsplit.measures.result import LEFT_LUNG, LUNGS, RIGHT_LUNG, Measures, Region
from lesionsplit.volumes.findings import Findings

Find = Callable[..., Findings]

PLANTED = {
    "PatientName": "Geheimnis^Gesa",
    "PatientID": "SECRET-ID-77",
    "PatientBirthDate": "19310717",
    "PatientBirthTime": "030405.678901",
    "PatientAge": "089Y",
    "PatientAddress": "Planted Street 12",
    "PatientComments": "planted comment",
    "OtherPatientIDs": "OTHER-ID-99",
    "EthnicGroup": "planted group",
    "PatientMotherBirthName": "Plantedmaiden",
    "MilitaryRank": "planted rank",
    "AdditionalPatientHistory": "planted history",
    "Occupation": "planted work",
    "StudyID": "STUDY-4242",
    "StudyDate": "20210913",
    "SeriesDate": "20210914",
    "AcquisitionDate": "20210915",
    "ContentDate": "20210916",
    "AcquisitionDateTime": "20210915222324.252627",
    "StudyTime": "212223.242526",
    "SeriesTime": "212224.242527",
    "AccessionNumber": "ACC-31415",
    "InstitutionName": "Planted Hospital",
    "InstitutionAddress": "Planted Road 1",
    "InstitutionalDepartmentName": "Planted Ward",
    "StationName": "PLANTEDSTATION",
    "DeviceSerialNumber": "SERIAL-2718",
    "ReferringPhysicianName": "Plantedref^Rita",
    "OperatorsName": "Plantedop^Olga",
    "PerformingPhysicianName": "Plantedperf^Pia",
    "PhysiciansOfRecord": "Plantedrec^Rolf",
    "StudyDescription": "planted study text",
    "SeriesDescription": "planted series text",
    "ProtocolName": "planted protocol",
    "ImageComments": "planted image comment",
    "AdmittingDiagnosesDescription": "planted diagnosis",
    "ClinicalTrialSubjectID": "TRIAL-161",
    "RequestedProcedureDescription": "planted procedure",
    "DeidentificationMethod": "planted method",
}


def plant(header: Dataset) -> list[bytes]:
    """Put identifiers into every corner of a header; what to look for."""
    for keyword, value in PLANTED.items():
        setattr(header, keyword, value)
    block = header.private_block(0x0009, "PLANTED VENDOR", create=True)
    block.add_new(0x01, "LO", "planted private")
    item = Dataset()
    item.PatientID, item.IssuerOfPatientID = "NESTED-ID-55", "planted issuer"
    header.OtherPatientIDsSequence = [item]
    referenced = Dataset()
    referenced.ReferencedSOPClassUID, referenced.ReferencedSOPInstanceUID = header.SOPClassUID, "1.2.3.4.5.6.7.8.9999"
    header.ReferencedStudySequence = [referenced]
    header.ReferencedImageSequence = [referenced]
    texts = [part for value in PLANTED.values() for part in value.split("^") if value != "089Y"]
    texts += ["089Y", "planted private", "PLANTED VENDOR", "NESTED-ID-55", "planted issuer", "1.2.3.4.5.6.7.8.9999"]
    return [text.encode() for text in texts]


@pytest.fixture
def written(
    find: Find, tmp_path: Path
) -> Callable[[Pseudonyms | None], tuple[list[Path], list[bytes], Findings, Identity]]:
    def write(pseudonyms: Pseudonyms | None) -> tuple[list[Path], list[bytes], Findings, Identity]:
        findings = find("oblique")
        needles: list[bytes] = []
        for header in findings.volume.source.instances:
            needles = plant(header)
        uids = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
        needles += [
            str(header[keyword].value).encode() for header in findings.volume.source.instances for keyword in uids
        ]
        named = dataclasses.replace(
            findings.volume, source=dataclasses.replace(findings.volume.source, name="Geheimnis", path=Path("Gesa"))
        )
        findings = dataclasses.replace(findings, volume=named)
        identity = new_identity(weights="0123456789abcdef" * 4, pseudonyms=pseudonyms)
        paths = [tmp_path / name for name in ("seg.dcm", "map.dcm", "sr.dcm")]
        segmentation = write_segmentation(findings, paths[0], identity=identity, omit_empty_frames=True)
        write_parametric_map(findings, paths[1], identity=identity)
        write_structured_report(findings, _measures(), segmentation, paths[2], identity=identity)
        return paths, needles, findings, identity

    return write


def _measures() -> Measures:
    fields = [field for field in Region.__struct_fields__ if field != "name"]
    numbers: dict[str, Any] = dict.fromkeys(fields, 1.5)
    values: dict[str, Any] = dict.fromkeys(Measures.__struct_fields__, 1)
    values["regions"] = [Region(name=name, **numbers) for name in (LUNGS, RIGHT_LUNG, LEFT_LUNG)]
    from lesionsplit.measures.settings import MeasureSettings

    values["settings"] = MeasureSettings()
    return Measures(**values)


def test_no_byte_of_any_output_names_the_patient(
    written: Callable[..., tuple[list[Path], list[bytes], Findings, Identity]],
) -> None:
    paths, needles, _, _ = written(Pseudonyms())
    today = datetime.now().strftime("%Y%m%d").encode()
    for path in paths:
        content = path.read_bytes()
        assert [needle for needle in needles if needle in content] == []
        assert [word for word in (b"planted", b"Planted", b"PLANTED", today) if word in content] == []


def test_the_search_finds_what_is_there(
    written: Callable[..., tuple[list[Path], list[bytes], Findings, Identity]],
) -> None:
    paths, needles, _, _ = written(None)
    found = {needle for path in paths for needle in needles if needle in path.read_bytes()}
    assert {b"Geheimnis", b"SECRET-ID-77", b"19310717", b"ACC-31415", b"Planted Hospital"} <= found
    assert sum(needle.startswith(b"1.2.") for needle in found) > 9


def test_what_is_left_belongs_together_and_is_valid(
    written: Callable[..., tuple[list[Path], list[bytes], Findings, Identity]], complaints: Callable[[Path], list[str]]
) -> None:
    pseudonyms = Pseudonyms()
    paths, _, findings, _ = written(pseudonyms)
    for path in paths:
        data = pydicom.dcmread(path)
        header = findings.volume.source.instances[0]
        assert data.StudyInstanceUID == pseudonyms.of(header.StudyInstanceUID)
        assert data.get("FrameOfReferenceUID", pseudonyms.of(header.FrameOfReferenceUID)) == pseudonyms.of(
            header.FrameOfReferenceUID
        )
        assert data.PatientIdentityRemoved == "YES"
        assert data.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
        assert data.LongitudinalTemporalInformationModified == "REMOVED"
        assert str(data.PatientName) == str(data.PatientID) == ""
        assert data.ContentDate == "19000101"
        assert complaints(path) == []


def test_positions_stay(written: Callable[..., tuple[list[Path], list[bytes], Findings, Identity]]) -> None:
    pseudonyms = Pseudonyms()
    paths, _, findings, _ = written(pseudonyms)
    where = {
        pseudonyms.of(header.SOPInstanceUID): header.ImagePositionPatient for header in findings.volume.source.instances
    }
    for path in paths[:2]:
        items = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
        assert len(items) >= 6
        for item in items:
            source = item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            assert item.PlanePositionSequence[0].ImagePositionPatient == where[source]


def test_a_masked_header_has_what_is_listed_and_the_given_one_stays(find: Find) -> None:
    header = find().volume.source.instances[0]
    plant(header)
    before = copy.deepcopy(header)
    masked = without_patient(header, Pseudonyms())
    assert header == before
    assert masked.ImagePositionPatient == header.ImagePositionPatient
    assert (masked.Manufacturer, masked.Modality) == ("Maker", "CT")
    assert {element.keyword for element in masked if element.value not in ("", None)} == {
        *("SOPClassUID", "Modality", "Manufacturer", "SliceThickness", "PatientPosition", "PixelSpacing"),
        *("ImagePositionPatient", "ImageOrientationPatient", "Rows", "Columns"),
        *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"),
        *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    }


def test_pseudonyms_are_consistent_valid_and_secret() -> None:
    first, second = Pseudonyms(), Pseudonyms()
    uids = [f"1.2.840.{number}" for number in range(500)]
    others = [first.of(uid) for uid in uids]
    assert others == [first.of(uid) for uid in uids]
    assert len(set(others)) == 500
    assert all(UID(uid).is_valid and len(uid) <= 64 for uid in others)
    assert not set(others) & {second.of(uid) for uid in uids}
    assert Pseudonyms(b"known").of("1.2.3") == Pseudonyms(b"known").of("1.2.3")
    assert "secret" not in repr(first)

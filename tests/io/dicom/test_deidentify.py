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

from lesionsplit.io.dicom.deidentify import without_patient, without_words
from lesionsplit.io.dicom.encapsulated_pdf import write_encapsulated_pdf
from lesionsplit.io.dicom.identity import Identity, new_identity
from lesionsplit.io.dicom.parametric_map import write_parametric_map
from lesionsplit.io.dicom.pseudonyms import Pseudonyms
from lesionsplit.io.dicom.secondary_capture import write_secondary_capture
from lesionsplit.io.dicom.segmentation import write_segmentation
from lesionsplit.io.dicom.structured_report import write_structured_report
from lesionsplit.measurements.measure import measure
from lesionsplit.measurements.result import LEFT_LUNG, LUNGS, RIGHT_LUNG, Measurements, Region
from lesionsplit.report.pdf import report_pdf
from lesionsplit.report.pictures import key_picture
from lesionsplit.volumes.decomposed import DecomposedVolume

Find = Callable[..., DecomposedVolume]

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
) -> Callable[[Pseudonyms | None], tuple[list[Path], list[bytes], DecomposedVolume, Identity]]:
    def write(pseudonyms: Pseudonyms | None) -> tuple[list[Path], list[bytes], DecomposedVolume, Identity]:
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
        paths = [tmp_path / name for name in ("seg.dcm", "map.dcm", "sr.dcm", "sc.dcm", "pdf.dcm")]
        segmentation = write_segmentation(findings, paths[0], identity=identity, omit_empty_frames=True)
        write_parametric_map(findings, paths[1], identity=identity)
        write_structured_report(findings, _measures(), segmentation, paths[2], identity=identity)
        picture = key_picture(findings, measure(findings))
        write_secondary_capture(findings.volume, picture, paths[3], identity=identity)
        document = report_pdf(findings, measure(findings), {"Software": "lesionsplit"}, ())
        write_encapsulated_pdf(findings.volume, document, paths[4], identity=identity)
        return paths, needles, findings, identity

    return write


def _measures() -> Measurements:
    fields = [field for field in Region.__struct_fields__ if field != "name"]
    numbers: dict[str, Any] = dict.fromkeys(fields, 1.5)
    values: dict[str, Any] = dict.fromkeys(Measurements.__struct_fields__, 1)
    values["regions"] = [Region(name=name, **numbers) for name in (LUNGS, RIGHT_LUNG, LEFT_LUNG)]
    from lesionsplit.measurements.settings import MeasurementSettings

    values["settings"] = MeasurementSettings()
    values["notes"] = values["lesions"] = []
    return Measurements(**values)


def test_no_byte_of_any_output_names_the_patient(
    written: Callable[..., tuple[list[Path], list[bytes], DecomposedVolume, Identity]],
) -> None:
    paths, needles, _, _ = written(Pseudonyms())
    today = datetime.now().strftime("%Y%m%d").encode()
    for path in paths:
        content = path.read_bytes()
        assert [needle for needle in needles if needle in content] == []
        assert [word for word in (b"planted", b"Planted", b"PLANTED", today) if word in content] == []


def test_the_search_finds_what_is_there(
    written: Callable[..., tuple[list[Path], list[bytes], DecomposedVolume, Identity]],
) -> None:
    paths, needles, _, _ = written(None)
    found = {needle for path in paths for needle in needles if needle in path.read_bytes()}
    assert {b"Geheimnis", b"SECRET-ID-77", b"19310717", b"ACC-31415", b"Planted Hospital"} <= found
    assert sum(needle.startswith(b"1.2.") for needle in found) > 9


def test_what_is_left_belongs_together_and_is_valid(
    written: Callable[..., tuple[list[Path], list[bytes], DecomposedVolume, Identity]],
    complaints: Callable[[Path], list[str]],
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


def test_positions_stay(written: Callable[..., tuple[list[Path], list[bytes], DecomposedVolume, Identity]]) -> None:
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
    assert masked.Modality == "CT"
    assert {element.keyword for element in masked if element.value not in ("", None)} == {
        *("SOPClassUID", "Modality", "SliceThickness", "PatientPosition", "PixelSpacing"),
        *("ImagePositionPatient", "ImageOrientationPatient", "Rows", "Columns"),
        *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"),
        *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    }


@pytest.mark.parametrize(
    ("keyword", "kept", "free"),
    [
        ("PositionReferenceIndicator", "", "BEHIND MR SMITH"),
        ("LossyImageCompressionMethod", "ISO_10918_1", "SMITH"),
        ("LossyImageCompressionMethod", ["ISO_10918_1", "ISO_15444_1"], ["ISO_10918_1", "SMITH"]),
        ("LossyImageCompressionRatio", "12.5", "SMITH"),
        ("LossyImageCompression", "01", "SMITH"),
        ("PatientPosition", "FFDR", "SMITH"),
        ("Modality", "CT", "SMITH"),
        ("SliceThickness", "1.25", "SMITH"),
        ("ImagePositionPatient", ["1", "-2.5", ".5e+02"], ["1", "2", "SMITH"]),
    ],
)
def test_an_element_is_kept_with_values_of_its_kind_only(keyword: str, kept: Any, free: Any) -> None:
    for value, expected in ((kept, True), (free, False)):
        header = Dataset()
        tag = pydicom.datadict.tag_for_keyword(keyword)
        assert tag is not None
        with pydicom.config.disable_value_validation():
            text = value if isinstance(value, str) else "\\".join(value)
            vr = pydicom.datadict.dictionary_VR(tag)
            header[tag] = pydicom.dataelem.RawDataElement(tag, vr, len(text), text.encode(), 0, False, True)  # type: ignore[arg-type]
            masked = without_patient(header, Pseudonyms())
        assert (keyword in masked) is expected


def test_the_name_of_a_scanner_is_free_text(find: Find) -> None:
    header = find().volume.source.instances[0]
    header.Manufacturer = header.ManufacturerModelName = "Station of Dr Smith"
    header.SpecificCharacterSet = "ISO_IR 100"
    masked = without_patient(header, Pseudonyms())
    assert not {"Manufacturer", "ManufacturerModelName", "SpecificCharacterSet"} & set(masked.dir())


def test_notes_repeat_nothing_of_headers_and_names(find: Find) -> None:
    header = find().volume.source.instances[0]
    header.SeriesDescription, header.StationName, header.PatientSex = "Chest of Smith", "CT1", "F"
    header.PatientName = "Smith^John"
    notes = ("the series Chest of Smith (CT1) differs from Smith^John", "read SMITH.dcm and 12 others, F")
    found = without_words(notes, [header], ["in/SMITH.dcm", "SMITH.dcm", ""])
    assert found == ("the series ... (...) differs from ...", "read ... and 12 others, F")


def test_headers_are_not_read_where_there_are_no_notes() -> None:
    headers = iter([Dataset()])
    assert without_words((), headers, ["in/SMITH.dcm"]) == ()
    assert len(list(headers)) == 1


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

"""The report on paper: its words, and the same bytes each time."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from lesionsplit.measurements.measure import measure
from lesionsplit.measurements.settings import MeasurementSettings
from lesionsplit.report.pdf import report_pdf
from lesionsplit.volumes.decomposed import DecomposedVolume

Find = Callable[..., DecomposedVolume]

WHOSE = {"Patient": "Doe, Jane (P-4711)", "Study": "20200401 A-1", "Software": "lesionsplit 9", "Grid": "3 x 3"}


def words(document: bytes) -> str:
    """What the pages say, without spaces: PDF writes each piece of a line by itself."""
    pieces = re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", document)
    text = b"".join(pieces).decode("cp1252")
    text = re.sub(r"\\(\d{3})", lambda one: bytes([int(one[1], 8)]).decode("cp1252"), text)
    return text.replace("\\", "").replace(" ", "")


def test_it_says_whose_what_and_why_doubtful(find: Find) -> None:
    findings = find()
    measures = measure(findings, MeasurementSettings(smallest_lesion_ml=0.0))
    measures.notes[:] = ["lung mask doubtful <b>here</b>"]
    document = report_pdf(findings, measures, WHOSE, ["not for children"])
    assert document.startswith(b"%PDF-")
    said = words(document)
    for expected in (
        "Research use only, not for diagnosis.",
        "Doe, Jane (P-4711)",
        "20200401 A-1",
        f"{measures.lesion_count} lesions",
        f"{measures.lesions[0].axial_diameter_mm:.1f}",
        "lung mask doubtful <b>here</b>",
        "not for children",
        "Software: lesionsplit 9; Grid: 3 x 3",
    ):
        assert expected.replace(" ", "") in said
    assert document.count(b"/Subtype /Image") == 1
    assert report_pdf(findings, measures, WHOSE, ["not for children"]) == document


def test_letters_that_the_fonts_lack_do_not_stop_it(find: Find) -> None:
    findings = find(lesion=False)
    said = words(report_pdf(findings, measure(findings), {"Patient": "Wang\u5c0f, M\u00fcller"}, ()))
    assert "Wang?,M\u00fcller" in said
    assert "lesions" not in said.partition("Whatwasfound")[2].partition("mean")[0].replace("lesionvolume", "")


def test_it_is_filed_with_the_study(find: Find, tmp_path: Path, complaints: Callable[[Path], list[str]]) -> None:
    from lesionsplit.io.dicom.encapsulated_pdf import write_encapsulated_pdf
    from lesionsplit.io.dicom.identity import new_identity

    findings = find(PatientName="Doe^Jane")
    document = report_pdf(findings, measure(findings), WHOSE, ())
    for given in (document, document + b" "):  # of an even and an odd number of bytes
        identity = new_identity(weights="0123456789abcdef" * 4)
        path = write_encapsulated_pdf(findings.volume, given, tmp_path / "report.pdf.dcm", identity=identity)
        data = pydicom.dcmread(path)
        assert data.EncapsulatedDocument[: data.EncapsulatedDocumentLength] == given
        assert (data.Modality, data.MIMETypeOfEncapsulatedDocument) == ("DOC", "application/pdf")
        assert (data.SOPClassUID, data.BurnedInAnnotation) == ("1.2.840.10008.5.1.4.1.1.104.1", "YES")
        first = findings.volume.source.instances[0]
        assert (data.StudyInstanceUID, data.PatientName) == (first.StudyInstanceUID, "Doe^Jane")
        assert complaints(path) == []


@pytest.mark.parametrize("kind", ["oblique", "sagittal"])
def test_any_grid_is_drawn(find: Find, kind: str) -> None:
    findings = find(kind)
    assert report_pdf(findings, measure(findings), {}, ()).startswith(b"%PDF-")

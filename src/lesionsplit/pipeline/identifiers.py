"""Whose a DICOM series is: for people, and for programs that join tables."""

from __future__ import annotations

from typing import Final

from lesionsplit.csvtext import printable
from lesionsplit.volumes.volume import Volume

IDENTIFIERS: Final = {
    "patient_id": "PatientID",
    "accession_number": "AccessionNumber",
    "study_date": "StudyDate",
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
}
"""Columns of cases.csv and fields of report.json, and where in a header they come from."""


def identifiers(volume: Volume) -> dict[str, str]:
    """`IDENTIFIERS` of a DICOM series, empty where its headers do not state one; of other volumes nothing."""
    if not volume.source.instances:
        return {}
    header = volume.source.instances[0]
    return {name: printable(str(header.get(keyword) or "").strip()) for name, keyword in IDENTIFIERS.items()}


def whose(volume: Volume) -> dict[str, str]:
    """Patient and study of a DICOM series, for people; what its headers do not state is left out."""
    if not volume.source.instances:
        return {}
    header = volume.source.instances[0]

    def of(keyword: str) -> str:
        return printable(str(header.get(keyword) or "").strip())

    name = ", ".join(part for part in of("PatientName").split("^") if part)
    shown = {
        "Patient": " · ".join(part for part in (name, of("PatientID")) if part),
        "Study": " · ".join(part for part in map(of, ("StudyDate", "AccessionNumber", "StudyInstanceUID")) if part),
        "Series": " · ".join(part for part in map(of, ("SeriesNumber", "SeriesInstanceUID")) if part),
    }
    return {heading: words for heading, words in shown.items() if words}

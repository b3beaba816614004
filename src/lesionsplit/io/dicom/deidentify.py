"""De-identify headers, for ``--deidentify``.

It follows the Basic Application Confidentiality Profile of DICOM PS3.15, Annex E, and is stricter: an element is
kept only if it is on the short list that our objects need (geometry, compression) and has a value of the kind that
the standard allows, so that no free text, no unforeseen or private element and no nested sequence is kept. Patient,
dates, accession number, institution, physicians, scanner and descriptions are not on it; elements that DICOM requires
are present and empty. All UIDs are replaced (action U of the profile), consistently within a run, so that objects of
a study stay together. A de-identified object refers to de-identified images, so viewers overlay it on the original
series by position only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.coding import Code

from lesionsplit.io.dicom.codes import BASIC_PROFILE
from lesionsplit.io.dicom.files import BROKEN, value_of
from lesionsplit.io.dicom.pseudonyms import Pseudonyms

NUMBER: Final = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"

KEPT: Final[dict[str, str]] = {
    "SOPClassUID": r"1\.2\.840\.10008[.\d]*",
    "Modality": "CT",
    "SliceThickness": NUMBER,
    "PatientPosition": "[HF]F(S|P|DR|DL)",
    "PositionReferenceIndicator": "",
    "ImagePositionPatient": NUMBER,
    "ImageOrientationPatient": NUMBER,
    "Rows": NUMBER,
    "Columns": NUMBER,
    "PixelSpacing": NUMBER,
    "LossyImageCompression": "0[01]",
    "LossyImageCompressionRatio": NUMBER,
    "LossyImageCompressionMethod": r"ISO_\d{4,5}_\d{1,2}",
}
"""Elements that are needed and do not identify the patient: numbers and terms of the standard, and how each of their
values looks. Any element may hold free text in a file, which is not kept, not even the scanner's name."""

REPLACED: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
"""UIDs that are replaced; other UIDs are removed."""

EMPTY: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Elements that DICOM requires, possibly empty."""


TEXT: Final = frozenset({"AE", "AS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"})
"""Value representations of text and dates; numbers and coded strings name no patient."""

SHORTEST = 3
"""Minimum letters of a text that is looked for in notes."""


def without_patient(header: Dataset, pseudonyms: Pseudonyms) -> Dataset:
    """A new header with what is needed of ``header`` and nothing that points to the patient.

    Args:
        header: of a CT slice; stays as it is.
        pseudonyms: of the run.
    """
    masked = Dataset()
    for keyword, allowed in KEPT.items():
        value = value_of(header, keyword)
        if value is not None and all(re.fullmatch(allowed, str(one).strip()) for one in _values(value)):
            setattr(masked, keyword, value)
    for keyword in REPLACED:
        if uid := header.get(keyword):
            setattr(masked, keyword, pseudonyms.of(uid))
    for keyword in EMPTY:
        setattr(masked, keyword, "")
    masked.PatientIdentityRemoved = "YES"
    masked.DeidentificationMethod = "PS3.15 Basic Profile; all UIDs replaced, all dates removed"
    masked.DeidentificationMethodCodeSequence = [coded(BASIC_PROFILE)]
    return masked


def without_words(notes: Iterable[str], headers: Iterable[Dataset], names: Iterable[str]) -> tuple[str, ...]:
    """Notes without texts of headers and names of files: these become dots.

    Args:
        notes: on the files of a case.
        headers: of the case; texts of less than `SHORTEST` letters are not looked for.
        names: of the files.
    """
    notes = tuple(notes)
    if not notes:  # reading every element of every slice takes seconds
        return ()
    text = "\n".join(notes)
    words = {str(name) for name in names}
    for header in headers:
        for tag in header.keys():  # noqa: SIM118 - iterating a data set reads every element, broken ones too
            with suppress(*BROKEN):
                element = header[tag]
                if element.VR in TEXT:
                    words |= {str(value).strip() for value in _values(element.value)}
    long = sorted((word for word in words if len(word) >= SHORTEST and word in text), key=len, reverse=True)
    if not long:
        return notes
    found = re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in long))
    return tuple(found.sub("...", note) for note in notes)


def _values(value: Any) -> Iterable[Any]:
    return value if isinstance(value, MultiValue) else [value]


def coded(code: Code) -> Dataset:
    """A code as an item of a sequence."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item

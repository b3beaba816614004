"""Headers without the patient, for ``--deidentify``.

After the Basic Application Confidentiality Profile of DICOM PS3.15, Annex E, and stricter where it is simpler: an
element is kept only if it is on the short list that our objects need (geometry, the make of the scanner), so nothing
unforeseen, no private element and no nested sequence can slip through. Patient, dates, accession number, institution,
physicians and descriptions are not on it; what DICOM requires to be present is present and empty. UIDs are replaced
(the profile's action U), all of them: the same one always by the same other one within a run, so that objects
of a study still belong together; but a masked object refers to masked images, and is overlaid on an original series
by position only.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Final

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import PYDICOM_ROOT_UID, UID

from lesionsplit.dicom.codes import BASIC_PROFILE

KEPT: Final = (
    "SpecificCharacterSet",
    "SOPClassUID",
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "SliceThickness",
    "PatientPosition",
    "PositionReferenceIndicator",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "Rows",
    "Columns",
    "PixelSpacing",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
"""What says nothing of the patient and is needed."""

REPLACED: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
"""UIDs that are replaced; other UIDs go."""

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
"""What DICOM wants to be there, if empty."""


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Other UIDs for UIDs: the same for the same, and no way back once the secret is gone.

    One for a whole run, so that several series of a study stay in one study.
    """

    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def of(self, uid: str) -> UID:
        """The UID that stands for ``uid``."""
        digest = hashlib.blake2b(str(uid).encode(), key=self.secret, digest_size=16).digest()
        number = int.from_bytes(digest, "big")
        return UID(f"{PYDICOM_ROOT_UID}{number}"[:64])


def without_patient(header: Dataset, pseudonyms: Pseudonyms) -> Dataset:
    """A new header with what is needed of ``header`` and nothing that points to the patient.

    Args:
        header: of a CT slice; stays as it is.
        pseudonyms: of the run.
    """
    masked = Dataset()
    for keyword in KEPT:
        tag = tag_for_keyword(keyword)
        if tag is not None and tag in header:
            setattr(masked, keyword, header[tag].value)
    for keyword in REPLACED:
        if uid := header.get(keyword):
            setattr(masked, keyword, pseudonyms.of(uid))
    for keyword in EMPTY:
        setattr(masked, keyword, "")
    masked.PatientIdentityRemoved = "YES"
    masked.DeidentificationMethod = "PS3.15 Basic Profile; all UIDs replaced, all dates removed"
    masked.DeidentificationMethodCodeSequence = [coded(BASIC_PROFILE)]
    return masked


def coded(code: Code) -> Dataset:
    """A code as an item of a sequence."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item

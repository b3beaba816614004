"""Write a PDF file as a DICOM object, so that it is filed with the study."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from highdicom.base import SOPClass
from pydicom import config
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from lesionsplit.io.dicom import codes
from lesionsplit.io.dicom.frames import write_whole
from lesionsplit.io.dicom.identity import Identity, object_fields
from lesionsplit.io.dicom.source import code_sequence, finish, inherit_deidentification, source_headers
from lesionsplit.volumes.volume import Volume

TITLE: Final = "Lesions in a chest CT, found automatically"


def write_encapsulated_pdf(volume: Volume, document: bytes, path: Path, *, identity: Identity) -> Path:
    """Write a PDF file into the study of a volume.

    Args:
        volume: read from DICOM slices.
        document: the PDF file.
        path: of the DICOM file; an existing one is overwritten.
        identity: of the case.

    Raises:
        DataError: the volume has no DICOM headers, or the file cannot be written.
    """
    sources = source_headers(volume, identity)
    first = sources.headers[0]
    with config.disable_value_validation():
        dataset = SOPClass(
            study_instance_uid=str(first.StudyInstanceUID),
            sop_class_uid=EncapsulatedPDFStorage,
            modality="DOC",
            transfer_syntax_uid=ExplicitVRLittleEndian,
            content_date=identity.content.date(),
            content_time=identity.content.time(),
            **object_fields(identity.document, identity),
        )
        dataset.copy_patient_and_study_information(first)
        inherit_deidentification(dataset, first)
        dataset.ConversionType = "WSD"
        dataset.AcquisitionDateTime = ""
        dataset.BurnedInAnnotation = "YES" if identity.pseudonyms is None else "NO"
        dataset.RecognizableVisualFeatures = "NO"
        dataset.DocumentTitle = TITLE
        dataset.ConceptNameCodeSequence = code_sequence(codes.CT_CHEST)
        dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
        dataset.EncapsulatedDocumentLength = len(document)
        dataset.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
        finish(dataset, sources, identity)
    write_whole(path, dataset)
    return path

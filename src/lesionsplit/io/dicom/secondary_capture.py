"""Write a picture as a DICOM Secondary Capture in colour, which every viewer shows."""

from __future__ import annotations

from pathlib import Path

from highdicom.sc import SCImage
from pydicom import config
from pydicom.uid import ExplicitVRLittleEndian

from lesionsplit.errors import DataError
from lesionsplit.io.dicom.frames import write_whole
from lesionsplit.io.dicom.identity import Identity, object_fields
from lesionsplit.io.dicom.source import finish, inherit_deidentification, source_headers
from lesionsplit.tiles import Tile
from lesionsplit.volumes.volume import Volume


def write_secondary_capture(volume: Volume, picture: Tile, path: Path, *, identity: Identity) -> Path:
    """Write a picture into the study of a volume.

    Args:
        volume: read from DICOM slices.
        picture: (rows, columns, 3), 8 bits.
        path: of the file; an existing one is overwritten.
        identity: of the case.

    Raises:
        DataError: the volume has no DICOM headers, or the file cannot be written.
    """
    sources = source_headers(volume, identity)
    first = sources.headers[0]
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise DataError(f"a picture of shape {picture.shape}; allowed: (rows, columns, 3)")
    with config.disable_value_validation():
        dataset = SCImage.from_ref_dataset(
            ref_dataset=first,
            pixel_array=picture,
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            **object_fields(identity.pictures, identity),
            patient_orientation=("L", "P"),
            transfer_syntax_uid=ExplicitVRLittleEndian,
        )
        dataset.BurnedInAnnotation = "NO"  # nothing in it identifies the patient
        date, time = identity.content.strftime("%Y%m%d"), identity.content.strftime("%H%M%S")
        dataset.Laterality = ""  # both lungs
        inherit_deidentification(dataset, first)
        for keyword in ("ContentDate", "DateOfSecondaryCapture"):
            setattr(dataset, keyword, date)
        for keyword in ("ContentTime", "TimeOfSecondaryCapture"):
            setattr(dataset, keyword, time)
        finish(dataset, sources, identity)
    write_whole(path, dataset)
    return path

"""DICOM files: which files are, what kind of object each holds, and its header."""

from __future__ import annotations

import math
import struct
import warnings
import zipfile
import zlib
from typing import Any, Final

import pydicom
from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.dataset import FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
    MediaStorageDirectoryStorage,
)

from lesionsplit.errors import DataError
from lesionsplit.volumes.archive import Entry

BROKEN = (
    InvalidDicomError, BytesLengthException, OSError, EOFError, ValueError, TypeError, KeyError, AttributeError,
    IndexError, NotImplementedError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip
"""pydicom's ways, and its decoders', to say that a file is broken."""

ENHANCED: Final = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)

SUFFIXES: Final = (".dcm", ".dicom", ".ima")
"""Of files that are to be DICOM: where they are not, they are broken."""

PREAMBLE = 128

BEGINNINGS: Final = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
"""First bytes of files without preamble: group 2 or 8, of either byte order."""

LARGEST_PRIVATE = 1024
"""Bytes up to which a maker's own element of a header is kept."""

ICON, OVERLAYS = 0x00880200, range(0x6000, 0x6020, 2)
"""What else of a header can be large: the small picture, the groups of drawings."""


def is_dicom(entry: Entry, archive: zipfile.ZipFile | None = None) -> bool:
    """Whether a file is DICOM by its first bytes; files without the standard's preamble count.

    Raises:
        DataError: it cannot be opened.
    """
    with entry.open(archive) as file:
        beginning = file.read(PREAMBLE + 4)
    if beginning[PREAMBLE:] == b"DICM":
        return True
    return beginning[:2] in BEGINNINGS and len(beginning) > 8 and max(beginning[2:4]) <= 0x18


def read_dataset(entry: Entry, archive: zipfile.ZipFile | None = None, *, pixels: bool = False) -> Dataset:
    """Read a DICOM file, with or without its pixels.

    Raises:
        DataError: it cannot be read, is no DICOM, or is a slice without pixels.
    """
    try:
        with entry.open(archive) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that the standard does not allow: what is used is checked
            dataset = pydicom.dcmread(file, force=True, stop_before_pixels=not pixels)
            kind = value_of(dataset, "SOPClassUID") or getattr(dataset.file_meta, "MediaStorageSOPClassUID", None)
            ended = not pixels and not file.read(1)
    except BROKEN as error:
        raise DataError(f"{entry}: cannot be read as DICOM ({line(error)}); is it whole?") from None
    if not kind:
        raise DataError(f"{entry}: cannot be read as DICOM (it does not say what it is); is it whole?")
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
    if syntax and not UID(str(syntax), IGNORE).is_transfer_syntax:
        raise DataError(f"{entry}: is encoded in a way that is not known, {str(syntax)[:64]!r}; is it whole?")
    if (
        ended and (kind == CTImageStorage or not len(dataset)) and syntax != DeflatedExplicitVRLittleEndian
    ):  # which is unpacked as a whole
        raise DataError(f"{entry}: ends within its header; is it whole?")
    dataset.add(DataElement("SOPClassUID", "UI", kind, validation_mode=IGNORE))
    dataset.filename = dataset.buffer = None  # an archive's file would be kept in memory
    if not syntax:  # no meta information: then it is one of these
        dataset.file_meta = FileMetaDataset()
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def strip(header: Dataset) -> Dataset:
    """Take out of a header what is large and says nothing of the patient or the grid; returns it."""
    for tag in list(header.keys()):
        private = tag.is_private and len(getattr(header.get_item(tag), "value", None) or b"") > LARGEST_PRIVATE
        if private or tag == ICON or tag.group in OVERLAYS:
            del header[tag]
    return header


def why_not(header: Dataset) -> str:
    """Why an object is no slice of a CT, in a word or two; nothing where it is one."""
    kind = UID(str(value_of(header, "SOPClassUID")), IGNORE)
    if kind == MediaStorageDirectoryStorage:
        return "directory"
    if kind in ENHANCED:
        return "enhanced multi-frame CT"
    if kind != CTImageStorage:
        name = kind.name.replace(" Image Storage", "").replace(" Storage", "")
        return "object of an unknown kind" if name == kind else name
    if "LOCALIZER" in [str(word).upper() for word in listed(value_of(header, "ImageType"))]:
        return "localiser"
    return ""


def listed(value: object) -> list[object]:
    """A value of one or of several parts, or none, as a list."""
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str | int | float) else list(value)  # type: ignore[call-overload]


def value_of(header: Dataset, keyword: str) -> Any:
    """An element's value; None where it is missing, or cannot be made sense of."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return header.get(keyword)
    except BROKEN:
        return None


def numbers(header: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """An element's numbers; None where it is missing, empty, has another count, or holds what are no finite numbers."""
    try:
        found = tuple(float(value) for value in listed(value_of(header, keyword)))  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def line(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__

"""Recognise DICOM files, read their headers, and tell what kind of object they are."""

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
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.tag import BaseTag
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
from lesionsplit.io.archive import FileEntry

BROKEN = (
    InvalidDicomError, BytesLengthException, OSError, EOFError, ValueError, TypeError, KeyError, AttributeError,
    IndexError, NotImplementedError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip
"""What pydicom and its decoders raise for broken files."""

ENHANCED: Final = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)

LARGEST_PRIVATE = 1024
"""Maximum bytes of a private element that is kept in a header."""

PIXEL_GROUPS: Final = (0x0028, 0x7FE0)
"""Groups of the elements that describe the pixels, and of offsets of compressed ones."""

ICON, OVERLAYS = 0x00880200, range(0x6000, 0x6020, 2)
"""Other large parts of a header: icon image and overlays."""


def read_dataset(entry: FileEntry, archive: zipfile.ZipFile | None = None, *, pixels: bool = False) -> Dataset:
    """Read a DICOM file, with or without its pixels.

    Raises:
        DataError: it cannot be read, is not DICOM, or is a slice without pixels.
    """
    return _read(entry, archive, pixels=pixels)[0]


def read_header(entry: FileEntry, archive: zipfile.ZipFile | None = None) -> tuple[Dataset, int]:
    """Read a DICOM file without its pixels, and where they begin, for `add_pixels`.

    Raises:
        DataError: as `read_dataset`.
    """
    return _read(entry, archive, pixels=False)


def add_pixels(header: Dataset, start: int, entry: FileEntry, archive: zipfile.ZipFile | None = None) -> Dataset:
    """The elements of a header that decoders need, and the pixels, without reading the rest of the header again.

    Args:
        header: what `read_header` returned for the file.
        start: the byte at which the pixels begin.
        entry: the file.
        archive: the open archive of the file, if any.

    Raises:
        DataError: they cannot be read.
    """
    if header.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:  # it is decompressed as a whole
        return read_dataset(entry, archive, pixels=True)
    implicit, little = header.original_encoding
    try:
        with entry.open(archive) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file.seek(start)
            dataset = pydicom.filereader.read_dataset(file, bool(implicit), bool(little))
    except BROKEN as error:
        raise DataError(f"{entry}: cannot be read as DICOM ({line(error)}); is it complete?") from None
    for tag in header.keys():  # noqa: SIM118  whose elements stay as they are stored
        if tag.group in PIXEL_GROUPS:
            dataset[tag] = header.get_item(tag)
    dataset.file_meta = header.file_meta
    return dataset


def _read(entry: FileEntry, archive: zipfile.ZipFile | None, *, pixels: bool) -> tuple[Dataset, int]:
    """A data set and the byte at which reading ended."""
    try:
        with entry.open(archive) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about invalid values: those that are used are checked
            dataset = pydicom.dcmread(file, force=True, stop_before_pixels=not pixels)
            kind = value_of(dataset, "SOPClassUID") or getattr(dataset.file_meta, "MediaStorageSOPClassUID", None)
            end = file.tell()
            ended = not pixels and not file.read(1)
    except BROKEN as error:
        raise DataError(f"{entry}: cannot be read as DICOM ({line(error)}); is it complete?") from None
    if not kind:
        raise DataError(f"{entry}: cannot be read as DICOM (no SOPClassUID); is it complete?")
    kind, syntax = _uid(kind), _uid(getattr(dataset.file_meta, "TransferSyntaxUID", ""))
    if syntax and not syntax.is_transfer_syntax:
        raise DataError(f"{entry}: has an unknown transfer syntax, {str(syntax)[:64]!r}; is it complete?")
    if (
        ended and (kind == CTImageStorage or not len(dataset)) and syntax != DeflatedExplicitVRLittleEndian
    ):  # it is decompressed as a whole
        raise DataError(f"{entry}: ends inside its header; is it complete?")
    dataset.add(DataElement("SOPClassUID", "UI", kind, validation_mode=IGNORE))
    dataset.filename = dataset.buffer = None  # else the file of an archive would stay in memory
    if syntax:
        dataset.file_meta.add(DataElement("TransferSyntaxUID", "UI", syntax))
    else:  # without meta information it is one of these
        dataset.file_meta = FileMetaDataset()
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset, end


def _uid(value: object) -> UID:
    """The UID of an element, which a file may have as another type: as text, or as something that is none."""
    return UID(value if isinstance(value, str) else "not a UID", IGNORE)


def strip(header: Dataset) -> Dataset:
    """Remove large elements without information on patient or grid from a header; return it."""
    for tag in list(header.keys()):
        if (tag.is_private and _is_large(header, tag)) or tag == ICON or tag.group in OVERLAYS:
            del header[tag]
    return header


def _is_large(header: Dataset, tag: BaseTag) -> bool:
    """Whether an element is larger than private ones may be, or cannot be read."""
    try:
        return len(getattr(header.get_item(tag), "value", None) or b"") > LARGEST_PRIVATE
    except BROKEN:
        return True


def why_not(header: Dataset) -> str:
    """What an object is if it is not a CT slice; empty if it is one."""
    kind = UID(str(value_of(header, "SOPClassUID")), IGNORE)
    if kind == MediaStorageDirectoryStorage:
        return "directory"
    if kind not in (CTImageStorage, *ENHANCED):
        name = kind.name.replace(" Image Storage", "").replace(" Storage", "")
        return "object of an unknown kind" if name == kind else name
    if "LOCALIZER" in [str(word).upper() for word in listed(value_of(header, "ImageType"))]:
        return "localiser"
    return ""


def listed(value: object) -> list[object]:
    """A value, several values or none as a list."""
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str | int | float) else list(value)  # type: ignore[call-overload]


def value_of(header: Dataset, keyword: str) -> Any:
    """The value of an element; None if it is missing or invalid."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return header.get(keyword)
    except BROKEN:
        return None


def stated(header: Dataset, keyword: str) -> str:
    """What a header states in an element, to compare headers of a series: as it is stored, without parsing it."""
    tag = tag_for_keyword(keyword)
    element = header.get_item(tag) if tag is not None and tag in header else None
    value = None if element is None else element.value
    if isinstance(value, bytes):
        return value.decode("ascii", "replace").strip(" \0")
    return "" if value is None else str(value)


def numbers(header: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """The numbers of an element; None if it is missing, has another count, or a value is not a finite number."""
    try:
        found = tuple(float(value) for value in listed(value_of(header, keyword)))  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def frame_count(dataset: Dataset) -> int:
    """The number of frames, 1 if it is not stated."""
    return int((numbers(dataset, "NumberOfFrames", 1) or (1.0,))[0])


def line(error: BaseException) -> str:
    """The text of an error on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__

"""What a folder or an archive holds: series of CT slices, volume files, pictures, and what is none of them."""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lesionsplit.dicom.files import SUFFIXES as DICOM_SUFFIXES
from lesionsplit.dicom.files import is_dicom, read_dataset, value_of, why_not
from lesionsplit.errors import DataError
from lesionsplit.images import SUFFIXES as IMAGE_SUFFIXES
from lesionsplit.volumes.archive import Entry
from lesionsplit.volumes.files import suffix_of

LISTED = 8
"""Series, or files, that a line lists at most."""

MANY = "multi-frame CT"
"""In what `why_not` says of CT that a user would expect to be read."""

RESULTS = {"manifest.json": b'"lesionsplit": ', "predictions.json": b'"score": "NAME_score.png'}
"""What `lesionsplit predict` writes beside the results of a volume, or of pictures, and what is in it."""

RESULTS_WITHIN = 1 << 14
"""Bytes of such a file within which that is."""


class Head(NamedTuple):
    """What a slice's header says of where it belongs."""

    entry: Entry
    series: str
    patient: str
    number: str
    description: str

    def __str__(self) -> str:
        return " ".join(filter(None, (self.number or "without number", self.description and f'"{self.description}"')))


@dataclass(slots=True)
class Contents:
    """What was found."""

    series: dict[str, list[Head]] = field(default_factory=dict)
    volumes: list[Entry] = field(default_factory=list)
    images: list[Entry] = field(default_factory=list)
    archives: list[Entry] = field(default_factory=list)

    broken: list[tuple[Path, str]] = field(default_factory=list)
    """DICOM files that cannot be read: the folder, and why."""

    skipped: list[tuple[Path, str]] = field(default_factory=list)
    """DICOM objects that are no CT slices: the folder, and what they are instead."""

    def __bool__(self) -> bool:
        """Whether there is anything to say of it."""
        return any((self.series, self.volumes, self.images, self.archives, self.broken, self.left_out()))

    def left_out(self, folders: Iterable[Path] | None = None) -> str:
        """What DICOM objects are no CT slices, in words, in all folders or some."""
        wanted = None if folders is None else set(folders)
        counts = Counter(why for folder, why in self.skipped if wanted is None or folder in wanted)
        counts.pop("directory", None)  # lists the others
        return ", ".join(f"{count} x {why}" for why, count in sorted(counts.items()))

    def lost(self, folders: Iterable[Path]) -> list[str]:
        """A line for each folder but these that has broken files, or CT of a kind that is not read, and no case."""
        lines: dict[Path, list[str]] = {}
        advice = "give a CT series with a file a slice, or NIfTI"
        unread = [(folder, f"{folder}: holds {why}; {advice}") for folder, why in self.skipped if MANY in why]
        others = set(folders)
        for folder, why in (*self.broken, *unread):
            if folder not in others:
                lines.setdefault(folder, []).append(why)
        return [why[0] + (f" (and {len(why) - 1} more)" if len(why) > 1 else "") for why in lines.values()]

    def listing(self) -> str:
        """The series and volumes that there are, in words, to choose from."""
        patients = len({heads[0].patient for heads in self.series.values()})
        of = f" of {patients} patients" if patients > 1 else ""
        series = [
            f"{heads[0]} ({len(heads)} {'slice' if len(heads) == 1 else 'slices'})" for heads in self.series.values()
        ]
        parts = [f"{len(series)} series{of}: {_some(series)}"] if series else []
        if files := [entry.name for entry in self.volumes]:
            parts.append(f"{len(files)} volume {'file' if len(files) == 1 else 'files'}: {_some(files)}")
        return "; and ".join(parts)


def scan(entries: Sequence[Entry]) -> Contents:
    """Sort files by what they are; of DICOM files the headers are read.

    Raises:
        DataError: the archive that they are in cannot be opened.
    """
    contents = Contents()
    if not entries:
        return contents
    with entries[0].opened_archive() as archive:
        for entry in entries:
            suffix = Path(entry.name.lower()).suffix
            if suffix_of(entry.name):
                contents.volumes.append(entry)
            elif suffix in IMAGE_SUFFIXES:
                contents.images.append(entry)
            elif suffix == ".zip":
                contents.archives.append(entry)
            else:
                _add_dicom(contents, entry, archive)
    return contents


def _add_dicom(contents: Contents, entry: Entry, archive: zipfile.ZipFile | None) -> None:
    try:
        if not is_dicom(entry, archive):
            if Path(entry.name.lower()).suffix in DICOM_SUFFIXES:
                contents.broken.append((entry.folder, f"{entry}: is not DICOM, though it is called so; is it whole?"))
            return
        header = read_dataset(entry, archive)
        why = why_not(header)
    except DataError as error:
        contents.broken.append((entry.folder, str(error)))
        return
    if why:
        contents.skipped.append((entry.folder, why))
        return
    series = _text(value_of(header, "SeriesInstanceUID"))
    if not series:
        contents.broken.append((entry.folder, f"{entry}: does not say which series it is of (no SeriesInstanceUID)"))
        return
    head = Head(
        entry,
        series,
        _text(value_of(header, "PatientID")),
        _said(value_of(header, "SeriesNumber")),
        _said(value_of(header, "SeriesDescription")),
    )
    contents.series.setdefault(head.series, []).append(head)


def holds_results(folder: Path) -> bool:
    """Whether a folder is one that `lesionsplit predict` wrote: its scores and masks are no CT."""
    for name, mark in RESULTS.items():
        with suppress(OSError), (folder / name).open("rb") as file:
            if mark in file.read(RESULTS_WITHIN):
                return True
    return False


def files_in(folder: Path) -> list[Entry]:
    """A folder's own files, by name; hidden ones left out.

    Raises:
        DataError: the folder cannot be read, or holds results.
    """
    if holds_results(folder):
        raise _results(folder)
    try:
        return [Entry(path) for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from None


def files_below(folder: Path) -> list[Entry]:
    """The files of a folder and of all below it, by folder and name; hidden ones and our own results left out.

    Raises:
        DataError: a folder cannot be read; or this one holds results, and there is nothing else.
    """

    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})")

    found = []
    for inside, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if holds_results(Path(inside)):
            continue
        found += [Entry(Path(inside) / name) for name in sorted(names) if not name.startswith(".")]
    found = [entry for entry in found if entry.path.is_file()]
    if not found and holds_results(folder):
        raise _results(folder)
    return found


def inside(folders: Sequence[Path], path: Path) -> PurePosixPath:
    """The deepest folder that holds all folders, as seen from ``path``."""
    parts = [folder.relative_to(path).parts for folder in folders]
    common = []
    for names in zip(*parts, strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    return PurePosixPath(*common)


def _results(folder: Path) -> DataError:
    return DataError(f"{folder}: holds results of lesionsplit; give the CT that they were made from")


def _text(value: object) -> str:
    return " ".join(str(value).split()) if value is not None else ""


def _said(value: object) -> str:
    """A text, but for the word that programs write for want of one."""
    return "" if (text := _text(value)).lower() == "none" else text


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:LISTED]) + (f" and {len(words) - LISTED} more" if len(words) > LISTED else "")

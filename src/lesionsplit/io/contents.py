"""The contents of a folder or an archive: series of CT slices, volume files, images, and everything else."""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lesionsplit.csvtext import printable
from lesionsplit.errors import DataError, one_failure
from lesionsplit.images import SUFFIXES as IMAGE_SUFFIXES
from lesionsplit.io.archive import FileEntry
from lesionsplit.io.dicom.recognise import SUFFIXES as DICOM_SUFFIXES
from lesionsplit.io.dicom.recognise import is_dicom
from lesionsplit.io.files import is_volume

if TYPE_CHECKING:
    from lesionsplit.io.heads import Head, Series

LISTED = 8
"""Maximum number of series or files in a message."""

RESULTS = {"manifest.json": b'"lesionsplit": ', "predictions.json": b'"score": "NAME_score.png'}
"""Files that `lesionsplit predict` writes beside results, and a text in each."""

RESULTS_WITHIN = 1 << 14
"""Bytes of such a file that are searched for the text."""


@dataclass(slots=True)
class Contents:
    """Files by kind."""

    series: Series = field(default_factory=dict)
    volumes: list[FileEntry] = field(default_factory=list)
    images: list[FileEntry] = field(default_factory=list)
    archives: list[FileEntry] = field(default_factory=list)

    broken: list[tuple[Path, str]] = field(default_factory=list)
    """Unreadable DICOM files: the folder, and the reason."""

    skipped: list[tuple[Path, str]] = field(default_factory=list)
    """DICOM objects other than CT slices: the folder, and what they are."""

    def __bool__(self) -> bool:
        """Whether there is any file that messages mention."""
        return any((self.series, self.volumes, self.images, self.archives, self.broken, self.left_out()))

    def left_out(self, folders: Iterable[Path] | None = None) -> str:
        """The DICOM objects other than CT slices, as text, in all folders or some."""
        selected = None if folders is None else set(folders)
        counts = Counter(why for folder, why in self.skipped if selected is None or folder in selected)
        counts.pop("directory", None)  # lists the others
        return ", ".join(f"{count} x {why}" for why, count in sorted(counts.items()))

    def lost(self, folders: Iterable[Path]) -> list[str]:
        """A line for each other folder with broken files."""
        lines: dict[Path, list[str]] = {}
        others = set(folders)
        for folder, why in self.broken:
            if folder not in others:
                lines.setdefault(folder, []).append(why)
        return [why[0] + (f" (and {len(why) - 1} more)" if len(why) > 1 else "") for why in lines.values()]

    def listing(self) -> str:
        """The series and volumes, as text, to choose from."""
        patients = len({heads[0].patient for heads in self.series.values()})
        of = f" of {patients} patients" if patients > 1 else ""
        series = [
            f"{self.title(heads)} ({len(heads)} {'slice' if len(heads) == 1 else 'slices'})"
            for heads in self.series.values()
        ]
        parts = [f"{len(series)} series{of}: {_some(series)}"] if series else []
        if files := [entry.name for entry in self.volumes]:
            parts.append(f"{len(files)} volume {'file' if len(files) == 1 else 'files'}: {_some(files)}")
        return "; and ".join(parts)

    def title(self, heads: Sequence[Head]) -> str:
        """Number and description of a series; its first file, too, where others have the same ones."""
        alike = sum(str(other[0]) == str(heads[0]) for other in self.series.values())
        return str(heads[0]) if alike == 1 else f"{heads[0]} from {_first(heads)}"


def scan(entries: Sequence[FileEntry]) -> Contents:
    """Sort files by kind, which reads the headers of DICOM files.

    Raises:
        DataError: the archive of the files cannot be opened.
    """
    contents = Contents()
    heads: list[Head] = []
    if not entries:
        return contents
    with entries[0].opened_archive() as archive:
        for entry in entries:
            suffix = Path(entry.name.lower()).suffix
            if not entry.member and _leads_nowhere(entry.path):
                contents.broken.append(
                    (
                        entry.folder,
                        f"{entry}: is a link to a file that does not exist; copy that file, or remove the link",
                    )
                )
            elif _is_volume(contents, entry, archive):
                contents.volumes.append(entry)
            elif suffix in IMAGE_SUFFIXES:
                contents.images.append(entry)
            elif suffix == ".zip":
                contents.archives.append(entry)
            else:
                _add_dicom(contents, heads, entry, archive)
        contents.series = grouped(heads, archive)
    return contents


def grouped(heads: Sequence[Head], archive: zipfile.ZipFile | None = None) -> Series:
    """Slices put into series."""
    if not heads:
        return {}
    from lesionsplit.io.heads import series_of

    return series_of(heads, archive)


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _is_volume(contents: Contents, entry: FileEntry, archive: zipfile.ZipFile | None) -> bool:
    try:
        return is_volume(entry, archive)
    except Exception as error:
        contents.broken.append((entry.folder, one_failure(error, str(entry))))
        return False


def _add_dicom(contents: Contents, heads: list[Head], entry: FileEntry, archive: zipfile.ZipFile | None) -> None:
    try:
        if not is_dicom(entry, archive):
            if Path(entry.name.lower()).suffix in DICOM_SUFFIXES:
                contents.broken.append((entry.folder, f"{entry}: is not DICOM despite its name; is it complete?"))
            return
        from lesionsplit.io.dicom.files import read_dataset, why_not
        from lesionsplit.io.heads import head_of

        header = read_dataset(entry, archive)
        if why := why_not(header):
            contents.skipped.append((entry.folder, why))
        else:
            heads.append(head_of(entry, header))
    except Exception as error:
        contents.broken.append((entry.folder, one_failure(error, str(entry))))


def holds_results(folder: Path) -> bool:
    """Whether `lesionsplit predict` wrote the folder: its scores and masks are not CT."""
    for name, mark in RESULTS.items():
        with suppress(OSError), (folder / name).open("rb") as file:
            if mark in file.read(RESULTS_WITHIN):
                return True
    return False


def files_in(folder: Path) -> list[FileEntry]:
    """The files directly in a folder, and links to files that do not exist, sorted by name, without hidden ones.

    Raises:
        DataError: the folder cannot be read, or holds results.
    """
    if holds_results(folder):
        raise _results(folder)
    try:
        return [
            FileEntry(path)
            for path in sorted(folder.iterdir())
            if (path.is_file() or _leads_nowhere(path)) and not path.name.startswith(".")
        ]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from None


def files_below(folder: Path, refuse: Callable[[str], None] | None = None) -> list[FileEntry]:
    """The files in and below a folder, as `files_in` has them, sorted by folder and name, without results.

    Args:
        folder: the folder.
        refuse: receives a line about each folder below that cannot be read; by default this is an error.

    Raises:
        DataError: a folder cannot be read, or this one holds only results.
    """

    def fail(error: OSError) -> None:
        line = f"{error.filename}: cannot be read ({error.strerror})"
        if refuse is None or error.filename == str(folder):
            raise DataError(line)
        refuse(line)

    found = []
    for inside, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if holds_results(Path(inside)):
            continue
        found += [FileEntry(Path(inside) / name) for name in sorted(names) if not name.startswith(".")]
    found = [entry for entry in found if entry.path.is_file() or _leads_nowhere(entry.path)]
    if not found and holds_results(folder):
        raise _results(folder)
    return found


def inside(folders: Sequence[Path], path: Path) -> PurePosixPath:
    """The deepest common folder, relative to ``path``."""
    parts = [folder.relative_to(path).parts for folder in folders]
    common = []
    for names in zip(*parts, strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    return PurePosixPath(*common)


def _results(folder: Path) -> DataError:
    return DataError(f"{folder}: holds results of lesionsplit; give the original CT")


def _first(heads: Sequence[Head]) -> str:
    entry = min((head.entry for head in heads), key=lambda entry: (entry.folder, entry.name))
    return printable(f"{entry.folder.name}/{entry.name}")


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:LISTED]) + (f" and {len(words) - LISTED} more" if len(words) > LISTED else "")

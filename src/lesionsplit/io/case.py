"""A case: a volume that was found and can be read."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from lesionsplit.errors import DataError
from lesionsplit.io.archive import FileEntry, entries_of
from lesionsplit.io.files import open_file, voxels_of
from lesionsplit.volumes.intensity import DEFAULT, ReadOptions
from lesionsplit.volumes.scratch import Scratch, scratch_folder
from lesionsplit.volumes.volume import Kind, Source, Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A volume that can be read."""

    kind: Kind
    path: Path
    """The file, the folder or the archive."""

    name: str
    """A valid and unique folder name."""

    entries: tuple[FileEntry, ...]
    """The files of a series, or the one volume file."""

    where: str
    """The name in messages."""

    broken: tuple[str, ...] = ()
    """One line for each unreadable file that may belong to the case."""

    notes: tuple[str, ...] = ()

    def read(self, scratch: Scratch, options: ReadOptions = DEFAULT) -> Volume:
        """Read the volume.

        Args:
            scratch: holds the array.
            options: how the values are read.

        Raises:
            DataError: the files are broken, inconsistent, or not a CT.
        """
        notes = self.notes
        if self.broken:
            line, count = self.broken[0], len(self.broken)
            if not options.force:
                more = f" (and {count - 1} more)" if count > 1 else ""
                raise DataError(
                    f"{line}{more}{' R' if line.endswith('?') else '; r'}emove it, or use --force to leave it out"
                )
            notes += (f"left out because broken: {count} of {count + len(self.entries)} files",)
        if self.kind == "dicom":
            from lesionsplit.io.dicom.series import read_series

            source = Source(kind="dicom", path=self.path, name=self.name, notes=notes)
            return read_series(self.entries, scratch, source, options=options, where=self.where)
        if not self.entries[0].member:
            volume = open_file(self.path).volume(scratch, name=self.name, options=options)
        else:
            with scratch_folder() as folder:
                try:
                    stack = open_file(_unpacked(self.entries[0], folder))
                    volume = stack.volume(scratch, name=self.name, given=self.path, options=options)
                except DataError as error:  # nobody knows the temporary folder
                    raise DataError(str(error).replace(f"{folder}{os.sep}", f"{self.path}: ")) from None
        return replace(volume, source=replace(volume.source, notes=notes + volume.source.notes))


def _unpacked(entry: FileEntry, folder: Path) -> Path:
    """Extract a volume file from an archive; if its voxels are in a file of their own, also that file beside it."""
    header = _extracted(entry, folder)
    wanted = voxels_of(header)
    beside = [other for other in entries_of(entry.path) if other.folder == entry.folder and other.name in wanted]
    if len(beside) > 1:
        raise DataError(f"{entry}: its voxels could be in {len(beside)} files of the archive; unpack it, and keep one")
    for other in beside:
        _extracted(other, folder)
    return header


def _extracted(entry: FileEntry, folder: Path) -> Path:
    path = folder / entry.name
    with entry.open() as packed:
        try:
            with path.open("wb") as file:
                shutil.copyfileobj(packed, file)
        except OSError as error:
            raise DataError(f"{entry}: cannot be unpacked ({error.strerror}); unpack the archive yourself") from None
    return path

"""A case: a volume that was found, and how it is read."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from lesionsplit.dicom.series import read_series
from lesionsplit.errors import DataError
from lesionsplit.volumes.archive import Entry, entries_of
from lesionsplit.volumes.files import open_file, suffix_of
from lesionsplit.volumes.intensity import Wanted
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Kind, Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A volume that can be read."""

    kind: Kind
    path: Path
    """The file, the folder or the archive."""

    name: str
    """Safe to call a folder by; no two cases have the same."""

    entries: tuple[Entry, ...]
    """A series' files, or the one volume file."""

    where: str
    """What messages call it."""

    broken: tuple[str, ...] = ()
    """Of the files that may belong to it, those that cannot be read, a line each."""

    notes: tuple[str, ...] = ()

    def read(self, scratch: Scratch, *, intensity: Wanted = "auto", force: bool = False) -> Volume:
        """Read the volume into a scratch.

        Raises:
            DataError: it is not what it should be, in one line.
        """
        notes = self.notes
        if self.broken:
            line, count = self.broken[0], len(self.broken)
            if not force:
                more = f" (and {count - 1} more)" if count > 1 else ""
                raise DataError(
                    f"{line}{more}{' T' if line.endswith('?') else '; t'}ake it out, or --force leaves it out"
                )
            notes += (f"left out because broken: {count} {'file' if count == 1 else 'files'}",)
        if self.kind == "dicom":
            return read_series(
                self.entries, scratch, path=self.path, name=self.name, where=self.where, intensity=intensity,
                force=force, notes=notes,
            )  # fmt: skip
        if not self.entries[0].member:
            volume = open_file(self.path).volume(scratch, name=self.name, intensity=intensity, force=force)
        else:
            with tempfile.TemporaryDirectory(prefix="lesionsplit-") as folder:
                stack = open_file(_unpacked(self.entries[0], Path(folder)))
                stack = replace(stack, path=Path(self.where))
                volume = stack.volume(scratch, name=self.name, given=self.path, intensity=intensity, force=force)
        return replace(volume, source=replace(volume.source, notes=notes + volume.source.notes))


def _unpacked(entry: Entry, folder: Path) -> Path:
    """A volume file from an archive; with the files beside it, where these hold its voxels."""
    apart = suffix_of(entry.name) in (".mhd", ".nhdr")
    for other in entries_of(entry.path):
        if other == entry or (apart and other.folder == entry.folder):
            with other.open() as packed, (folder / other.name).open("wb") as file:
                shutil.copyfileobj(packed, file)
    return folder / entry.name

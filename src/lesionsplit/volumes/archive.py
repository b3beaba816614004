"""Files, in folders and in zip archives: whatever is read from an archive, nothing in it says where it is put."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from lesionsplit.errors import DataError

LARGEST_MEMBER = 100 << 20
"""Bytes up to which a file in an archive may have been packed to any degree: nothing is lost by unpacking it."""

DENSEST = 200
"""How much smaller packing makes an image at most; beyond it, a file is made to fill disks."""

LARGEST_ARCHIVE = 64 << 30
"""Bytes of all that is in an archive."""

MOST_MEMBERS = 100_000


class Entry(NamedTuple):
    """A file, or a file in a zip archive."""

    path: Path
    """The file, or the archive."""

    member: str = ""
    """The file's name in the archive."""

    @property
    def name(self) -> str:
        """The file's own name, without folders."""
        return PurePosixPath(self.member).name if self.member else self.path.name

    @property
    def folder(self) -> Path:
        """The folder that the file is in; an archive counts as a folder."""
        return (self.path / self.member).parent if self.member else self.path.parent

    def __str__(self) -> str:
        return f"{self.path}: {self.member}" if self.member else str(self.path)

    @contextmanager
    def opened_archive(self) -> Iterator[zipfile.ZipFile | None]:
        """The archive the file is in, for `open`, where several of its files are read: its list is read once."""
        if not self.member:
            yield None
            return
        try:
            archive = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{self.path}: cannot be read ({error}); is the archive whole?") from None
        with archive:
            yield archive

    @contextmanager
    def open(self, archive: zipfile.ZipFile | None = None) -> Iterator[BinaryIO]:
        """The file's content, from its beginning.

        Raises:
            DataError: it cannot be opened, or not be unpacked.
        """
        try:
            if not self.member:
                with self.path.open("rb") as file:
                    yield file
            elif archive is None:
                with self.opened_archive() as own, self.open(own) as file:
                    yield file
            else:
                with archive.open(self.member) as packed:
                    yield io.BufferedReader(packed, 1 << 16)  # type: ignore[type-var]
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            why = str(error) or "it ends too soon"
            raise DataError(f"{self}: cannot be unpacked ({why}); is the archive whole?") from None
        except OSError as error:
            raise DataError(f"{self}: cannot be read ({error.strerror or error})") from None


def entries_of(path: Path) -> list[Entry]:
    """The files in a zip archive, in the order of their names; hidden ones and folders left out.

    Raises:
        DataError: it is not a zip archive, is encrypted, has names that lead out of it, or unpacks to too much.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename and not m.filename.endswith("/")]
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise DataError(f"{path}: is not a zip archive that can be read ({error}); is it whole?") from None
    _check(path, members)
    return [Entry(path, name) for name in sorted(m.filename for m in members) if not _hidden(PurePosixPath(name))]


def _check(path: Path, members: list[zipfile.ZipInfo]) -> None:
    for member in members:
        inside = PurePosixPath(member.filename.replace("\\", "/"))
        if inside.is_absolute() or ".." in inside.parts or not inside.parts or inside.parts[0].endswith(":"):
            raise DataError(f"{path}: has a file called {member.filename!r}, which leads out of the archive; unpack it")
        if member.flag_bits & 1:
            raise DataError(f"{path}: is locked with a password; unpack it first")
        if member.file_size > LARGEST_MEMBER and member.file_size > DENSEST * member.compress_size:
            raise DataError(
                f"{path}: {member.filename} would unpack from {_size(member.compress_size)} to "
                f"{_size(member.file_size)}, more than images do; if you trust it, unpack it first"
            )
    total = sum(member.file_size for member in members)
    if total > LARGEST_ARCHIVE or len(members) > MOST_MEMBERS:
        raise DataError(
            f"{path}: would unpack to {len(members)} files of {_size(total)}; allowed: {MOST_MEMBERS} files of "
            f"{_size(LARGEST_ARCHIVE)}; unpack it first"
        )


def _hidden(inside: PurePosixPath) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in inside.parts)


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"

"""Files in folders and in zip archives; names inside archives never determine where anything is written."""

from __future__ import annotations

import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, NamedTuple

from lesionsplit.csvtext import printable
from lesionsplit.errors import DataError

LARGEST_MEMBER = 100 << 20
"""Bytes up to which a file in an archive may have any compression ratio."""

DENSEST = 200
"""Maximum compression ratio of larger files: above it, a file is a zip bomb."""

LARGEST_ARCHIVE = 64 << 30
"""Maximum bytes of all files in an archive."""

MOST_MEMBERS = 100_000


DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)
"""What `zipfile` raises while it unpacks a damaged file, besides errors of the system."""

REFUSED = (*DAMAGED, NotImplementedError, RuntimeError, IndexError)
"""What `zipfile` raises when it opens a file that it cannot unpack, besides errors of the system."""


class FileEntry(NamedTuple):
    """A file, or a file in a zip archive."""

    path: Path
    """The file, or the archive."""

    member: str = ""
    """The file's name in the archive."""

    number: int = 0
    """The file's place in the archive's directory, from 0: several files may have one name."""

    @property
    def name(self) -> str:
        """The file's name without folders."""
        return _inside(self.member).name if self.member else self.path.name

    @property
    def folder(self) -> Path:
        """The folder that the file is in; an archive counts as a folder."""
        return (self.path / _inside(self.member)).parent if self.member else self.path.parent

    def __str__(self) -> str:
        return f"{self.path}: {printable(self.member)}" if self.member else str(self.path)

    @contextmanager
    def opened_archive(self) -> Iterator[zipfile.ZipFile | None]:
        """Open the archive of the file, for `open`; its directory is read once for several files."""
        if not self.member:
            yield None
            return
        try:
            archive = zipfile.ZipFile(self.path)
        except Exception as error:  # broken archives raise errors of many types
            raise DataError(f"{self.path}: cannot be read ({_line(error)}); is the archive complete?") from None
        with archive:
            yield archive

    @contextmanager
    def open(self, archive: zipfile.ZipFile | None = None) -> Iterator[BinaryIO]:
        """Open the file for reading.

        Raises:
            DataError: it cannot be opened, or, also while it is read, unpacked. Other errors stay as they are.
        """
        if not self.member:
            with self._errors():
                plain = self.path.open("rb", buffering=0)
            with plain:
                yield io.BufferedReader(_Guarded(plain, self._errors))
        elif archive is None:
            with self.opened_archive() as own, self.open(own) as file:
                yield file
        else:
            with self._errors(*REFUSED):
                packed = archive.open(archive.infolist()[self.number])
            with packed:  # it is unpacked while the caller reads
                yield io.BufferedReader(_Guarded(packed, partial(self._errors, *DAMAGED)), 1 << 16)

    @contextmanager
    def _errors(self, *kinds: type[Exception]) -> Iterator[None]:
        """Turn errors of the system and ``kinds`` of errors of unpacking into one line."""
        try:
            yield
        except kinds as error:
            why = _line(error) if str(error) else "it ends too soon"
            raise DataError(f"{self}: cannot be unpacked ({why}); is the archive complete?") from None
        except OSError as error:
            raise DataError(f"{self}: cannot be read ({error.strerror or error})") from None


class _Guarded(io.RawIOBase):
    """A file whose errors become one line wherever they arise while it is read."""

    def __init__(self, file: IO[bytes], errors: Callable[[], AbstractContextManager[None]]) -> None:
        self._file, self._errors = file, errors
        self.name = file.name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def readinto(self, buffer: Any) -> int | None:
        with self._errors():
            count: int | None = self._file.readinto(buffer)  # type: ignore[attr-defined]
        return count

    def seek(self, offset: int, whence: int = 0) -> int:
        with self._errors():
            return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def entries_of(path: Path) -> list[FileEntry]:
    """The files in a zip archive, sorted by name, without hidden ones.

    Raises:
        DataError: it is not a zip archive, is encrypted, has paths that leave it, or is too large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = [(m.filename, number, m) for number, m in enumerate(archive.infolist()) if not _is_folder(m)]
    except Exception as error:  # broken archives raise errors of many types
        raise DataError(f"{path}: is not a zip archive that can be read ({_line(error)}); is it complete?") from None
    _check(path, [member for _, _, member in found])
    return [FileEntry(path, name, number) for name, number, _ in sorted(found) if not _hidden(_inside(name))]


def _check(path: Path, members: list[zipfile.ZipInfo]) -> None:
    for member in members:
        inside = _inside(member.filename)
        if inside.is_absolute() or ".." in inside.parts or not inside.parts or re.match("[A-Za-z]:", inside.parts[0]):
            raise DataError(
                f"{path}: contains a file named {member.filename!r}, whose path leaves the archive; unpack it yourself"
            )
        if member.flag_bits & 1:
            raise DataError(f"{path}: is encrypted; unpack it first")
        if member.file_size > LARGEST_MEMBER and member.file_size > DENSEST * member.compress_size:
            raise DataError(
                f"{path}: {printable(member.filename)} would unpack from {_size(member.compress_size)} to "
                f"{_size(member.file_size)}, more than images do; unpack it first if you trust it"
            )
    total = sum(member.file_size for member in members)
    if total > LARGEST_ARCHIVE or len(members) > MOST_MEMBERS:
        raise DataError(
            f"{path}: would unpack to {len(members)} files of {_size(total)}; allowed: {MOST_MEMBERS} files of "
            f"{_size(LARGEST_ARCHIVE)}; unpack it first"
        )


def _inside(name: str) -> PurePosixPath:
    """A name in an archive as a path: some programs separate folders with a backslash."""
    return PurePosixPath(name.replace("\\", "/"))


def _is_folder(member: zipfile.ZipInfo) -> bool:
    return not member.filename or member.filename.endswith(("/", "\\"))


def _hidden(inside: PurePosixPath) -> bool:
    return any(part.startswith(".") or part.upper() == "__MACOSX" for part in inside.parts)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"

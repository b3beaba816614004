"""What tells whether files are still those that a result was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from lesionsplit.errors import DataError
from lesionsplit.io.archive import FileEntry
from lesionsplit.io.files import voxels_of

BLOCK = 1 << 20
"""Bytes read at a time."""


def content(files: Iterable[Path]) -> str:
    """SHA-256 of what is in some files, in their order; their names and times do not matter.

    A time of change proves nothing: `cp -p`, `unzip` and `rsync -t` put another file of an older time into a place.

    Raises:
        OSError: one cannot be read.
    """
    stamp = hashlib.sha256()
    for path in files:
        stamp.update(f"{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                stamp.update(block)
    return stamp.hexdigest()


def files_of(entries: Sequence[FileEntry]) -> list[Path]:
    """The files of a case.

    Of a header without voxels, the file of the voxels is included. Files of a similar name are not: they may be other
    scans.
    """
    files = {entry.path for entry in entries}
    if len(entries) == 1 and not entries[0].member:
        own = entries[0].path
        with suppress(DataError):  # a broken header: the case will be refused
            files |= {path for name in voxels_of(own) if (path := own.parent / name).is_file()}
    return sorted(files)


def fingerprint(entries: Sequence[FileEntry]) -> str:
    """A digest of the name, size and time of change of a case's files, without their folders.

    Raises:
        OSError: one is not there.
    """
    stamp = hashlib.sha256()
    for file in files_of(entries):
        facts = file.stat()
        stamp.update(f"{file.name}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode(errors="surrogateescape"))
    for entry in entries:
        stamp.update(f"{entry.member}\n".encode(errors="surrogateescape"))
    return stamp.hexdigest()


def state(files: Iterable[Path]) -> str:
    """A digest that changes whenever one of some files is replaced, and also when it is moved or copied.

    Nobody can set the time at which the system changed a file's entry, but it says nothing of the content.

    Raises:
        OSError: one is not there.
    """
    facts = [file.stat() for file in files]
    return hashlib.sha256(repr([(one.st_dev, one.st_ino, one.st_ctime_ns) for one in facts]).encode()).hexdigest()

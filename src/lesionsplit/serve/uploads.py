"""A file that somebody drops on the page: a zip of DICOM files or volumes, one DICOM file, or one volume."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from lesionsplit.csvtext import printable
from lesionsplit.errors import DataError
from lesionsplit.io.archive import FileEntry, entries_of
from lesionsplit.io.files import SUFFIXES
from lesionsplit.serve.instances import IgnoredError, NoRoomError, Store
from lesionsplit.serve.metrics import Metrics


@dataclass(slots=True)
class Taken:
    """What came of an upload."""

    series: list[str] = field(default_factory=list)
    files: int = 0
    left_out: int = 0
    reason: str = ""
    """Why the last file that was left out was."""


def take_upload(path: Path, name: str, store: Store, metrics: Metrics) -> Taken:
    """Take in an uploaded file.

    Args:
        path: where it lies; it may be moved.
        name: what the user calls it.
        store: of the node.
        metrics: of the node.

    Raises:
        DataError: there is nothing in it that can be predicted.
        NoRoomError: the disk is full.
    """
    taken = Taken()
    for entry, title in _entries(path, name):
        try:
            series = _one(entry, title, store)
        except NoRoomError:  # noqa: PERF203  one answer for each file
            metrics.arrived("no room")
            raise
        except IgnoredError as error:
            metrics.arrived("ignored")
            taken.left_out, taken.reason = taken.left_out + 1, str(error)
        except DataError as error:
            metrics.arrived("refused")
            taken.left_out, taken.reason = taken.left_out + 1, str(error)
        else:
            metrics.arrived("stored")
            taken.files += 1
            if series not in taken.series:
                taken.series.append(series)
    if not taken.series:
        allowed = f"DICOM, {', '.join(SUFFIXES)}, or a .zip of them"
        raise DataError(f"{printable(name)}: {taken.reason or 'is empty'}; allowed: {allowed}")
    return taken


def _entries(path: Path, name: str) -> Iterator[tuple[FileEntry, str]]:
    """The files in what was uploaded, and what each is called."""
    if not name.lower().endswith(".zip"):
        yield FileEntry(path), name
        return
    try:
        entries = entries_of(path)
    except DataError as error:
        raise DataError(str(error).replace(str(path), printable(name))) from None
    for entry in entries:
        yield entry, entry.name


def _one(entry: FileEntry, title: str, store: Store) -> str:
    suffix = next((one for one in SUFFIXES if title.lower().endswith(one)), "")
    with entry.open() as content:
        if not suffix:
            return store.add(BytesIO(content.read()), sender="http").series
        store.check_room()
        with store.temporary() as folder:
            path = folder / f"scan{suffix}"
            with path.open("wb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
            with suppress(OSError):
                path.chmod(0o600)
            return store.add_file(path, sender="http", title=title).series

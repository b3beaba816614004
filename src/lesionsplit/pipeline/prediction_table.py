"""predictions.csv: a row for each slice, added when all of its images are written, so that a second call goes on.

predictions.json says how the predictions were made. Several processes may write to one folder: each change is made
under its lock, to what is on the disk then, and predictions made in another way are never mixed in.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from lesionsplit.atomic import cannot_write, locked
from lesionsplit.csvtext import csv_text, printable
from lesionsplit.errors import DataError
from lesionsplit.images import write_bytes
from lesionsplit.pipeline.fingerprint import content
from lesionsplit.pipeline.prediction_rows import COLUMNS, HEADER, Made, is_header, is_whole, rows_in
from lesionsplit.pipeline.result import SliceResult
from lesionsplit.pipeline.slice_files import slice_files

TABLE = "predictions.csv"
MANIFEST = "predictions.json"

LISTED = 5
"""Maximum number of names in a message."""


class NameTakenError(DataError):
    """The images of a slice would replace those of another."""


@dataclass
class PredictionTable:
    """The rows of predictions.csv."""

    out: Path
    mask_of: Callable[[Path], Path | None] | None = None
    """The file of the user's mask of a slice, if there are any."""

    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    """By the absolute path of the slice."""

    damage: str = ""
    """A line about rows of other slices that `begin` found lost; empty if there are none."""

    _made: Made = field(init=False)
    _taken: dict[str, str] = field(default_factory=dict)
    """The slices by the names of their images."""

    _prints: dict[Path, str] = field(default_factory=dict)
    """The fingerprints of slices before they were read."""

    _seen: tuple[int, ...] | None = None
    """Inode, size and time of the file whose rows are known; None if it must be written anew."""

    @property
    def path(self) -> Path:
        """predictions.csv."""
        return self.out / TABLE

    def begin(self, manifest: dict[str, str | float], paths: Sequence[Path], *, overwrite: bool) -> int:
        """Read the rows of earlier calls.

        Returns:
            How many rows of other slices than ``paths`` are removed, because their settings were different.

        Raises:
            DataError: they are of other weights, another threshold or other slices of the same names, or a file of
                this name is not one of lesionsplit.
        """
        self._made = msgspec.convert(manifest, Made)
        removed = 0
        with locked(self.out):
            self._catch_up()
            self.damage = self._lost(paths)
            changed = self._changed(known=bool(self.rows))
            if changed and not overwrite:
                raise DataError(f"{self.out}: holds predictions {changed}; choose another folder, or --overwrite")
            for path in paths:
                if other := self._other(path):
                    raise DataError(
                        f"{self.out}: holds the prediction of {other}, of the same name as {path}; choose another "
                        "folder"
                    )
            if changed:  # predictions made in another way must not be mixed with these
                removed = len(self.rows.keys() - {_key(path) for path in paths})
                self._know({})
            if self.path.exists():  # without half a line of a killed process, and with a header
                self._write(self.rows.values())
            write_bytes(self.out / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
        return removed

    def look(self, path: Path) -> str:
        """The fingerprint of a slice and its lung mask, once, before it is read; empty if they cannot be."""
        if path not in self._prints:
            try:
                mask = None if self.mask_of is None else self.mask_of(path)
                sources = [path] if mask is None else [path, mask]
                self._prints[path] = content(sources)
            except (OSError, DataError):  # the one who reads the slice says why
                return ""
        return self._prints[path]

    def has(self, path: Path) -> bool:
        """Whether a slice is done and has not changed since."""
        row = self.rows.get(_key(path))
        if row is None or not row["sha256"] or not all(map(_written, slice_files(self.out, path.stem).values())):
            return False
        return row["sha256"] == self.look(path)

    def drop(self, path: Path) -> None:
        """Remove the results of a slice that cannot be read any more.

        Raises:
            DataError: the table cannot be written.
        """
        with locked(self.out):
            self._catch_up()
            if self.rows.pop(_key(path), None):
                self._know(self.rows)
                for file in slice_files(self.out, path.stem).values():
                    file.unlink(missing_ok=True)
                self._write(self.rows.values())

    def add(self, path: Path, result: SliceResult, folder: Path) -> None:
        """Move the images of a slice from ``folder`` to their place, and add its row.

        Raises:
            NameTakenError: another process has written the prediction of another slice of this name.
            DataError: another process predicts in another way; the table cannot be written.
        """
        found = result.prediction
        values = (
            _key(path),
            "yes" if found.has_lesion else "no",
            f"{found.slice_score:.5f}",
            str(np.count_nonzero(found.mask)),
            f"{found.lesion_fraction:.5f}",
            "; ".join(result.notes),
            self._prints.get(path, ""),
        )
        with locked(self.out):
            if changed := self._changed(known=True):
                raise DataError(f"{self.out}: another process writes predictions {changed}; choose another folder")
            self._catch_up()
            if other := self._other(path):
                raise NameTakenError(
                    f"{path}: another process has written the prediction of {other}, of the same name; choose another "
                    "folder"
                )
            try:
                for file in slice_files(self.out, path.stem).values():
                    if (folder / file.name).is_file():
                        (folder / file.name).replace(file)
                    else:  # one of an earlier prediction would not belong to this row
                        file.unlink(missing_ok=True)
            except OSError as error:
                raise cannot_write(self.out, error) from None
            row = dict(zip(COLUMNS, values, strict=True))
            self.rows[_key(path)] = row
            self._taken[_stem(path)] = _key(path)
            if self._seen is None:
                self._write(self.rows.values())
            else:
                self._append(csv_text(COLUMNS, [row]).partition("\n")[2])

    def finish(self, paths: Sequence[Path]) -> None:
        """Write the table anew: this call's slices in their order, then those of earlier calls.

        Raises:
            DataError: it cannot be written.
        """
        with locked(self.out):
            self._catch_up()
            order = dict.fromkeys([*map(_key, paths), *self.rows])
            self._write(self.rows[name] for name in order if name in self.rows)

    def _changed(self, *, known: bool) -> str:
        """How the predictions on the disk were made, if in another way than these.

        Args:
            known: whether there must be a predictions.json.

        Raises:
            DataError: predictions.json was not written by lesionsplit.
        """
        path = self.out / MANIFEST
        try:
            before = msgspec.json.decode(path.read_bytes(), type=Made)
        except (FileNotFoundError, NotADirectoryError):
            return "with unknown settings, because predictions.json is missing" if known else ""
        except (OSError, ValueError, RecursionError):
            if known:
                return "with unknown settings, because predictions.json is damaged"
            raise DataError(f"{path}: is not a file of lesionsplit; move it away, or choose another folder") from None
        different = self._made.differences(before)
        return f"with another {' and '.join(different)}" if known and different else ""

    def _other(self, path: Path) -> str:
        """Another slice whose images have the names of those of this one; empty if there is none."""
        other = self._taken.get(_stem(path), "")
        return "" if other == _key(path) else other

    def _lost(self, paths: Sequence[Path]) -> str:
        """What a damaged or removed table has lost: rows of slices, not among ``paths``, whose images are there."""
        with suppress(OSError):
            if not (self.out / MANIFEST).exists() or is_whole(self.path.read_text(errors="replace")):
                return ""
        stems = {*self._taken, *map(_stem, paths)}
        end = slice_files(Path(), "")["score"].name
        lost = sorted(
            name for file in self.out.glob(f"*{end}") if (name := printable(file.name.removesuffix(end))) not in stems
        )
        if not lost:
            return ""
        some = ", ".join(lost[:LISTED]) + (f" and {len(lost) - LISTED} more" if len(lost) > LISTED else "")
        return (
            f"{self.path}: was empty, damaged or removed: it has no rows of slices whose images are there ({some}); "
            "give these slices again to get their rows"
        )

    def _know(self, rows: dict[str, dict[str, str]]) -> None:
        self.rows = rows
        self._taken = {Path(name).stem: name for name in rows}

    def _catch_up(self) -> None:
        """Read the file again if another process has changed it."""
        try:
            if _state(self.path) == self._seen:
                return
            found = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            self._seen = None
            return
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror}); choose another folder") from None
        rows = {row["slice"]: row for row in rows_in(found.decode(errors="replace"))}
        if not rows and found.strip() and not is_header(found):
            raise DataError(f"{self.path}: is not a table of predictions; move it away, or choose another folder")
        self._know(rows)
        whole = found.startswith(HEADER) and found.endswith(b"\n")
        self._seen = _state(self.path) if whole else None

    def _append(self, line: str) -> None:
        """Add a line to the file, whole or not at all."""
        try:
            with self.path.open("ab", buffering=0) as file:
                before = file.tell()
                try:
                    written = file.write(line.encode())
                    if written != len(line.encode()):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                except OSError:
                    file.truncate(before)
                    raise
            self._seen = _state(self.path)
        except OSError as error:
            raise cannot_write(self.path, error) from None

    def _write(self, rows: Iterable[dict[str, str]]) -> None:
        """Write the whole table."""
        write_bytes(self.path, csv_text(COLUMNS, rows).encode())
        self._seen = _state(self.path)


def _state(path: Path) -> tuple[int, ...]:
    facts = path.stat()
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _written(file: Path) -> bool:
    """Whether a file is there with something in it."""
    return file.is_file() and file.stat().st_size > 0


def _key(path: Path) -> str:
    """The absolute path of a slice, as the table has it; links are slices of their own, as their images have names."""
    return printable(str(path.parent.resolve() / path.name))


def _stem(path: Path) -> str:
    return Path(_key(path)).stem

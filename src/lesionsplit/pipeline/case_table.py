"""cases.csv: a row for each case, with its numbers, or the reason why there are none."""

from __future__ import annotations

import csv
import math
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from lesionsplit.atomic import locked, sweep
from lesionsplit.csvtext import csv_text, harmless
from lesionsplit.errors import DataError
from lesionsplit.images import write_bytes
from lesionsplit.io.names import unique
from lesionsplit.measurements.tables import CASE_COLUMNS, ROW
from lesionsplit.pipeline.identifiers import IDENTIFIERS

TABLE = "cases.csv"
COLUMNS = ("name", "status", "reason", *CASE_COLUMNS, *IDENTIFIERS)

DONE, INCOMPLETE, FAILED = "done", "incomplete", "failed"
"""Values of the column ``status``; ``reason`` says why a case failed, or which files are missing and why."""

MASKED_REASON = "failed; the messages of the call say why"
MASKED_NAME = re.compile(r"case-[0-9a-f]{8}|refused-[0-9a-f]{8}")

Cells: TypeAlias = dict[str, str]
"""A row by column."""


class CaseTable:
    """The rows of a call, in the order of its cases, and below them those of others; written whole after every case.

    Several processes may write to one folder: each keeps the rows of the others.
    """

    def __init__(self, out: Path, *, masked: bool) -> None:
        """In ``out``; ``masked``: without names of files, so without the reasons of failures."""
        self.path = out / TABLE
        self._masked = masked
        self._others: dict[tuple[str, str], Cells] = {}
        self.rows: dict[str, Cells] = {}

    def begin(self, others: Iterable[Cells]) -> None:
        """Write the rows so far, and those of cases that earlier calls have done.

        Their failures go, as they may have been mended, unless other processes are at work in the folder.

        Raises:
            DataError: the table cannot be written, or a file of this name is not one of lesionsplit.
        """
        with locked(self.path.parent):
            for cells in others:
                self._keep(_whole(cells))
            before = list(self._read())
            if sweep(self.path.parent, again=True):
                for cells in before:
                    self._keep(cells)
            self._write()

    def add(self, name: str, cells: Cells) -> None:
        """Add a case that has numbers; ``cells`` may say that files are missing."""
        self.rows[name] = _whole(cells | {"name": name})

    def refuse(self, name: str, why: str, *, pseudonym: bool = False) -> None:
        """Add a case that has no numbers; ``pseudonym``: its name does not identify the patient."""
        if self._masked:
            name, why = name if pseudonym else f"refused-{secrets.token_hex(4)}", MASKED_REASON
        name = name if pseudonym else unique(name, self.rows)
        self.rows[name] = {"name": name, "status": FAILED, "reason": why}

    def write(self) -> None:
        """Write the rows so far.

        Raises:
            DataError: the table cannot be written.
        """
        with locked(self.path.parent):
            for cells in self._read():
                self._keep(cells)
            self._write()

    def _write(self) -> None:
        mine = {_key(cells): cells for cells in self.rows.values()}
        theirs = {key: cells for key, cells in self._others.items() if key not in mine}
        write_bytes(self.path, csv_text(COLUMNS, [*mine.values(), *theirs.values()]).encode())

    def _keep(self, cells: Cells) -> None:
        """Keep a row of another call; if masked, only one that is masked too."""
        if self._masked and not MASKED_NAME.fullmatch(cells["name"]):
            return
        if self._masked and cells["status"] == FAILED and cells["reason"] != MASKED_REASON:
            return
        self._others[_key(cells)] = cells

    def _read(self) -> Iterator[Cells]:
        """The rows on the disk that are whole.

        Raises:
            DataError: the file is not a table of cases.
        """
        try:
            found = self.path.read_bytes().decode(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror}); choose another folder") from None
        header, *lines = found.split("\n")
        columns = header.split(",")
        if found.strip() and columns[:3] != list(COLUMNS[:3]):
            raise DataError(f"{self.path}: is not a table of cases; move it away, or choose another folder")
        for line in lines[:-1]:  # behind the last line end is half a line
            with suppress(csv.Error, StopIteration):
                cells = next(csv.reader([line]))
                row = dict.fromkeys(COLUMNS, "") | dict(zip(columns, cells, strict=False))
                if len(cells) == len(columns) and row["status"] in (DONE, INCOMPLETE, FAILED) and has_numbers(row):
                    yield {column: row[column] for column in COLUMNS}


def _whole(cells: Cells) -> Cells:
    """The columns of a row that is done, unless it says otherwise; a manifest may be of a version with others."""
    return dict.fromkeys(COLUMNS, "") | {"status": DONE} | {key: cells[key] for key in COLUMNS if key in cells}


def has_numbers(cells: Mapping[str, str]) -> bool:
    """Whether the columns of numbers have numbers or nothing: anything may have happened to a file."""
    with suppress(ValueError):
        return all(math.isfinite(float(cells.get(column) or 0)) for column, _, _ in ROW)
    return False


def _key(cells: Cells) -> tuple[str, str]:
    """What makes two rows the same: a name has results once, but may have failed for several reasons."""
    name, why = cells["name"], cells["reason"] if cells["status"] == FAILED else ""
    return str(harmless(name)), str(harmless(why))

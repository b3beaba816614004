"""cases.csv: a row a case, numbers or why there are none."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from lesionsplit.images import write_bytes
from lesionsplit.measures.tables import ROW

TABLE = "cases.csv"
COLUMNS = ("name", "status", *(column for column, _, _ in ROW))

DONE = "done"


class CaseTable:
    """The rows of a call, in the order of its cases; written whole after every case."""

    def __init__(self, out: Path, *, masked: bool) -> None:
        """In ``out``; ``masked``: without files' names, so without what is wrong with them."""
        self.path = out / TABLE
        self._masked = masked
        self.rows: dict[str, dict[str, str]] = {}

    def add(self, name: str, cells: dict[str, str]) -> None:
        """Add a case that is done."""
        self.rows[name] = cells | {"name": name, "status": DONE}

    def refuse(self, name: str, why: str) -> None:
        """Add a case of which there are no numbers."""
        if self._masked:
            name, why = (name if name.startswith("case-") else f"refused-{len(self.rows) + 1}"), "could not be read"
        self.rows[name] = {"name": name, "status": why}

    def write(self) -> None:
        """Write what there is."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(self.rows.values())
        write_bytes(self.path, text.getvalue().encode())

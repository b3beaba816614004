"""CSV text in the one form that all files of the package have."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

FORMULA: Final = ("=", "+", "-", "@")
"""First characters that make a cell a formula in a spreadsheet; tab and line ends are escaped by `printable`."""


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Rows by column as CSV with a header line; None and missing columns become empty cells.

    Text that a spreadsheet would execute gets an apostrophe in front, see `harmless`; the result can be encoded.

    Raises:
        ValueError: a row has a column that is not in ``columns``.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: harmless(cell) for column, cell in row.items()} for row in rows)
    return text.getvalue()


def harmless(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula: names come from archives and files of strangers."""
    if not isinstance(cell, str):
        return cell
    shown = printable(cell)
    return f"'{shown}" if shown.startswith(FORMULA) and not _is_number(shown) else shown


def printable(text: str) -> str:
    """Text for terminals, tables and pages: a character that cannot be printed becomes its escape, as in Python."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def decimals(value: float | None) -> str:
    """A number with six decimals; empty for None and NaN."""
    return "" if value is None or value != value else f"{value:.6f}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

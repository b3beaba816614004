"""Cells, rows and tables, independent of the format in which they are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import TypeAlias

from lesionsplit.comparison.result import Comparison, Entry
from lesionsplit.evaluation.bootstrap import Estimate, Estimates
from lesionsplit.report.comparison.names import is_upper_bound, shown_name

MISSING = "-"

DIGITS = {"false_positive_fraction": 4, "worst_normal_series": 4, "error_of_slice": 4, "error_of_healthy": 4}
"""Decimals of measures that are close to 0; others have three."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A number or a few words."""

    text: str = MISSING
    more: str = ""
    """The interval, or other small text below the number."""

    mark: bool = False
    """Whether it is bold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The numbers of an entry, of chance or of an annotator."""

    name: str
    cells: Sequence[Cell]
    upper_bound: bool = False
    reference: bool = False


Blocks: TypeAlias = Mapping[str, Sequence[Row]]
"""By heading, rows that belong together, such as all rows against one annotator; no heading for a single block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberTable:
    """A table; every row and every column has a number, except for the column of names."""

    key: str
    """For links to it."""

    caption: str
    columns: Sequence[str]
    blocks: Blocks
    notes: Sequence[str] = ()
    numeric: bool = True


def row_of(comparison: Comparison, one: Entry, cells: Sequence[Cell]) -> Row:
    """A row under the entry's name, labelled where it is an upper bound."""
    reference = one.label == comparison.reference
    return Row(name=shown_name(one), cells=cells, upper_bound=is_upper_bound(one), reference=reference)


def cells_of(numbers: Estimates, names: Iterable[str]) -> list[Cell]:
    """A cell for each measure; a dash for a missing one."""
    return [estimate_cell(numbers.get(name), DIGITS.get(name, 3)) for name in names]


def estimate_cell(estimate: Estimate | None, digits: int = 3) -> Cell:
    """A value and below it its interval, ``[0.46, 0.71]``, with one decimal less."""
    if estimate is None or estimate.value is None:
        return Cell()
    interval = ""
    if estimate.low is not None and estimate.high is not None:
        interval = f"[{estimate.low:.{digits - 1}f}, {estimate.high:.{digits - 1}f}]"
    return Cell(f"{estimate.value:.{digits}f}", interval)


def difference_cell(estimate: Estimate, digits: int = 3) -> Cell:
    """A difference and its interval, ``[+0.012, +0.071]``; bold where the interval excludes 0."""
    if estimate.value is None:
        return Cell()
    interval = ""
    if estimate.low is not None and estimate.high is not None:
        interval = f"[{signed(estimate.low, digits)}, {signed(estimate.high, digits)}]"
    return Cell(signed(estimate.value, digits), interval, mark=estimate.excludes_zero is True)


def difference_words(estimate: Estimate) -> str:
    """A difference with its interval in a sentence."""
    cell = difference_cell(estimate)
    return f"{cell.text} {cell.more}".rstrip()


def signed(number: float, digits: int) -> str:
    """``+0.12``, ``−0.12``; no sign where the number is rounded to 0."""
    text = f"{number:+.{digits}f}"
    return text[1:] if not float(text) else text.replace("-", "−")


def duration(seconds: float) -> str:
    """``48 s``, ``23 min``, ``2.1 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def grouped(count: int) -> str:
    """``19 200``."""
    return f"{count:,}".replace(",", " ")


def compact(
    key: str, caption: str, columns: Iterable[str], blocks: Blocks, *, name_left: bool = True
) -> NumberTable | None:
    """A table without the rows and columns that have no number; a note names these columns if ``name_left``."""

    def known(cells: Iterable[Cell]) -> bool:
        return any(cell.text != MISSING for cell in cells)

    kept = {heading: [row for row in rows if known(row.cells)] for heading, rows in blocks.items()}
    kept = {heading: rows for heading, rows in kept.items() if rows}
    if not kept:
        return None
    filled = [known(cells) for cells in zip(*(row.cells for rows in kept.values() for row in rows), strict=True)]
    left = [name for name, has in zip(columns, filled, strict=True) if not has]
    return NumberTable(
        key=key,
        caption=caption,
        columns=list(compress(columns, filled)),
        blocks={
            heading: [replace(row, cells=list(compress(row.cells, filled))) for row in rows]
            for heading, rows in kept.items()
        },
        notes=[f"Not measured on this data: {', '.join(left)}."] if left and name_left else [],
    )

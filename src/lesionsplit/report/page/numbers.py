"""The numbers as the page's tables: what `measures.tables` describes, arranged."""

from __future__ import annotations

from dataclasses import dataclass

from lesionsplit.measures.result import Measures
from lesionsplit.measures.tables import CASE_REGION, Described, described, lesion_rows

MOST_LESIONS = 20
"""Rows of the lesions' table; all of them are in the files beside the page."""

VALUE = "value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One number, or the reason why there is none."""

    column: str
    text: str
    missing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A number of each region, and what it means."""

    name: str
    unit: str
    cells: list[Cell]
    same: bool
    """Every cell has the same reason: it is said once."""

    meaning: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A table of numbers that have a meaning each."""

    name: str
    columns: list[str]
    rows: list[Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesions:
    """A table of the largest lesions, a row each."""

    name: str
    columns: list[tuple[str, str]]
    """Name and unit."""

    rows: list[list[Cell]]
    meanings: list[tuple[str, str]]
    """Of the columns."""

    left_out: list[tuple[str, str]]
    """Columns without any number, and why."""


def groups(measures: Measures) -> list[Group]:
    """The numbers of the regions, and those of the whole scan."""
    numbers = described(measures)
    regions = [one for one in numbers if CASE_REGION not in one.values]
    scan = [one for one in numbers if CASE_REGION in one.values]
    return [
        Group(
            name="Lungs and lesion",
            columns=[_capital(region.name) for region in measures.regions],
            rows=[_row(one) for one in regions],
        ),
        Group(name="The whole scan", columns=[_capital(VALUE)], rows=[_row(one) for one in scan]),
    ]


def lesions(measures: Measures) -> Lesions | None:
    """The largest lesions, None where there is none."""
    columns, rows = lesion_rows(measures)
    if not rows:
        return None
    shown = rows[:MOST_LESIONS]
    kept = [place for place in range(len(columns)) if not all(_missing(row[place]) for row in rows)]
    more = f", {len(shown)} of {measures.lesion_count}" if measures.lesion_count > len(shown) else ""
    return Lesions(
        name=f"The largest lesions{more}",
        columns=[(_capital(columns[place].definition.name), columns[place].definition.unit) for place in kept],
        rows=[[_cell(_capital(columns[place].definition.name), row[place]) for place in kept] for row in shown],
        meanings=[(_capital(columns[place].definition.name), columns[place].explanation) for place in kept],
        left_out=[
            (_capital(column.definition.name), rows[0][place])
            for place, column in enumerate(columns)
            if place not in kept
        ],
    )


def _row(one: Described) -> Row:
    cells = [_cell(region if region != CASE_REGION else "", text) for region, text in one.values.items()]
    texts = {cell.text for cell in cells}
    return Row(
        name=_capital(one.definition.name),
        unit=one.definition.unit,
        cells=cells,
        same=len(texts) == 1 and cells[0].missing,
        meaning=one.explanation,
        source=one.definition.source,
    )


def _cell(column: str, text: str) -> Cell:
    return Cell(column=column, text=text.replace("-", "−") if not _missing(text) else text, missing=_missing(text))


def _missing(text: str) -> bool:
    """Reasons say so; numbers, sides and lobes have no colon."""
    return text.startswith(("not available:", "not computed:"))


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]

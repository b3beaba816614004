"""Cells, rows and tables, whichever way they are written: words, arranged once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lesionsplit.evaluation.bootstrap import Estimate
from lesionsplit.report.comparison.names import is_upper_bound, shown_name
from lesionsplit.report.comparison.numbers import excludes_zero
from lesionsplit.report.tables import MISSING
from lesionsplit.study.comparison import Comparison, Contestant

PERCENT = {"share_of_lung_fired"}
"""Measures that are told in hundredths."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A number or a few words."""

    text: str = MISSING
    more: str = ""
    """Its interval, or what else stands smaller below it."""

    mark: bool = False
    """Whether it is to stand out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An entry's numbers, or chance's, or an annotator's."""

    name: str
    cells: tuple[Cell, ...]
    upper_bound: bool = False
    reference: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows that belong together, such as all against one annotator."""

    heading: str
    """Empty where there is one block only."""

    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberTable:
    """A table; no row, and no column but the names', is without any number."""

    key: str
    """For links to it."""

    caption: str
    columns: tuple[str, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()
    numeric: bool = True


def row_of(comparison: Comparison, one: Contestant, cells: tuple[Cell, ...]) -> Row:
    """A row under the entry's name, labelled where it is an upper bound."""
    reference = one.label == comparison.reference
    return Row(name=shown_name(one), cells=cells, upper_bound=is_upper_bound(one), reference=reference)


def cells_of(numbers: Mapping[str, Estimate], names: Iterable[str]) -> tuple[Cell, ...]:
    """A cell for each measure; a dash for one that there is not."""
    return tuple(estimate_cell(numbers.get(name), percent=name in PERCENT) for name in names)


def estimate_cell(estimate: Estimate | None, *, percent: bool = False) -> Cell:
    """A value over its interval."""
    if estimate is None or estimate.value is None:
        return Cell()
    scale, digits = (100, 2) if percent else (1, 3)
    return Cell(f"{estimate.value * scale:.{digits}f}", interval(estimate, scale=scale))


def difference_cell(estimate: Estimate, *, percent: bool = False) -> Cell:
    """The same with its sign, marked where the interval excludes 0."""
    if estimate.value is None:
        return Cell()
    scale, digits = (100, 2) if percent else (1, 3)
    text = signed(estimate.value * scale, digits)
    return Cell(text, interval(estimate, scale=scale, plus=True), mark=excludes_zero(estimate) is True)


def interval(estimate: Estimate, *, scale: float = 1, plus: bool = False) -> str:
    """``[0.46, 0.71]``; nothing where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    low, high = (number * scale for number in (estimate.low, estimate.high))
    if plus:  # so fine that what excludes 0 is seen to
        digits = 3 if scale == 1 else 2
        return f"[{signed(low, digits)}, {signed(high, digits)}]"
    return f"[{low:.2f}, {high:.2f}]"


def signed(number: float, digits: int) -> str:
    """``+0.12``, ``−0.12``; no sign before what rounds to 0."""
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
    key: str, caption: str, columns: tuple[str, ...], blocks: Sequence[Block], *, say_left: bool = True
) -> NumberTable | None:
    """Without rows and columns that have no number anywhere, which are named below it if ``say_left``."""

    def known(row: Row) -> bool:
        return any(cell.text != MISSING for cell in row.cells)

    kept = [replace(block, rows=tuple(filter(known, block.rows))) for block in blocks]
    kept = [block for block in kept if block.rows]
    rows = [row for block in kept for row in block.rows]
    if not rows:
        return None
    places = [at for at in range(len(columns)) if any(row.cells[at].text != MISSING for row in rows)]
    left = [name for at, name in enumerate(columns) if at not in places]

    def narrow(row: Row) -> Row:
        return replace(row, cells=tuple(row.cells[at] for at in places))

    return NumberTable(
        key=key,
        caption=caption,
        columns=tuple(columns[at] for at in places),
        blocks=tuple(replace(block, rows=tuple(map(narrow, block.rows))) for block in kept),
        notes=(f"Left out, for there is nothing to measure it on: {', '.join(left)}.",) if left and say_left else (),
    )

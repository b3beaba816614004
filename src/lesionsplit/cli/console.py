"""What a person sees on the terminal: progress on a terminal, plain lines elsewhere."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from lesionsplit.csvtext import printable
from lesionsplit.progress import Item

if TYPE_CHECKING:
    from lesionsplit.training.record import Measurement

MOST = 40
"""Cases shown on the terminal."""

SHOWN = {
    "lung_ml": "lung mL",
    "lesion_ml": "lesion mL",
    "opacity_percent": "% of lung",
    "right_opacity_percent": "right",
    "left_opacity_percent": "left",
    "lesions": "lesions",
}
"""Columns of the table of cases that are shown, and their headings."""

PAUSE = 15.0
"""Seconds between plain lines where there is no terminal to draw on."""

console = Console(stderr=True, highlight=False)

errors = Console(stderr=True, highlight=False)
"""For what is shown with --quiet too."""


def say(text: str) -> None:
    """A line for the person, on stderr: stdout is for results."""
    console.print(printable(text), soft_wrap=True, markup=False)


def warn(text: str) -> None:
    """A line about a failure or a doubt, on stderr, with --quiet too."""
    errors.print(printable(text), soft_wrap=True, markup=False)


def be_quiet() -> Callable[[], None]:
    """Show failures and results only; returns what ends it."""
    console.quiet = True

    def end() -> None:
        console.quiet = False

    return end


def bar(items: Iterable[Item], total: int, title: str) -> Iterable[Item]:
    """Show how far a loop is, with the time left."""
    if not console.is_terminal:
        yield from _plain(items, total, title)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield from progress.track(items, total=total, description=title)


def _plain(items: Iterable[Item], total: int, title: str) -> Iterable[Item]:
    last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - last > PAUSE:
            say(f"{title}: {done} of {total}")
            last = now
        yield item


def case_table(path: Path) -> None:
    """Show the numbers that people look for first in a table of cases; nothing but them."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("case", overflow="fold")
    for heading in SHOWN.values():
        table.add_column(heading, justify="right")
    table.add_column("notes", justify="right")
    for row in rows[:MOST]:
        if row["status"] == "failed":
            table.add_row(Text(row["name"]), "failed")
        else:
            notes = [*filter(None, (row["reason"], *row["notes"].split("; ")))]
            table.add_row(Text(row["name"]), *(_rounded(row[column]) for column in SHOWN), str(len(notes) or ""))
    errors.print(table)
    if any(row["notes"] for row in rows):
        say(f"what makes the numbers doubtful: column notes of {path}, and the report of each scan")
    if len(rows) > MOST:
        say(f"... and {len(rows) - MOST} more: {path}")


def _rounded(cell: str) -> str:
    try:
        return cell if cell.isdigit() else f"{float(cell):.1f}"
    except ValueError:
        return "-" if cell else ""


class TrainingLine:
    """One line that follows training: step, terms of the loss, slices a second, time left."""

    def __init__(self, steps: int, later: float = 0.0) -> None:
        """``later``: the cost of what follows this training, in its steps; the time left includes it."""
        self._steps = steps
        self._later = later
        self._last = 0.0
        self._start: tuple[int, float] | None = None

    def __call__(self, measured: Measurement) -> None:
        """Show a measurement; without a terminal, now and then."""
        if console.quiet:
            return
        text = self._text(measured)
        last = measured.step == self._steps
        if console.is_terminal:
            width = console.width - 1
            sys.stderr.write("\r" + text[:width].ljust(width) + ("\n" if last else ""))
            sys.stderr.flush()
        elif last or time.monotonic() - self._last > PAUSE:
            self._last = time.monotonic()
            say(text)

    def _text(self, measured: Measurement) -> str:
        self._start = self._start or (measured.step, measured.seconds)
        steps, seconds = measured.step - self._start[0], measured.seconds - self._start[1]
        left = self._steps - measured.step + self._later
        time_left = f"{timedelta(seconds=round(left * seconds / steps))} left" if steps else ""
        terms = "  ".join(f"{name} {value:.3g}" for name, value in measured.terms.items())
        return f"step {measured.step}/{self._steps}  {terms}  {measured.slices_per_second:.1f} slices/s  {time_left}"

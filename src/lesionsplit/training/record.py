"""The measurements of a run: a CSV file, and TensorBoard where it is installed."""

from __future__ import annotations

import csv
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lesionsplit.csvtext import csv_text
from lesionsplit.errors import DivergedError, RunError
from lesionsplit.images import write_bytes
from lesionsplit.losses import Terms
from lesionsplit.models.card import first_line

COLUMNS = ("step", "seconds", "slices_per_second")
"""Columns before those of the terms of the loss."""

FILE = "metrics.csv"


@dataclass(frozen=True, slots=True)
class Measurement:
    """Averages over the steps since the last measurement."""

    step: int
    seconds: float
    """Since the start of the run, without pauses."""

    slices_per_second: float
    terms: dict[str, float]


class Record:
    """Averages the terms of the loss and writes them."""

    def __init__(self, folder: Path | None, *, slices_a_step: int, step: int = 0, seconds: float = 0.0) -> None:
        """Continue the record in ``folder`` after ``step``; without a folder nothing is written.

        Raises:
            RunError: the record in the folder is damaged.
        """
        self._folder = folder
        self._slices_a_step = slices_a_step
        self._step = step
        self._seconds = seconds
        self._clock = time.perf_counter()
        self._sums: Terms = {}
        self._counts: dict[str, int] = {}
        self._rows: list[dict[str, str]] = []
        self._board: Any = None
        if folder is not None:
            self._rows = [row for row in _read_rows(folder / FILE) if int(row["step"]) <= step]
            self._board = _tensorboard(folder / "tensorboard", purge_step=step)

    def add(self, terms: Terms) -> None:
        """Add one step's terms; they stay on the device until `flush`."""
        for name, term in terms.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(term)) + term
            self._counts[name] = self._counts.get(name, 0) + 1

    def flush(self, step: int) -> Measurement:
        """Average and write the terms added since the last time.

        Raises:
            DivergedError: a term is not finite; nothing is written.
        """
        terms = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        for name, value in terms.items():
            if not math.isfinite(value):
                raise DivergedError(
                    f"the term {name!r} of the loss is {value} between steps {self._step} and {step}; "
                    "the last good checkpoint is kept: lower a learning rate or a weight and start a new run"
                )
        now = time.perf_counter()
        elapsed = max(now - self._clock, 1e-9)
        self._seconds += elapsed
        measured = Measurement(step, self._seconds, (step - self._step) * self._slices_a_step / elapsed, terms)
        self._clock, self._step, self._sums, self._counts = now, step, {}, {}
        self._write(measured)
        return measured

    def close(self) -> None:
        """Close the file of TensorBoard."""
        if self._board is not None:
            self._board.close()

    def _write(self, measured: Measurement) -> None:
        row = {"step": str(measured.step), "seconds": f"{measured.seconds:.1f}"}
        row["slices_per_second"] = f"{measured.slices_per_second:.2f}"
        self._rows.append(row | {name: f"{value:.6g}" for name, value in measured.terms.items()})
        if self._folder is not None:
            _write_rows(self._folder / FILE, self._rows)
        if self._board is not None:
            for name, value in measured.terms.items():
                self._board.add_scalar(f"loss/{name}", value, measured.step)
            self._board.add_scalar("slices per second", measured.slices_per_second, measured.step)


def _read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a record, every cell checked.

    Raises:
        RunError: the file is damaged.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            columns, *cells = csv.reader(file, strict=True)
        rows = [dict(zip(columns, row, strict=True)) for row in cells]
        steps = [int(row["step"]) for row in rows]
        numbers = [float(cell) for row in rows for cell in row.values() if cell]
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise _damaged(path, first_line(error)) from None
    if len(set(columns)) < len(columns) or not {*COLUMNS} <= {*columns}:
        raise _damaged(path, f"its columns are {', '.join(columns)}"[:120])
    if steps != sorted(set(steps)) or not all(map(math.isfinite, numbers)):
        raise _damaged(path, "a step is out of order, or a number is not finite")
    return rows


def _damaged(path: Path, why: str) -> RunError:
    return RunError(f"{path}: is damaged ({why}); move it away, and the run goes on with a new one")


def _write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """Write the whole table: a killed run leaves no partial row, and a term may first occur late."""
    columns = list(dict.fromkeys((*COLUMNS, *(name for row in rows for name in row))))
    write_bytes(path, csv_text(columns, rows).encode())


def _tensorboard(folder: Path, purge_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # an optional dependency; the CSV file has the same numbers
        return None
    return SummaryWriter(folder, purge_step=purge_step)

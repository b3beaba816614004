"""What a run measures, step by step: a CSV file always, TensorBoard where it is installed."""

from __future__ import annotations

import csv
import io
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lesionsplit.errors import DivergedError
from lesionsplit.images import write_bytes
from lesionsplit.losses import Terms

COLUMNS = ("step", "seconds", "slices_per_second")
"""Before the terms of the loss, whichever they are."""


FILE = "metrics.csv"


@dataclass(frozen=True, slots=True)
class Measurement:
    """Averages over the steps since the last one."""

    step: int
    seconds: float
    """Since the run began, pauses left out."""

    slices_per_second: float
    terms: dict[str, float]


class Record:
    """Averages the terms of the loss and writes them down."""

    def __init__(self, folder: Path | None, *, slices_a_step: int, step: int = 0, seconds: float = 0.0) -> None:
        """Continue the record in ``folder`` after ``step``; with no folder, write nothing."""
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
        """Average and write what was added since the last time.

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
        """Let TensorBoard finish its file."""
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
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """The whole table at once: a killed run leaves no half row, and a term may turn up late."""
    columns = dict.fromkeys((*COLUMNS, *(name for row in rows for name in row)))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def _tensorboard(folder: Path, purge_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # an extra; the CSV file holds the same numbers
        return None
    return SummaryWriter(folder, purge_step=purge_step)

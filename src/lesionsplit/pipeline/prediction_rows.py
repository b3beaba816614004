"""What predictions.csv and predictions.json hold; checked when they are read, as anything may have happened to them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from lesionsplit.csvtext import csv_text
from lesionsplit.settings import Fraction, NonNegativeInt


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of predictions.csv."""

    slice: str
    """Its absolute path."""

    lesion: Literal["yes", "no"]
    """``yes`` where the slice counts as one with lesion; see `scores.CALLED_NORMAL`."""

    slice_score: Fraction
    lesion_pixels: NonNegativeInt
    lesion_fraction: Fraction
    notes: str = ""
    """What makes the row doubtful."""

    sha256: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    """Of the slice, and of its lung mask if that was given; empty in tables of versions before 0.3.0."""


COLUMNS = Row.__struct_fields__
BEFORE = COLUMNS[:-2]
"""Columns of tables of versions before 0.3.0."""

HEADER = csv_text(COLUMNS, []).encode()


class Made(msgspec.Struct, frozen=True):
    """The content of predictions.json: the settings of the predictions."""

    weights: str
    threshold: Fraction
    lungs: str = ""
    region: str = ""
    """Instead of ``lungs``, for images of other things."""

    lesionsplit: str = ""

    def differences(self, other: Made) -> list[str]:
        """What was different, for people."""
        names = {"weights": "weights", "threshold": "threshold", "lungs": "lungs", "region": "region"}
        names["lesionsplit"] = "version"
        return [said for key, said in names.items() if getattr(self, key) != getattr(other, key)]


def rows_in(text: str) -> Iterator[dict[str, str]]:
    """The rows of a table that are whole; the others are predicted again."""
    lines = text.split("\n")[:-1]  # what stands behind the last line end is half a line
    columns = BEFORE if lines and lines[0].split(",") == list(BEFORE) else COLUMNS
    for line in lines:
        with suppress(csv.Error, StopIteration, msgspec.ValidationError):
            cells = next(csv.reader([line]))
            if len(cells) == len(columns):
                row = dict.fromkeys(COLUMNS, "") | dict(zip(columns, cells, strict=True))
                msgspec.convert(row, Row, strict=False)
                yield row


def is_whole(found: str) -> bool:
    """Whether a table has its header and no damaged line; half a line at its end is of a killed process."""
    lines = found.split("\n")[:-1]
    return is_header(found.encode()) and len(list(rows_in(found))) == len(lines) - 1


def is_header(found: bytes) -> bool:
    """Whether a file begins as a table of predictions does, or is the beginning of one."""
    headers = (HEADER, csv_text(BEFORE, []).encode())
    return any(found.startswith(header) or header.startswith(found) for header in headers)

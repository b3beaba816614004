"""The files of an evaluation: numbers, curves and pages of slices.

FOLDER/
metrics.json, metrics.csv   every number; metrics.md has them as tables
per_slice.csv               a row for each slice
precision-recall, dice, reliability   curves, as PNG and SVG
examples.png, worst.png, random.png   slices with outlines, heat map, healthy version and lesion found
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from lesionsplit.comparison.result import Comparison
from lesionsplit.csvtext import csv_text, decimals
from lesionsplit.data.table import Table
from lesionsplit.evaluation.slices import SliceNumbers
from lesionsplit.images import write_bytes
from lesionsplit.report.comparison import captions as words
from lesionsplit.report.comparison.numbers import named, to_csv
from lesionsplit.report.comparison.plots import can_draw, write_figure
from lesionsplit.report.comparison.tables import (
    against_table,
    annotators_table,
    healthy_table,
    reliability_table,
    removal_table,
    slices_table,
)
from lesionsplit.report.comparison.unbiased import cross_table
from lesionsplit.report.comparison.writers import to_markdown

MEASURES = {
    "ap": "average_precision",
    "dice": "dice",
    "missed": "missed",
    "false": "false",
    "wrong_of_lung": "wrong",
}
"""Columns of `per_slice.csv` for each annotator, and their names in `AgainstOutline`."""


def write_numbers(folder: Path, comparison: Comparison) -> None:
    """Write the numbers, those of each slice for the reference.

    Raises:
        DataError: a file cannot be written.
    """
    parts = {
        "metrics.json": named(json.dumps(msgspec.to_builtins(comparison.evaluation), indent=2) + "\n", comparison),
        "metrics.csv": to_csv(comparison),
        "metrics.md": tables_as_text(comparison),
        "per_slice.csv": named(
            slices_to_csv(comparison.accumulators[comparison.reference].slices, comparison.table), comparison
        ),
    }
    for name, text in parts.items():
        write_bytes(folder / name, text.encode())


def write_curves(folder: Path, comparison: Comparison) -> bool:
    """Write the curves as PNG and SVG; False without matplotlib, which they need.

    Raises:
        DataError: a file cannot be written.
    """
    if not can_draw():
        return False
    from lesionsplit.report.comparison.figures import curves_figure, dice_figure, reliability_figure

    write_figure(folder, "precision-recall", curves_figure(comparison, "methods"))
    write_figure(folder, "dice", dice_figure(comparison))
    write_figure(folder, "reliability", reliability_figure(comparison))
    return True


def tables_as_text(comparison: Comparison) -> str:
    """The tables as Markdown, with the conventions first."""
    tables = (
        against_table(comparison),
        cross_table(comparison),
        annotators_table(comparison),
        slices_table(comparison),
        reliability_table(comparison),
        healthy_table(comparison),
        removal_table(comparison),
    )
    supervision = (f"Supervision of {one.label}: {one.supervision}." for one in comparison.entries)
    scope = [words.scope(comparison), words.conventions(comparison), *supervision]
    return to_markdown(comparison.config.title, scope, [table for table in tables if table is not None])


def slices_to_csv(slices: Sequence[SliceNumbers], table: Table) -> str:
    """A row for each slice, with its numbers against each annotator at the stored threshold.

    Args:
        slices: one method's numbers for slices of the table.
        table: its root, to which images are relative, and its annotators; normal slices have no numbers of these.
    """
    columns = ["image", "series", "label", "slice_score", "lesion_fraction"]
    columns += [f"{measure}_{name}" for name in table.annotators for measure in MEASURES]
    return csv_text(columns, _slice_rows(slices, table))


def _slice_rows(slices: Sequence[SliceNumbers], table: Table) -> Iterator[dict[str, str]]:
    for one in slices:
        yield {
            "image": Path(os.path.relpath(one.row.image, table.root)).as_posix(),
            "series": one.row.series,
            "label": one.row.label,
            "slice_score": decimals(one.score),
            "lesion_fraction": decimals(one.lesion_fraction),
            **{
                f"{measure}_{name}": decimals(getattr(against, attribute))
                for name, against in one.against.items()
                for measure, attribute in MEASURES.items()
            },
        }

"""The numbers as files and as tables; names, units and explanations come from `measures.definitions`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from lesionsplit.measures.definitions import CASE, LESION, REGION, Definition
from lesionsplit.measures.result import LEFT_LUNG, LUNGS, RIGHT_LUNG, Lesion, Measures, Missing, Region

COLUMNS = ("region", "measure", "value", "unit", "why_missing")

CASE_REGION = "scan"
"""Names, among regions, what is of the whole scan."""

ROW = (
    ("lung_ml", LUNGS, "lung_ml"),
    ("lesion_ml", LUNGS, "lesion_ml"),
    ("opacity_percent", LUNGS, "opacity_percent"),
    ("right_opacity_percent", RIGHT_LUNG, "opacity_percent"),
    ("left_opacity_percent", LEFT_LUNG, "opacity_percent"),
    ("high_opacity_percent", LUNGS, "high_opacity_percent"),
    ("ground_glass_ml", LUNGS, "ground_glass_ml"),
    ("consolidation_ml", LUNGS, "consolidation_ml"),
    ("lesions", CASE_REGION, "lesion_count"),
    ("largest_axial_diameter_mm", CASE_REGION, "largest_axial_diameter_mm"),
    ("severity_score", CASE_REGION, "severity_score"),
    ("highest_slice_score", CASE_REGION, "highest_slice_score"),
)
"""Columns of the table over all cases: its name there, the region, the number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A number for people to read."""

    definition: Definition
    explanation: str
    """With the ranges that were used."""

    values: dict[str, str]
    """By region, rounded, without the unit; the reason where there is no number."""


def to_json(measures: Measures) -> str:
    """Everything, nested; a number that there is not is ``{"missing": reason}``."""
    return json.dumps(msgspec.to_builtins(measures), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(measures: Measures) -> str:
    """One row a number: region, measure, value, unit, and why there is no value where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for region, holder, definitions in _holders(measures):
        for definition in definitions:
            value = getattr(holder, definition.key)
            if isinstance(value, Missing):
                writer.writerow((region, definition.key, "", definition.unit, value.missing))
            else:
                writer.writerow((region, definition.key, _exact(value), definition.unit, ""))
    return text.getvalue()


def row(measures: Measures) -> dict[str, str]:
    """A line of the table over all cases: its columns, in order, and what stands in them."""
    cells = {"name": measures.name}
    for column, region, key in ROW:
        holder = measures if region == CASE_REGION else measures.region(region)
        value = getattr(holder, key)
        cells[column] = value.missing if isinstance(value, Missing) else _exact(value)
    return cells


def described(measures: Measures) -> list[Described]:
    """Every number of the regions, then of the scan, for people to read; the lesions are in `lesion_rows`."""
    found = []
    for definition in REGION:
        values = {region.name: show(getattr(region, definition.key), definition) for region in measures.regions}
        found.append(_described(definition, values, measures))
    for definition in CASE:
        values = {CASE_REGION: show(getattr(measures, definition.key), definition)}
        found.append(_described(definition, values, measures))
    return found


def lesion_rows(measures: Measures) -> tuple[list[Described], list[list[str]]]:
    """The table of the largest lesions for people to read: its columns, and a row of cells a lesion."""
    columns = [_described(definition, {}, measures) for definition in LESION]
    rows = [[show(getattr(one, column.key), column) for column in LESION] for one in measures.lesions]
    return columns, rows


def show(value: object, definition: Definition) -> str:
    """A number rounded to what means something, without its unit; or the reason why there is none."""
    if isinstance(value, tuple):
        return ", ".join(show(one, definition) for one in value)
    if isinstance(value, float):
        shown = f"{value:.{definition.digits}f}"
        return shown.removeprefix("-") if float(shown) == 0 else shown
    return str(value)


def _holders(measures: Measures) -> Iterator[tuple[str, Measures | Region | Lesion, tuple[Definition, ...]]]:
    for region in measures.regions:
        yield region.name, region, REGION
    yield CASE_REGION, measures, CASE
    for lesion in measures.lesions:
        yield f"lesion {lesion.number}", lesion, LESION[1:]


def _described(definition: Definition, values: dict[str, str], measures: Measures) -> Described:
    return Described(definition=definition, explanation=definition.explain(measures.settings), values=values)


def _exact(value: object) -> str:
    """For machines: six digits, whole numbers whole."""
    if isinstance(value, tuple):
        return " ".join(map(_exact, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)

"""Write measurements as JSON, CSV and tables; names, units and explanations are in `measurements.definitions`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from lesionsplit.csvtext import csv_text
from lesionsplit.measurements.definitions import CASE, LESION, REGION, ZONE, Definition
from lesionsplit.measurements.result import LEFT_LUNG, LUNGS, RIGHT_LUNG, Lesion, Measurements, Missing, Region, Zone

COLUMNS = ("region", "measure", "value", "unit", "text", "why_missing")
"""Of report.csv: ``value`` is a number or empty, ``text`` a word such as the name of a lobe or empty."""

CASE_REGION = "scan"
"""The region of measurements of the whole scan."""

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
    ("zone_score", CASE_REGION, "zone_score"),
    ("highest_slice_score", CASE_REGION, "highest_slice_score"),
)
"""Number columns of cases.csv: name, region, measure."""

CASE_COLUMNS = (*(column for column, _, _ in ROW), "why_missing", "notes")
"""Columns of cases.csv with measurements: numbers or empty, the reasons for empty ones, what makes them doubtful."""


Holder: TypeAlias = Measurements | Region | Zone | Lesion


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A measure for human readers."""

    definition: Definition
    explanation: str
    """With the ranges of HU that were used."""

    values: dict[str, str]
    """By region or lesion, rounded, without unit; the reason if there is no number."""


def to_json(measures: Measurements, identifiers: Mapping[str, str] | None = None) -> str:
    """All measurements, nested; a missing value is ``{"missing": reason}``. ``identifiers`` become ``scan``."""
    plain = ({"scan": dict(identifiers)} if identifiers else {}) | msgspec.to_builtins(measures)
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(measures: Measurements) -> str:
    """One row per measure, see `COLUMNS`; a centre in space has a row for each of x, y and z."""
    return csv_text(COLUMNS, (dict(zip(COLUMNS, cells, strict=True)) for cells in _rows(measures)))


def _rows(measures: Measurements) -> Iterator[tuple[str, ...]]:
    for region, holder, definitions in _holders(measures):
        for definition in definitions:
            for key, value in _scalars(definition.key, getattr(holder, definition.key)):
                missing = value.missing if isinstance(value, Missing) else ""
                text = value if isinstance(value, str) else ""
                number = "" if missing or text else _exact(value)
                yield region, key, number, definition.unit, text, missing


def row(measures: Measurements) -> dict[str, str]:
    """A row of cases.csv: the name and `CASE_COLUMNS`."""
    cells, reasons = {"name": measures.name}, []
    for column, region, key in ROW:
        holder = measures if region == CASE_REGION else measures.region(region)
        value = getattr(holder, key)
        cells[column] = "" if isinstance(value, Missing) else _exact(value)
        if isinstance(value, Missing):
            reasons.append(f"{column} {value.missing}")
    return cells | {"why_missing": "; ".join(reasons), "notes": "; ".join(measures.notes)}


def described(measures: Measurements) -> tuple[list[Described], list[Described], list[Described]]:
    """For human readers, all measures of the regions, of the scan, and of the largest lesions, by number."""

    def of(definitions: tuple[Definition, ...], holders: Mapping[str, Holder]) -> list[Described]:
        return [
            Described(
                definition=one,
                explanation=one.explain(measures.settings),
                values={name: show(getattr(holder, one.key), one) for name, holder in holders.items()},
            )
            for one in definitions
        ]

    regions = {region.name: region for region in measures.regions}
    lesions = {str(lesion.number): lesion for lesion in measures.lesions}
    return of(REGION, regions), of(CASE, {CASE_REGION: measures}), of(LESION, lesions)


def show(value: object, definition: Definition) -> str:
    """A number rounded to meaningful digits, without unit; or the reason why there is none."""
    if isinstance(value, tuple):
        return ", ".join(show(one, definition) for one in value)
    if isinstance(value, float):
        shown = f"{value:.{definition.digits}f}"
        return shown.removeprefix("-") if float(shown) == 0 else shown
    return str(value)


def _holders(measures: Measurements) -> Iterator[tuple[str, Holder, tuple[Definition, ...]]]:
    for region in measures.regions:
        yield region.name, region, REGION
    yield CASE_REGION, measures, CASE
    for zone in measures.zones:
        yield zone.name, zone, ZONE
    for lesion in measures.lesions:
        yield f"lesion {lesion.number}", lesion, LESION[1:]


def _scalars(key: str, value: object) -> Iterator[tuple[str, object]]:
    """A measure, or the three components of a point in space."""
    if not key.endswith("_ras_mm"):
        yield key, value
        return
    for axis, name in enumerate("xyz"):
        yield f"{key}_{name}", value[axis] if isinstance(value, tuple) else value


def _exact(value: object) -> str:
    """Six significant digits; integers unchanged."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)

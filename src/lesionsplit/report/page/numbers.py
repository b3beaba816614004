"""The page's numbers: the main ones in large type, and the tables of those that `measurements.tables` describes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lesionsplit.measurements.result import LEFT_LUNG, LUNGS, RIGHT_LUNG, Measurements, Missing
from lesionsplit.measurements.tables import Described, described
from lesionsplit.volumes.decomposed import LeftOut

MOST_LESIONS = 20
"""The most rows of the lesions' table; the files beside the page have all lesions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number in large type."""

    name: str
    value: str
    unit: str = ""
    more: str = ""
    missing: bool = False


def figures(measures: Measurements) -> list[Figure]:
    """Volume, fraction of the lungs, number of lesions, a score of severity and most affected slice."""
    both, right, left = (measures.region(name) for name in (LUNGS, RIGHT_LUNG, LEFT_LUNG))
    diameter = measures.largest_axial_diameter_mm
    affected = measures.most_affected_slice
    return [
        _figure("Lesion volume", both.lesion_ml, "mL", f"of {with_unit(both.lung_ml, 'mL')} lung"),
        _figure(
            "Share of both lungs",
            both.opacity_percent,
            "%",
            f"right {with_unit(right.opacity_percent, '%')}, left {with_unit(left.opacity_percent, '%')}",
        ),
        _figure(
            "Lesions",
            measures.lesion_count,
            "",
            f"largest across {with_unit(diameter, 'mm')}" if not isinstance(diameter, Missing) else "",
        ),
        _figure("CT severity score", measures.severity_score, "of 25", "")
        if not isinstance(measures.severity_score, Missing)
        else _figure("Zone score", measures.zone_score, "of 24", "estimated: thirds of each lung's height"),
        _figure(
            "Most affected slice",
            affected,
            f"of {measures.slices}",
            f"{with_unit(measures.most_affected_percent, '%')} of its lung"
            if not isinstance(affected, Missing)
            else "",
        ),
    ]


def with_unit(value: float | Missing, unit: str = "") -> str:
    """A number with three significant digits and its unit, or the reason why it is missing."""
    return str(value) if isinstance(value, Missing) else f"{_digits(value)} {unit}".rstrip()


def _figure(name: str, value: float | Missing, unit: str, more: str) -> Figure:
    if isinstance(value, Missing):
        return Figure(name=name, value=str(value), missing=True)
    return Figure(name=name, value=str(value) if isinstance(value, int) else _digits(value), unit=unit, more=more)


def _digits(value: float) -> str:
    """Three significant digits, without exponent and with at most two decimals."""
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"


def tables(measures: Measurements) -> dict[str, Any]:
    """The template's variables: the measures of the regions and of the whole scan, and the largest lesions."""
    regions, scan, lesions = described(measures)
    return {
        "numbers": [
            ("Lungs and lesion", [region.name for region in measures.regions], regions),
            ("The whole scan", ["value"], scan),
        ],
        "lesions": _lesions(measures, lesions) if measures.lesions else None,
        "left_out": [_left_out(one) for one in measures.left_out],
    }


def _left_out(one: LeftOut) -> tuple[str, ...]:
    """Volume, lung, slices, density and reason."""
    slices = f"{one.first_slice} to {one.last_slice}" if one.last_slice > one.first_slice else str(one.first_slice)
    return with_unit(one.volume_ml), one.side, slices, f"{one.mean_hu:.0f}".replace("-", "−"), one.cause


def _lesions(measures: Measurements, columns: list[Described]) -> dict[str, Any]:
    kept = [column for column in columns if not all(map(is_missing, column.values.values()))]
    rows = list(zip(*(column.values.values() for column in kept), strict=True))
    shown = rows[:MOST_LESIONS]
    more = f", {len(shown)} of {measures.lesion_count}" if measures.lesion_count > len(shown) else ""
    return {
        "name": f"The largest lesions{more}",
        "columns": kept,
        "rows": shown,
        "left_out": [column for column in columns if column not in kept],
    }


def is_missing(text: str) -> bool:
    """Whether a text is the reason for a missing number."""
    return text.startswith(("not available:", "not computed:"))

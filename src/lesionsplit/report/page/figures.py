"""The few numbers that stand large at the head of the page."""

from __future__ import annotations

from dataclasses import dataclass

from lesionsplit.measures.result import LEFT_LUNG, LUNGS, RIGHT_LUNG, Measures, Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number in large type."""

    name: str
    value: str
    unit: str = ""
    more: str = ""
    missing: bool = False


def figures(measures: Measures) -> list[Figure]:
    """How much, how much of the lungs, how many, how severe, where."""
    both, right, left = (measures.region(name) for name in (LUNGS, RIGHT_LUNG, LEFT_LUNG))
    diameter = measures.largest_axial_diameter_mm
    affected = measures.most_affected_slice
    return [
        _figure("Lesion volume", both.lesion_ml, "mL", f"of {said(both.lung_ml, 'mL')} lung"),
        _figure(
            "Share of both lungs",
            both.opacity_percent,
            "%",
            f"right {said(right.opacity_percent, '%')}, left {said(left.opacity_percent, '%')}",
        ),
        _figure(
            "Lesions",
            measures.lesion_count,
            "",
            f"largest across {said(diameter, 'mm')}" if not isinstance(diameter, Missing) else "",
            whole=True,
        ),
        _figure("CT severity score", measures.severity_score, "of 25", "", whole=True),
        _figure(
            "Most affected slice",
            affected,
            f"of {measures.slices}",
            f"{said(measures.most_affected_percent, '%')} of its lung" if not isinstance(affected, Missing) else "",
            whole=True,
        ),
    ]


def said(value: float | Missing, unit: str = "") -> str:
    """A number with three figures and its unit, or why there is none."""
    return str(value) if isinstance(value, Missing) else f"{_digits(value)} {unit}".rstrip()


def _figure(name: str, value: float | Missing, unit: str, more: str, *, whole: bool = False) -> Figure:
    if isinstance(value, Missing):
        return Figure(name=name, value=str(value), missing=True)
    return Figure(name=name, value=f"{value:.0f}" if whole else _digits(value), unit=unit, more=more)


def _digits(value: float) -> str:
    """Three figures, no exponent, and no more than two decimals."""
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"

"""Positions, order and grid of the slices of a series, from their headers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from lesionsplit.errors import DataError
from lesionsplit.io.dicom.files import numbers, stated
from lesionsplit.volumes.volume import LPS_TO_RAS, Affine

SAME_PLACE = 0.01
"""Maximum distance in millimetres of slices at the same position."""

JITTER = 0.01
"""Tolerance of steps and positions, as a fraction of the step between slices."""

ROUNDED = 0.06
"""Tolerance in millimetres of positions that a header gives with one decimal."""

SIDEWAYS = 0.2
"""Tolerance in pixels of a slice's distance from the line through the others."""

TILT = 0.1
"""Minimum angle in degrees of a tilted gantry."""

MOST_ADDED = 4
"""Maximum slices, as a multiple of those that are there, to which unevenly spaced ones are resampled."""

FARTHEST = 1e5
"""Maximum millimetres from the origin of a slice, and of a pixel: other numbers are errors."""

Vectors = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Place:
    """The plane of a slice, in LPS+ millimetres."""

    position: Vectors
    columns: Vectors
    """Unit vector of increasing columns; `rows` likewise."""

    rows: Vectors
    spacing: tuple[float, float]
    """Between columns, between rows."""

    size: tuple[int, int]
    """Columns, rows."""

    @property
    def normal(self) -> Vectors:
        """Unit normal of the slice; slices are sorted along it."""
        return np.cross(self.columns, self.rows)

    def like(self, other: Place) -> bool:
        """Whether two slices can belong to one grid."""
        return (
            self.size == other.size
            and np.allclose(self.spacing, other.spacing, rtol=1e-3)
            and np.allclose([self.columns, self.rows], [other.columns, other.rows], atol=2e-3)
        )

    def __str__(self) -> str:
        mean = " \\ ".join(f"{float(x):.3g}" for x in (*self.columns, *self.rows))
        return (
            f"{self.size[0]} x {self.size[1]} pixels of {self.spacing[0]:.4g} x {self.spacing[1]:.4g} mm along {mean}"
        )


def place_of(header: Dataset, where: str) -> Place:
    """The position of a slice.

    Raises:
        DataError: its header has no position or an invalid one.
    """
    needed = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2, "Rows": 1, "Columns": 1}
    found = {keyword: numbers(header, keyword, count) for keyword, count in needed.items()}
    if unusable := [keyword for keyword, value in found.items() if value is None]:
        missing = [keyword for keyword in unusable if not stated(header, keyword)]
        invalid = [keyword for keyword in unusable if keyword not in missing]
        why = "; ".join(
            f"{what} {', '.join(some)}" for what, some in (("missing", missing), ("invalid", invalid)) if some
        )
        raise DataError(f"{where}: has no position ({why}); export it again")
    position, turn, spacing, rows, columns = (value for value in found.values() if value is not None)
    along = np.array(turn).reshape(2, 3)
    lengths = np.linalg.norm(along, axis=1)
    if not np.allclose(lengths, 1, atol=0.01) or abs(along[0] @ along[1]) > 0.01:
        raise DataError(f"{where}: its ImageOrientationPatient is not two perpendicular directions; correct the header")
    if max(map(abs, position)) > FARTHEST:
        raise DataError(f"{where}: is {max(map(abs, position)):.3g} mm from the origin; correct ImagePositionPatient")
    if not 0 < min(spacing) <= max(spacing) <= FARTHEST or min(*rows, *columns) < 1:
        raise DataError(f"{where}: has pixels of {spacing[1]:g} x {spacing[0]:g} mm; correct the header")
    along = along / lengths[:, None]
    return Place(np.array(position), along[0], along[1], (spacing[1], spacing[0]), (int(columns[0]), int(rows[0])))


def groups_of(places: Sequence[Place]) -> list[list[int]]:
    """Group the indices of slices that can belong to one grid, the largest group first."""
    groups: list[list[int]] = []
    for index, place in enumerate(places):
        for group in groups:
            if place.like(places[group[0]]):
                group.append(index)
                break
        else:
            groups.append([index])
    return sorted(groups, key=len, reverse=True)


def along_normal(places: Sequence[Place]) -> Vectors:
    """Positions in millimetres along the normal of the first slice."""
    along: Vectors = np.array([place.position for place in places]) @ places[0].normal
    return along


def is_stack(places: Sequence[Place], farthest: float) -> bool:
    """Whether slices, in order along the normal, lie on one line, at most ``farthest`` mm apart, perhaps with gaps."""
    steps = np.diff(along_normal(places))
    usual = float(np.percentile(steps, 50, method="lower"))
    if steps.min() <= SAME_PLACE or usual > farthest or _sideways(places):
        return False
    return not len(_odd_steps(steps, usual)) or _gaps(steps, usual) > 0


class Grid(NamedTuple):
    """The grid of a series."""

    affine: Affine
    """To RAS+ millimetres."""

    at: Vectors | None
    """For each slice of the grid its position among the slices, with fractions; None if the slices are on the grid."""

    notes: tuple[str, ...]


def grid_of(places: Sequence[Place], where: str, *, thickness: float | None, force: bool) -> Grid:
    """The grid of a series.

    The grid of a tilted gantry keeps its shear; nothing is resampled unless slices are unevenly spaced.

    Args:
        places: in order along the normal, without duplicates.
        where: the series, for messages.
        thickness: of a slice; if it is unknown, a single slice has 1 mm.
        force: resample unevenly spaced slices to even spacing; treat slices that are shifted sideways as straight.

    Raises:
        DataError: slices are missing, unevenly spaced or shifted, and ``force`` is off; or too many are missing.
    """
    first = places[0]
    notes: tuple[str, ...] = ()
    if len(places) == 1:
        notes = notes if thickness else ("the slice thickness is unknown: volumes assume 1 mm",)
        return Grid(_affine(first, first.normal * (thickness or 1.0)), None, notes)
    along, extent = along_normal(places), places[-1].position - first.position
    uneven, sideways = _uneven(along), _sideways(places)
    count = (
        1 + round(float(np.ptp(along) / np.percentile(np.diff(along), 50, method="lower"))) if uneven else len(places)
    )
    step = extent / (count - 1)
    across = f"{step @ first.normal:.4g} mm apart"
    if uneven and count > MOST_ADDED * len(places):
        raise DataError(f"{where}: {uneven}; give the complete series")
    if uneven and not force:
        raise DataError(
            f"{where}: {uneven}; give the complete series, or use --force to resample its {len(places)} slices to "
            f"{count}, {across}"
        )
    if sideways and not force:
        raise DataError(
            f"{where}: {sideways}; give the complete series, or --force treats its {len(places)} slices as straight"
        )
    if uneven:
        notes += (f"its {len(places)} slices were resampled to {count}, {across}: {uneven}",)
    if sideways:
        notes += (f"slices were treated as straight: {sideways}",)
    notes += _spacing_notes(step, first, thickness)
    at = np.interp(np.linspace(along[0], along[-1], count), along, np.arange(len(along))) if uneven else None
    return Grid(_affine(first, step), at, notes)


def _affine(first: Place, step: Vectors) -> Affine:
    lps = np.eye(4)
    lps[:3] = np.column_stack([first.columns * first.spacing[0], first.rows * first.spacing[1], step, first.position])
    affine: Affine = LPS_TO_RAS @ lps
    return affine


def _uneven(along: Vectors) -> str:
    """The problem of the spacing of slices, as text; empty if it is even."""
    steps = np.diff(along)
    usual = float(np.percentile(steps, 50, method="lower"))
    mean = (along[-1] - along[0]) / len(steps)
    off = abs(along - along[0] - mean * np.arange(len(along))).max()
    if abs(steps - mean).max() <= JITTER * mean or off <= max(JITTER * mean, min(ROUNDED, 0.1 * mean)):
        return ""
    odd = _odd_steps(steps, usual)
    if count := _gaps(steps, usual):
        gaps = ", ".join(f"{along[g]:.1f} and {along[g + 1]:.1f}" for g in odd[:3])
        return (
            f"{count} {'slice is' if count == 1 else 'slices are'} missing: they are {usual:.4g} mm apart, but none is "
            f"between {gaps} mm{' and elsewhere' if len(odd) > 3 else ''}"
        )
    return f"its slices are unevenly spaced, {steps.min():.4g} to {steps.max():.4g} mm apart"


def _odd_steps(steps: Vectors, usual: float) -> npt.NDArray[np.intp]:
    """Indices of the steps that differ from the usual one."""
    return np.flatnonzero(abs(steps - usual) > max(JITTER * usual, min(ROUNDED, 0.1 * usual)))


def _gaps(steps: Vectors, usual: float) -> int:
    """How many slices are missing; 0 if there are odd steps for another reason."""
    times = steps[_odd_steps(steps, usual)] / usual
    whole = (times > 1.5).all() and (abs(times - np.rint(times)) < 0.1).all()
    return int((np.rint(times) - 1).sum()) if whole else 0


def _sideways(places: Sequence[Place]) -> str:
    """The problem of slices that do not lie on one line, as text; empty if they do."""
    first, along = places[0], along_normal(places)
    positions = np.array([place.position for place in places])
    line = (positions[-1] - positions[0]) / (along[-1] - along[0])
    off = np.linalg.norm(positions - positions[0] - np.outer(along - along[0], line), axis=1).max()
    if off <= SIDEWAYS * min(first.spacing):
        return ""
    return f"its slices are shifted against each other by up to {off:.3g} mm"


def _spacing_notes(step: Vectors, first: Place, thickness: float | None) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    across = float(step @ first.normal)
    tilt = float(np.degrees(np.arctan2(np.linalg.norm(step - across * first.normal), across)))
    if tilt > TILT:
        notes += (f"the gantry was tilted by {tilt:.1f} degrees; the grid is sheared accordingly",)
    if thickness and across > 1.5 * thickness:
        notes += (
            f"slices are {thickness:.4g} mm thick but {across:.4g} mm apart: the gaps between them were not scanned",
        )
    return notes

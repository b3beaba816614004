"""Where the slices of a series are, by their headers: their order, their grid, and what is odd about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from lesionsplit.dicom.files import numbers, value_of
from lesionsplit.errors import DataError
from lesionsplit.volumes.volume import LPS_TO_RAS, Affine

SAME_PLACE = 0.01
"""Millimetres between slices that are at the same place."""

JITTER = 0.01
"""Share of the step between slices by which one step may differ from another, or a slice be out of place."""

ROUNDED = 0.06
"""Millimetres by which a place may be off because a header gives it with one decimal."""

SIDEWAYS = 0.2
"""Pixels by which a slice may lie beside the line through the others."""

TILT = 0.1
"""Degrees from which a series counts as taken with a tilted gantry."""

Vectors = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Place:
    """A slice's own plane, in LPS+ millimetres."""

    position: Vectors
    columns: Vectors
    """The direction in which columns count up; of length 1, as `rows`."""

    rows: Vectors
    spacing: tuple[float, float]
    """Between columns, between rows."""

    size: tuple[int, int]
    """Columns, rows."""

    frame: str
    """The frame of reference."""

    @property
    def normal(self) -> Vectors:
        """Across the slice; slices count up along it."""
        return np.cross(self.columns, self.rows)

    def like(self, other: Place) -> bool:
        """Whether two slices may belong to one grid."""
        return (
            self.size == other.size
            and self.frame == other.frame
            and np.allclose(self.spacing, other.spacing, rtol=1e-3)
            and np.allclose([self.columns, self.rows], [other.columns, other.rows], atol=2e-3)
        )

    def seen_from(self, other: Place) -> str:
        """What sort of slice it is, in words, beside another that is not like it."""
        return "another frame of reference" if str(self) == str(other) else str(self)

    def __str__(self) -> str:
        mean = " \\ ".join(f"{float(x):.3g}" for x in (*self.columns, *self.rows))
        return (
            f"{self.size[0]} x {self.size[1]} pixels of {self.spacing[0]:.4g} x {self.spacing[1]:.4g} mm along {mean}"
        )


def place_of(header: Dataset, where: str) -> Place:
    """Where a slice is.

    Raises:
        DataError: its header does not say so, or says what cannot be.
    """
    needed = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2, "Rows": 1, "Columns": 1}
    found = {keyword: numbers(header, keyword, count) for keyword, count in needed.items()}
    if missing := [keyword for keyword, value in found.items() if value is None]:
        raise DataError(f"{where}: does not say where its slice is (no {', '.join(missing)}); export it again, with it")
    position, turn, spacing, rows, columns = (value for value in found.values() if value is not None)
    along = np.array(turn).reshape(2, 3)
    lengths = np.linalg.norm(along, axis=1)
    if not np.allclose(lengths, 1, atol=0.01) or abs(along[0] @ along[1]) > 0.01:
        raise DataError(
            f"{where}: its ImageOrientationPatient is no pair of directions at right angles; mend the header"
        )
    if min(spacing) <= 0 or min(*rows, *columns) < 1:
        raise DataError(f"{where}: has pixels of {spacing[1]:g} x {spacing[0]:g} mm; mend the header")
    along = along / lengths[:, None]
    return Place(
        np.array(position), along[0], along[1], (spacing[1], spacing[0]), (int(columns[0]), int(rows[0])),
        str(value_of(header, "FrameOfReferenceUID") or ""),
    )  # fmt: skip


def groups_of(places: Sequence[Place]) -> list[list[int]]:
    """Indices of slices that may belong to one grid, the largest group first."""
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
    """Millimetres of each slice along the first one's normal."""
    along: Vectors = np.array([place.position for place in places]) @ places[0].normal
    return along


def affine_of(
    places: Sequence[Place], where: str, *, thickness: float | None, force: bool
) -> tuple[Affine, tuple[str, ...]]:
    """The affine of a series, to RAS+ millimetres, and what is odd about it.

    Slices taken with a tilted gantry keep their shear: nothing is resampled.

    Args:
        places: in order along the normal, no two at one place.
        where: the series, for messages.
        thickness: of a slice; 1 mm where there is one slice, and nothing says it.
        force: take unevenly spaced slices as evenly spaced from the first to the last.

    Raises:
        DataError: slices are missing or unevenly spaced and nobody forces.
    """
    first, last = places[0], places[-1]
    notes: tuple[str, ...] = ()
    step = first.normal * (thickness or 1.0)
    if len(places) == 1 and not thickness:
        notes = ("how thick the slice is, is not said: volumes take 1 mm",)
    if len(places) > 1:
        step = (last.position - first.position) / (len(places) - 1)
        problem = _uneven(along_normal(places)) or _sideways(places)
        if problem and not force:
            raise DataError(
                f"{where}: {problem}; give the whole series, or --force takes its {len(places)} slices as evenly "
                f"spaced, {step @ first.normal:.4g} mm apart"
            )
        if problem:
            off = np.array([place.position for place in places]) - first.position - np.outer(range(len(places)), step)
            notes += (
                f"slices were taken as evenly spaced, {step @ first.normal:.4g} mm apart, which puts them up to "
                f"{np.linalg.norm(off, axis=1).max():.3g} mm out of place: {problem}",
            )
        notes += _oddities(step, first, thickness)
    lps = np.eye(4)
    lps[:3] = np.column_stack([first.columns * first.spacing[0], first.rows * first.spacing[1], step, first.position])
    affine: Affine = LPS_TO_RAS @ lps
    return affine, notes


def _uneven(along: Vectors) -> str:
    """What is wrong with the spacing of slices, in words; nothing where it is even."""
    steps = np.diff(along)
    usual = float(np.percentile(steps, 50, method="lower"))
    mean = (along[-1] - along[0]) / len(steps)
    off = abs(along - along[0] - mean * np.arange(len(along))).max()
    if abs(steps - mean).max() <= JITTER * mean or off <= max(JITTER * mean, min(ROUNDED, 0.1 * mean)):
        return ""
    odd = np.flatnonzero(abs(steps - usual) > max(JITTER * usual, min(ROUNDED, 0.1 * usual)))
    times = steps[odd] / usual
    if len(odd) and (times > 1.5).all() and (abs(times - np.rint(times)) < 0.1).all():
        count = int((np.rint(times) - 1).sum())
        gaps = ", ".join(f"{along[g]:.1f} and {along[g + 1]:.1f}" for g in odd[:3])
        return (
            f"{count} {'slice is' if count == 1 else 'slices are'} missing: they are {usual:.4g} mm apart, but none is "
            f"between {gaps} mm{' and elsewhere' if len(odd) > 3 else ''}"
        )
    return f"its slices are unevenly spaced, {steps.min():.4g} to {steps.max():.4g} mm apart"


def _sideways(places: Sequence[Place]) -> str:
    """Whether slices lie on one line, a slanted one where the gantry is tilted; what is wrong, in words."""
    first, along = places[0], along_normal(places)
    positions = np.array([place.position for place in places])
    line = (positions[-1] - positions[0]) / (along[-1] - along[0])
    off = np.linalg.norm(positions - positions[0] - np.outer(along - along[0], line), axis=1).max()
    if off <= SIDEWAYS * min(first.spacing):
        return ""
    return f"its slices are shifted sideways against each other, by up to {off:.3g} mm"


def _oddities(step: Vectors, first: Place, thickness: float | None) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    across = float(step @ first.normal)
    tilt = float(np.degrees(np.arctan2(np.linalg.norm(step - across * first.normal), across)))
    if tilt > TILT:
        notes += (f"slices were taken with the gantry tilted by {tilt:.1f} degrees; the grid is slanted as they are",)
    if thickness and across > 1.5 * thickness:
        notes += (f"slices are {thickness:.4g} mm thick but {across:.4g} mm apart: what is between them was not seen",)
    return notes

"""One pass over the decomposed volume: the extent of the lungs, and the slices to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from lesionsplit.volumes.decomposed import TOP, DecomposedVolume
from lesionsplit.volumes.scratch import forget

Counts: TypeAlias = npt.NDArray[np.int64]

FORGET_EVERY = 64
"""Number of slices after which memory of the read slices is released."""

MARGIN_MM = 8.0
"""Margin shown around the lungs."""

NEIGHBOURS_MM = 8.0
"""Slices closer than this are nearly the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """The part of the axial view that is shown: the lungs with a margin. Ranges are (start, stop), as in `slice`."""

    slices: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The result of one pass over the decomposed volume."""

    lungs: Counts
    """(slices,): voxels of lung."""

    lesion: Counts
    """(slices,): voxels of lesion."""

    peak: Counts
    """(slices,): highest level of the score."""

    levels: Counts
    """(65536,): voxels at each level of the score."""

    box: Box

    def volumes_ml(self, steps: int, voxel_ml: float) -> list[float]:
        """Millilitres with a score of at least 0 (the whole volume), 1 / steps, 2 / steps, ..., 1."""
        reaching = np.append(np.cumsum(self.levels[::-1])[::-1], 0)
        lowest = np.ceil(np.arange(steps + 1) / steps * TOP - 1e-9).astype(np.int64)
        return [round(float(count) * voxel_ml, 3) for count in reaching[lowest]]


def survey(findings: DecomposedVolume) -> Survey:
    """Read the decomposed volume once."""
    volume = findings.volume
    scores, lesions, lungs = (volume.axial(array) for array in (findings.score, findings.lesion, findings.lungs))
    slices, rows, columns = scores.shape
    per_slice = {name: np.zeros(slices, np.int64) for name in ("lungs", "lesion", "peak")}
    levels = np.zeros(TOP + 1, np.int64)
    row_has, column_has = np.zeros(rows, bool), np.zeros(columns, bool)
    for number in range(slices):
        inside = lungs[number] > 0
        score = np.asarray(scores[number])
        row_has |= inside.any(axis=1)
        column_has |= inside.any(axis=0)
        per_slice["lungs"][number] = np.count_nonzero(inside)
        per_slice["lesion"][number] = np.count_nonzero(lesions[number])
        per_slice["peak"][number] = score.max()
        levels += np.bincount(score.ravel(), minlength=TOP + 1)
        if number % FORGET_EVERY == FORGET_EVERY - 1:
            forget_all(findings)
    forget_all(findings)
    has = (per_slice["lungs"] > 0, row_has, column_has)
    shown = [_range(one, MARGIN_MM / step) for one, step in zip(has, volume.axial_spacing, strict=True)]
    return Survey(
        lungs=per_slice["lungs"],
        lesion=per_slice["lesion"],
        peak=per_slice["peak"],
        levels=levels,
        box=Box(slices=shown[0], rows=shown[1], columns=shown[2]),
    )


def forget_all(findings: DecomposedVolume) -> None:
    """Release the memory of arrays that are on disk."""
    for array in (findings.volume.array, findings.score, findings.lesion, findings.lungs, findings.healthy):
        forget(array)


def most_affected(seen: Survey, spacing_mm: float, most: int) -> list[int]:
    """Slices to show, from the head down.

    With lesion: those with the most lesion; neighbours within `NEIGHBOURS_MM` only if there are too few others.
    Without lesion: slices at even distances through the lungs.

    Args:
        seen: the survey of the volume.
        spacing_mm: from a slice to the next.
        most: the most slices.
    """
    affected = [int(n) for n in np.argsort(-seen.lesion, kind="stable") if seen.lesion[n]]
    if not affected:
        inside = np.flatnonzero(seen.lungs)
        if not len(inside):
            inside = np.arange(len(seen.lungs))
        count = min(most, len(inside))
        places = (np.arange(count) + 0.5) / count * len(inside)
        return [int(n) for n in inside[places.astype(int)][::-1]]
    chosen: list[int] = []
    for apart in (NEIGHBOURS_MM, 0.0):
        for number in affected:
            new = number not in chosen and all(abs(number - other) * spacing_mm >= apart for other in chosen)
            if new and len(chosen) < most:
                chosen.append(number)
    return sorted(chosen, reverse=True)


def _range(has: npt.NDArray[np.bool_], margin: float) -> tuple[int, int]:
    """Range (start, stop) of the places that have any, with a margin; the whole range where none has."""
    places = np.flatnonzero(has)
    if not len(places):
        return 0, len(has)
    extra = int(np.ceil(min(margin, len(has))))
    return max(0, int(places[0]) - extra), min(len(has), int(places[-1]) + 1 + extra)

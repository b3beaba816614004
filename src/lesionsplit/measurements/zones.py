"""Six zones: each lung in three equal parts of its height, an estimate of where lobes would be without a map of them.

Radiologists cut at the carina and at the inferior pulmonary vein. These are not found here, so the parts are equal
thirds of each lung's own height, from its lowest to its highest slice, and every text that shows a zone says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lesionsplit.measurements.result import NO_LUNG, NO_SIZE, ONE_SLICE, Missing, Value, Whole, Zone

SIDES = ("right", "left")
PARTS = ("lower", "middle", "upper")
"""From the feet up, as slices are counted."""


def zone_grade(share: float) -> int:
    """Grade a zone 0 to 4 by its fraction of lesion: none, below 25 %, below 50 %, below 75 %, above.

    The sum over six zones is 0 to 24 (compared with others by Inoue et al., European Radiology 2022).
    """
    return 0 if share <= 0 else 1 + (share >= 0.25) + (share >= 0.50) + (share >= 0.75)


def zones(
    lung: Sequence[Sequence[int]], lesion: Sequence[Sequence[int]], voxel_ml: float | None, smallest_ml: float
) -> list[Zone]:
    """The six zones, the right lung's first, each lung from the head down.

    Args:
        lung: (slices, 2) voxels of right and left lung in each slice, from the feet up.
        lesion: the same of lesion.
        voxel_ml: volume of a voxel; None if it is unknown.
        smallest_ml: less lesion than this in a zone is graded 0, as nobody would see it.
    """
    counts, affected = (np.array(one, dtype=np.int64).reshape(-1, 2) for one in (lung, lesion))
    found: list[Zone] = []
    for side, name in enumerate(SIDES):
        has = np.flatnonzero(counts[:, side])
        ends = np.array([has[0], has[-1] + 1]) if len(has) else np.array([0, 0])
        middles = np.arange(len(counts)) + 0.5
        part = np.floor((middles - ends[0]) / max(1, ends[1] - ends[0]) * 3).astype(int)
        for number in (2, 1, 0):
            inside = (part == number) & (counts[:, side] > 0)
            voxels, ill = int(counts[inside, side].sum()), int(affected[inside, side].sum())
            share: Value = 100 * ill / voxels if voxels else NO_LUNG
            seen = voxel_ml is None or ill * voxel_ml >= smallest_ml * (1 - 1e-9)
            found.append(
                Zone(
                    name=f"{PARTS[number]} zone, {name} lung",
                    lung_ml=voxels * voxel_ml if voxel_ml is not None else NO_SIZE,
                    lesion_ml=ill * voxel_ml if voxel_ml is not None else NO_SIZE,
                    opacity_percent=share,
                    grade=share if isinstance(share, Missing) else zone_grade(share / 100 * seen),
                )
            )
    return found


def zone_score(found: Sequence[Zone], slices: int) -> Whole:
    """The sum of the grades, 0 to 24; or why there is none."""
    if slices == 1:
        return ONE_SLICE
    total = 0
    for zone in found:
        if isinstance(zone.grade, Missing):
            return Missing(f"not computed: no voxel of the {zone.name}")
        total += zone.grade
    return total

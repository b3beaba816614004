"""Domes, apices and sulci: what slices show of the lungs' upper and lower edge is half lung, half tissue.

Where the lungs end above or below a voxel, its slice averages lung and diaphragm, breath moves one into the other,
and what is seen is as grey as ground glass. Disease is told from it by its height: the network's score counts there
only as far as it holds through more slices than the edge can blur.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from lesionsplit.images import Mask
from lesionsplit.volumes.scratch import forget
from lesionsplit.volumes.volume import Voxels

REACH_MM = 5.0
"""How far above and below themselves the lungs' upper and lower edges blur."""

FARTHEST_MM = 5.0
"""Between slices, up to which their neighbours say something; farther apart, lesions are in one slice as edges are."""

KEPT = 32
"""Slices worked on before those done are left to the disk."""


def slices_blurred(between_mm: float, count: int) -> int:
    """How many slices next to an edge it blurs; 0 where neighbours are too far away, or there are none, to tell."""
    if between_mm > FARTHEST_MM or count < 2:
        return 0
    return max(1, round(REACH_MM / between_mm))


def lower_at_edges(score: Voxels, lungs: Voxels, reach: int) -> Iterator[tuple[int, Mask]]:
    """Lower scores next to upper and lower edges of the lungs to what holds through ``reach`` + 1 slices; in place.

    With S the score, 0 outside the lungs, and R the reach, a voxel in slice k that has lung above and below in all
    of slices k - R to k + R keeps its score. Any other gets the opening along its column:

        max over i of min(S[i], ..., S[i + R]),  k - R <= i <= k

    Opening commutes with thresholds: what is lesion at one does not depend on another. Beyond the first and the last
    slice score and lung are taken to go on: there a scan ends and not a lung.

    Args:
        score: (slices, rows, columns), axial, 0 outside the lungs.
        lungs: of the same shape, not 0 in the lungs.
        reach: slices, see `slices_blurred`; 0 changes nothing.

    Yields:
        Of every slice in which scores are lower now its number and where that is, (rows, columns).
    """
    if reach == 0:
        return
    count, shape = len(score), score.shape[1:]
    beyond = np.full(shape, np.iinfo(score.dtype).max, score.dtype)
    inside: deque[Mask] = deque(maxlen=2 * reach + 1)
    before: deque[Voxels] = deque([beyond] * (reach + 1), maxlen=reach + 1)
    lowest: deque[Voxels] = deque(maxlen=reach + 1)  # of slices i to i + R, i from k - R to k
    for ahead in range(count + reach):
        here = ahead < count
        before.append(np.array(score[ahead]) if here else beyond)
        inside.append(lungs[ahead] > 0 if here else np.ones(shape, dtype=bool))
        lowest.append(np.minimum.reduce(list(before)))
        at = ahead - reach
        if at < 0:
            continue
        holds = np.maximum.reduce(list(lowest))
        lowered: Mask = ~np.logical_and.reduce(list(inside)) & (holds < score[at])
        if lowered.any():
            score[at][lowered] = holds[lowered]
            yield at, lowered
        if at % KEPT == KEPT - 1:
            forget(score)
            forget(lungs)

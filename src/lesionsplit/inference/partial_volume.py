"""Suppress false scores from partial volume: at the upper and lower edges of the lungs, and in coarse pixels.

Next to the domes of the diaphragm, the apices and the sulci a slice averages lung and soft tissue, and breathing
blurs them further, so that they look like ground glass. Disease extends through more slices than this blur: near an
edge the score is kept only as far as it does. In coarse pixels all vessels and edges are blurred like this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesionsplit.images import Mask
from lesionsplit.volumes.scratch import releasing
from lesionsplit.volumes.volume import Voxels

REACH_MM = 5.0
"""How far the upper and lower edges of the lungs blur."""

FARTHEST_MM = 5.0
"""Maximum distance between slices: farther apart, a lesion too is visible in one slice only."""

NARROWEST = 4
"""Width in coarse pixels of the narrowest lesion that does not look like a blurred vessel."""


def slices_blurred(between_mm: float, count: int) -> int:
    """Number of slices next to an edge that it blurs; 0 if slices are too far apart or there is only one."""
    if between_mm > FARTHEST_MM or count < 2:
        return 0
    return max(1, round(REACH_MM / between_mm))


def lower_at_edges(score: Voxels, lungs: Voxels, reach: int) -> Iterator[tuple[int, Mask]]:
    """Lower scores near the upper and lower edges of the lungs to what persists in ``reach`` + 1 slices; in place.

    With S the score, 0 outside the lungs, and R the reach, a voxel of slice k with lung in the same column in all
    slices k - R to k + R keeps its score. Any other voxel gets the grey opening along its column:

        max over i of min(S[i], ..., S[i + R]),  k - R <= i <= k

    Opening commutes with thresholding, so the lesion at one threshold does not depend on another. Score and lung
    are assumed to continue beyond the first and the last slice, where the scan ends and not the lung.

    Args:
        score: (slices, rows, columns), axial, 0 outside the lungs.
        lungs: the same shape, not 0 in the lungs.
        reach: in slices, see `slices_blurred`; 0 changes nothing.

    Yields:
        For every changed slice its number and where scores are lower, (rows, columns).
    """
    if reach == 0:
        return
    count, shape = len(score), score.shape[1:]
    beyond = np.full(shape, np.iinfo(score.dtype).max, score.dtype)
    inside: deque[Mask] = deque(maxlen=2 * reach + 1)
    before: deque[Voxels] = deque([beyond] * (reach + 1), maxlen=reach + 1)
    lowest: deque[Voxels] = deque(maxlen=reach + 1)  # of slices i to i + R, i from k - R to k
    for ahead in releasing(range(count + reach), score, lungs):
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


def open_coarse(score: Voxels, spacing: tuple[float, float, float]) -> Iterator[tuple[int, Mask]]:
    """Lower scores to what persists over `NARROWEST` pixels in each direction; in place.

    This is the grey opening by a ball of that diameter, for coarse pixels; by a disc where slices are more than
    `FARTHEST_MM` apart. Volumes of coarse pixels are small enough to be opened as a whole.

    Args:
        score: (slices, rows, columns), axial, 0 outside the lungs.
        spacing: millimetres between slices, rows and columns.

    Yields:
        For every changed slice its number and where scores are lower, (rows, columns).
    """
    diameter = NARROWEST * max(spacing[1:])
    sizes = [min(max(1, round(diameter / step)), most) for step, most in zip(spacing, score.shape, strict=True)]
    if spacing[0] > FARTHEST_MM:
        sizes[0] = 1
    places = [(np.arange(size) - (size - 1) / 2) * step for size, step in zip(sizes, spacing, strict=True)]
    apart = sum(np.square(place) for place in np.ix_(*places))
    before: npt.NDArray[np.uint16] = np.array(score)
    opened = ndimage.grey_opening(before, footprint=apart <= (diameter / 2) ** 2)
    for at, lowered in enumerate(opened < before):
        if lowered.any():
            score[at][lowered] = opened[at][lowered]
            yield at, lowered

"""A volume with lungs, taken apart slice by slice: scores, lesion and healthy version on its own grid."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from lesionsplit.cases.partial_volume import FARTHEST_MM, lower_at_edges, slices_blurred
from lesionsplit.cases.window import Deep, window_of
from lesionsplit.data.lungs import LungSlice
from lesionsplit.images import Mask
from lesionsplit.lungs.canvas import some_of
from lesionsplit.lungs.find import FoundLungs
from lesionsplit.lungs.levels import levels_of
from lesionsplit.predictor import Predictor, SeriesSlice
from lesionsplit.progress import Progress, silent
from lesionsplit.volumes.findings import TOP, Findings, levels_from
from lesionsplit.volumes.scratch import Scratch, forget
from lesionsplit.volumes.volume import Volume

SMALLEST_CM2 = 1.0
"""Lung in a slice below which it is not looked at: the tips, where partial volume is all there is."""

COARSE_MM = 2.0
"""Size of a pixel from which vessels and the lungs' edge blur into what looks like lesion."""

KEPT = 32
"""Slices worked on before those done are left to the disk."""


def decompose(
    volume: Volume, lungs: FoundLungs, predictor: Predictor, scratch: Scratch, *, progress: Progress = silent
) -> Findings:
    """Take a volume apart. A few slices are in memory at a time; the results lie in ``scratch``.

    Args:
        volume: HU or grey.
        lungs: on its grid.
        predictor: the network that does it.
        scratch: room for the results.
        progress: shows how far it is.
    """
    score = scratch.like(volume, np.uint16)
    lesion = scratch.like(volume, np.uint8)
    healthy = scratch.like(volume, volume.array.dtype)
    arrays = (volume.array, lungs.labels, score, lesion, healthy)
    images, inside, scores, lesions, wholes = map(volume.axial, arrays)
    window = window_of(levels_of(volume, some_of(images)))
    between, down, right = volume.axial_spacing
    apart = 1 if between <= FARTHEST_MM else 2  # no neighbours
    smallest = max(1.0, 100 * SMALLEST_CM2 / (down * right))
    waiting: deque[tuple[int, Deep, Mask]] = deque()

    def slices() -> Iterator[SeriesSlice]:
        for at in progress(range(len(images)), len(images), "Looking for lesions"):
            wholes[at] = images[at]
            here = inside[at] > 0
            if np.count_nonzero(here) < smallest:
                continue
            grey = window.to_grey(images[at])
            waiting.append((at, grey, here))
            yield SeriesSlice("", at * apart, LungSlice(np.where(here, grey, 0), here))

    lowest = levels_from(predictor.threshold)
    for done, found in enumerate(predictor.predict_series(slices(), (down, right))):
        at, grey, here = waiting.popleft()
        level = np.where(here, np.rint(found.score * TOP), 0).astype(np.uint16)
        scores[at] = level
        lesions[at] = level >= lowest
        wholes[at] = window.with_change(images[at], grey, found.healthy, here)
        if done % KEPT == KEPT - 1:
            for array in arrays:
                forget(array)
    for done, (at, lowered) in enumerate(lower_at_edges(scores, inside, slices_blurred(between, len(images)))):
        lesions[at] = scores[at] >= lowest
        left = lowered & (lesions[at] == 0)
        wholes[at][left] = images[at][left]
        if done % KEPT == KEPT - 1:
            for array in arrays:
                forget(array)
    return Findings(
        volume=volume,
        score=score,
        lesion=lesion,
        lungs=lungs.labels,
        healthy=healthy,
        threshold=predictor.threshold,
        lungs_from=lungs.how,
        notes=(*lungs.notes, *_coarse(max(down, right))),
    )


def _coarse(pixel: float) -> tuple[str, ...]:
    if pixel <= COARSE_MM:
        return ()
    return (f"pixels of {pixel:.1f} mm, where those learnt on had about 0.8: edges of vessels and lungs may score",)

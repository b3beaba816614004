"""Decompose a volume slice by slice into scores, lesion and healthy version on its own grid."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from lesionsplit.data.lung_slice import LungSlice
from lesionsplit.images import Mask
from lesionsplit.inference.hu_window import Deep, window_of
from lesionsplit.inference.partial_volume import FARTHEST_MM, lower_at_edges, slices_blurred
from lesionsplit.inference.predictor import SeriesSlice, SlicePredictor
from lesionsplit.lungs.find import LungLabels
from lesionsplit.lungs.hu_scale import hu_scale_of
from lesionsplit.lungs.resample import sample_slices
from lesionsplit.progress import Progress, silent
from lesionsplit.volumes.decomposed import TOP, DecomposedVolume, levels_from
from lesionsplit.volumes.scratch import Scratch, releasing
from lesionsplit.volumes.volume import Volume

SMALLEST_CM2 = 1.0
"""Minimum lung area of a slice that is predicted: the tips of the lungs are all partial volume."""

COARSE_MM = 2.0
"""Pixel size above which blurred vessels and lung edges look like lesion."""


def decompose(
    volume: Volume, lungs: LungLabels, predictor: SlicePredictor, scratch: Scratch, *, progress: Progress = silent
) -> DecomposedVolume:
    """Decompose a volume, with a few slices in memory at a time.

    Args:
        volume: HU or grey.
        lungs: on its grid.
        predictor: the network.
        scratch: holds the results.
        progress: receives the slices.
    """
    score = scratch.like(volume, np.uint16)
    lesion = scratch.like(volume, np.uint8)
    healthy = scratch.like(volume, volume.array.dtype)
    arrays = (volume.array, lungs.labels, score, lesion, healthy)
    images, inside, scores, lesions, wholes = map(volume.axial, arrays)
    window = window_of(hu_scale_of(volume, sample_slices(images)))
    between, down, right = volume.axial_spacing
    apart = 1 if between <= FARTHEST_MM else 2  # too far apart to be neighbours
    smallest = max(1.0, 100 * SMALLEST_CM2 / (down * right))
    waiting: deque[tuple[int, Deep, Mask]] = deque()

    def slices() -> Iterator[SeriesSlice]:
        for at in progress(range(len(images)), len(images), "Looking for lesions"):
            wholes[at] = images[at]
            here = inside[at] > 0
            if np.count_nonzero(here) < smallest:
                continue
            grey = window.to_grey(volume.seen(images[at]))
            waiting.append((at, grey, here))
            yield SeriesSlice("", at * apart, LungSlice(np.where(here, grey, 0), here))

    lowest = levels_from(predictor.threshold)
    for found in releasing(predictor.predict_series(slices(), (down, right)), *arrays):
        at, grey, here = waiting.popleft()
        level = np.where(here, np.rint(found.score * TOP), 0).astype(np.uint16)
        scores[at] = level
        lesions[at] = level >= lowest
        changed = here & (found.healthy != grey)
        wholes[at][changed] = window.with_change(volume.seen(images[at]), grey, found.healthy, here)[changed]
    for at, lowered in releasing(lower_at_edges(scores, inside, slices_blurred(between, len(images))), *arrays):
        lesions[at] = scores[at] >= lowest
        left = lowered & (lesions[at] == 0)
        wholes[at][left] = images[at][left]
    return DecomposedVolume(
        volume=volume,
        score=score,
        lesion=lesion,
        lungs=lungs.labels,
        healthy=healthy,
        threshold=predictor.threshold,
        lungs_from=lungs.method,
        notes=(*lungs.notes, *_coarse(max(down, right))),
    )


def _coarse(pixel: float) -> tuple[str, ...]:
    if pixel <= COARSE_MM:
        return ()
    return (f"pixels of {pixel:.1f} mm, but about 0.8 mm in training: edges of vessels and lungs may have high scores",)

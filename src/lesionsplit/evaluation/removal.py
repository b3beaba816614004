"""What healthy versions take off lesions and change elsewhere, where the true healthy slices are not known.

On the evaluation's grid, in the lungs. What a lesion adds to a pixel is its grey less the median of the slice's lung
that no annotator outlined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from lesionsplit.evaluation.bootstrap import Bootstrap, Estimates, Resampled, estimates
from lesionsplit.evaluation.score_histogram import Values
from lesionsplit.images import Float, Mask

MEASURES = {
    "removed": "fraction of what lesions add that is taken off, over pixels that the first two annotators outlined",
    "removed_dense": "the same over the third of these pixels to which lesions add most",
    "changed_elsewhere": "mean |change| of the lungs away from all outlines, as a fraction of their deviation there",
    "changed_normal": "the same over the lungs of normal slices",
    "texture": "deviation of healed lesions, as a fraction of that of the same slice's lungs away from all outlines",
    "fine_texture": "the same of what a narrow Gaussian filter takes off",
}
"""Pooled over the slices of a split."""

LEVELS = 255
"""Steps of grey from black to white in which what lesions add is counted."""

AWAY = 8 / 256
"""Distance from all outlines, as a fraction of the frame's longer side, beyond which a pixel is away from them."""

LARGE = 100
"""Minimum pixels of a slice that both annotators outlined, and of its lungs away from outlines, to compare texture."""

FINE = 1.5 / 256
"""Standard deviation of the narrow Gaussian filter, as a fraction of the frame's longer side."""

COUNT, ADDED, REMOVED = range(3)


@dataclass
class Pool:
    """Sums by series."""

    by_series: dict[str, Values] = field(default_factory=dict)

    def add(self, series: str, sums: Values) -> None:
        """Add those of a slice."""
        self.by_series[series] = self.by_series.get(series, 0) + sums

    @property
    def total(self) -> Values:
        """Those of all series."""
        return np.asarray(sum(self.by_series.values()))


@dataclass
class RemovalAccumulator:
    """Healthy versions counted so far."""

    lesions: Pool = field(default_factory=Pool)
    """(3, levels): pixels of lesions, what is added and what is removed, by what is added."""

    elsewhere: Pool = field(default_factory=Pool)
    """(2,): change, and the lung's standard deviation, each summed over pixels; in slices with lesion."""

    normal: Pool = field(default_factory=Pool)
    """The same in normal slices."""

    texture: Pool = field(default_factory=Pool)
    """(2,): standard deviation of healed lesions, and of lungs away from outlines, each times the lesion's pixels."""

    fine_texture: Pool = field(default_factory=Pool)
    """The same of what a narrow Gaussian filter takes off."""

    changes: bool = False
    """Whether any healthy version differs from its slice."""

    def add(self, series: str, image: Float, healthy: Float, lungs: Mask, truths: Sequence[Mask]) -> None:
        """Count a slice; all images are of one shape, (rows, columns), grey from 0 to 1.

        Args:
            series: of the slice.
            image: the slice.
            healthy: its healthy version.
            lungs: its lungs.
            truths: of each annotator, the first two decide what is lesion; none for a normal slice.
        """
        removed = image - healthy
        self.changes |= bool(removed.any())
        if not truths:
            self.normal.add(series, _change(image, removed, lungs))
            return
        outlined = np.logical_or.reduce(truths)
        spared, lesion = lungs & ~outlined, np.logical_and.reduce(truths[:2]) & lungs
        if spared.any() and lesion.any():
            added = (image - np.median(image[spared]))[lesion]
            level = np.rint(added * LEVELS).astype(np.int64) + LEVELS
            sums = [np.bincount(level, one, 2 * LEVELS + 1) for one in (np.ones_like(added), added, removed[lesion])]
            self.lesions.add(series, np.stack(sums))
        away = (
            lungs & (ndimage.distance_transform_edt(~outlined) > AWAY * max(image.shape)) if outlined.any() else lungs
        )
        self.elsewhere.add(series, _change(image, removed, away))
        if min(np.count_nonzero(lesion), np.count_nonzero(away)) >= LARGE:
            self.texture.add(series, _deviations(healthy, lesion, away))
            self.fine_texture.add(series, _deviations(_fine(healthy, lungs), lesion, away))

    def summarise(self) -> Estimates | None:
        """Numbers with intervals; None where no healthy version differs from its slice: the method makes none."""
        if not self.changes:
            return None
        measures: dict[str, tuple[Pool, Callable[[Values], Values]]] = {
            "removed": (self.lesions, removed_share),
            "removed_dense": (self.lesions, removed_share_of_dense),
            "changed_elsewhere": (self.elsewhere, _ratio),
            "changed_normal": (self.normal, _ratio),
            "texture": (self.texture, _ratio),
            "fine_texture": (self.fine_texture, _ratio),
        }
        numbers: dict[str, Resampled] = {}
        for name, (pool, measure) in measures.items():
            if pool.by_series:
                numbers |= Bootstrap(list(pool.by_series)).pooled(pool, **{name: measure})
        return estimates(MEASURES, numbers)


def removed_share(sums: Values) -> Values:
    """What is removed as a fraction of what is added, (...), of sums (..., 3, levels)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share: Values = sums[..., REMOVED, :].sum(axis=-1) / sums[..., ADDED, :].sum(axis=-1)
    return share


def removed_share_of_dense(sums: Values) -> Values:
    """The same of the third of the pixels to which most is added, to whole levels."""
    down = sums[..., ::-1]
    so_far = down[..., COUNT, :].cumsum(axis=-1)
    whole = so_far[..., -1:]
    dense = (so_far - down[..., COUNT, :]) * 3 < whole  # the level that completes the third is of it
    return removed_share(down * dense[..., None, :])


def _change(image: Float, removed: Float, where: Mask) -> Values:
    """Absolute change and standard deviation of a slice, each summed over some pixels, (2, 1)."""
    if not where.any():
        return np.zeros((2, 1))
    return np.array([[np.abs(removed[where]).sum()], [image[where].std() * np.count_nonzero(where)]], dtype=np.float64)


def _deviations(healthy: Float, lesion: Mask, away: Mask) -> Values:
    """Standard deviation in two regions, each times the pixels of the first, (2, 1)."""
    return np.array([[healthy[lesion].std()], [healthy[away].std()]], dtype=np.float64) * np.count_nonzero(lesion)


def _fine(image: Float, lungs: Mask) -> Float:
    """The image less its mean within the lungs, weighted by a narrow Gaussian."""
    sigma = FINE * max(image.shape)
    inside = lungs.astype(np.float32)
    weight = ndimage.gaussian_filter(inside, sigma)
    mean: Float = ndimage.gaussian_filter(image * inside, sigma) / np.maximum(weight, np.float32(1e-6))
    return image - mean


def _ratio(sums: Values) -> Values:
    with np.errstate(invalid="ignore", divide="ignore"):
        share: Values = sums[..., 0, 0] / sums[..., 1, 0]
    return share

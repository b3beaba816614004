"""Pixels counted by score, from which every pooled number is computed in limited memory.

Scores are 16 bit, in steps of 1 / 65535, as in files. On such scores everything computed here is exact, because there
are no thresholds between levels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from lesionsplit.evaluation.sorted_scores import SortedScores
from lesionsplit.images import Float, Mask
from lesionsplit.scores import LEVELS

Counts: TypeAlias = npt.NDArray[np.float64]
"""(..., 2, levels or bins): pixels that are lesion, and pixels that are not, by score from 0 to 1."""

Values: TypeAlias = npt.NDArray[np.float64]


def level_of(threshold: float) -> int:
    """The lowest level that reaches a threshold; at least 1, because level 0 is no evidence of a lesion."""
    return int(np.clip(np.ceil(threshold * (LEVELS - 1) - 1e-9), 1, LEVELS - 1))


STARTS: npt.NDArray[np.int64] = np.unique(
    [0, *np.geomspace(1, LEVELS - 1, 3500).round().astype(int), *(level_of(part / 100) for part in range(1, 100))]
)
"""The lowest level of each of some 2000 bins. Counts by bin are kept for each series, for the intervals only.

Near 0, where most scores are, every level has its own bin; higher bins are 0.3 % of their level wide. A bin starts at
each hundredth, so that Dice is exact there.
"""

BIN_OF: npt.NDArray[np.int64] = np.repeat(np.arange(len(STARTS)), np.diff(STARTS, append=LEVELS))
"""(levels,): the bin of each level."""


@dataclass
class ScoreHistogram:
    """Counts of all pixels, by level, and by series, by bin."""

    bin_of: ClassVar[npt.NDArray[np.int64]] = BIN_OF

    total: Counts = field(default_factory=lambda: np.zeros((2, LEVELS)))
    by_series: dict[str, Counts] = field(default_factory=dict)

    def add(self, series: str, score: Float, truth: Mask) -> None:
        """Count the pixels of one slice; score 0 to 1, any shape."""
        self.add_sorted(series, SortedScores.of(score), truth)

    def add_sorted(self, series: str, sorted_scores: SortedScores, truth: Mask, within: Mask | None = None) -> None:
        """Count the pixels of one slice.

        Args:
            series: of the slice.
            sorted_scores: the heat map.
            truth: which pixels are lesion, of the heat map's shape.
            within: which pixels are counted, of the same shape; all by default.
        """
        if within is None:
            within = np.ones_like(truth)
        levels = np.append(sorted_scores.levels, 0)
        bins, places = int(self.bin_of[-1]) + 1, self.bin_of[levels]
        of_series = self.by_series.setdefault(series, np.zeros((2, bins)))
        for part, mask in enumerate((truth & within, within > truth)):
            above = sorted_scores.per_level(mask)
            counts = np.append(above, np.count_nonzero(mask) - above.sum())
            self.total[part, levels] += counts
            of_series[part] += np.bincount(places, counts, minlength=bins)


class MaskHistogram(ScoreHistogram):
    """Counts of masks, taken as scores of 0 and 1; by series there are only two bins, so resampling is fast."""

    bin_of = (np.arange(LEVELS) == LEVELS - 1).astype(np.int64)

    def add_mask(self, series: str, mask: Mask, truth: Mask) -> None:
        """Count the pixels of one slice; both of one shape."""
        self.add(series, mask.astype(np.float32), truth)


def above(counts: Counts) -> tuple[Values, Values]:
    """True and false positives of every threshold, (..., levels), from the lowest to the highest."""
    reaching = counts[..., ::-1].cumsum(axis=-1)[..., ::-1]
    return reaching[..., 0, :], reaching[..., 1, :]


def average_precision(counts: Counts) -> Values:
    """Sum over thresholds of precision times the step in recall, (...); as scikit-learn defines it.

    NaN where there is no lesion pixel.
    """
    lesion, other = (counts[..., part, ::-1] for part in (0, 1))
    true, false = lesion.cumsum(axis=-1), other.cumsum(axis=-1)
    precision = true / np.maximum(true + false, 1)
    with np.errstate(invalid="ignore"):
        area: Values = (precision * lesion).sum(axis=-1) / true[..., -1]
    return area


def dice(counts: Counts) -> Values:
    """Dice of every threshold, (..., levels); NaN where there is no lesion pixel."""
    true, false = above(counts)
    lesion = counts[..., 0, :].sum(axis=-1)[..., None]
    with np.errstate(invalid="ignore"):
        overlap: Values = np.where(lesion > 0, 2 * true / (true + false + lesion), np.nan)
    return overlap


def dice_at(counts: Counts, threshold: float) -> Values:
    """Dice at one threshold, (...); counts by bin have hundredths only."""
    return _overlap(counts, place_of(threshold, counts))


def best_dice(counts: Counts) -> Values:
    """The highest Dice of any threshold above 0, (...): an oracle, for comparison only."""
    best: Values = dice(counts)[..., 1:].max(axis=-1)
    return best


def lowest_dice(counts: Counts, low: float, high: float) -> Values:
    """The lowest Dice of any threshold from ``low`` to ``high``, divided by the best Dice, (...).

    1 where every threshold of the range is as good as the best; NaN where no threshold finds any lesion.
    Counts by bin have hundredths only.
    """
    overlap = dice(counts)
    lowest = overlap[..., place_of(low, counts) : place_of(high, counts) + 1].min(axis=-1)
    with np.errstate(invalid="ignore"):
        share: Values = lowest / overlap[..., 1:].max(axis=-1)
    return share


def place_of(threshold: float, counts: Counts) -> int:
    """Index of the first level, or bin, of counts that reaches a threshold.

    Raises:
        ValueError: a bin has levels on both sides of the threshold.
    """
    level = level_of(threshold)
    if counts.shape[-1] == LEVELS:
        return level
    place = int(np.searchsorted(STARTS, level))
    if STARTS[place] != level:
        raise ValueError(f"no bin starts at {threshold}; count the pixels that reach it as a mask")
    return place


def prevalence(counts: Counts) -> Values:
    """Fraction of the pixels that is lesion, (...): the average precision of a random score."""
    with np.errstate(invalid="ignore"):  # NaN where a resample has no pixels
        lesion: Values = counts[..., 0, :].sum(axis=-1) / counts.sum(axis=(-2, -1))
    return lesion


def binary_dice(counts: Counts) -> Values:
    """Dice of a mask taken as a score, (...)."""
    return _overlap(counts, -1)


def binary_precision(counts: Counts) -> Values:
    """Fraction of a mask, taken as a score, that is lesion, (...); NaN for an empty mask."""
    with np.errstate(invalid="ignore"):
        share: Values = counts[..., 0, -1] / counts[..., -1].sum(axis=-1)
    return share


def binary_recall(counts: Counts) -> Values:
    """Fraction of the lesion that a mask, taken as a score, covers, (...)."""
    with np.errstate(invalid="ignore"):
        share: Values = counts[..., 0, -1] / counts[..., 0, :].sum(axis=-1)
    return share


def precision_recall(counts: Counts) -> tuple[Values, Values]:
    """Precision and recall of every threshold that a pixel reaches, from the highest to the lowest."""
    true, false = above(counts)
    reached = np.flatnonzero(np.diff(true + false, append=0))[::-1]
    true, false = true[reached], false[reached]
    return true / (true + false), true / counts[0].sum()


def reliability(counts: Counts, parts: int = 10) -> tuple[Values, Values]:
    """Mean score and fraction of lesion of the pixels in each tenth of the scale of scores, (parts,) each.

    Both are equal for a score that is the probability of being outlined. NaN where there is no pixel; a score on the
    border of two tenths belongs to the lower, as in scikit-learn's `calibration_curve`.

    Args:
        counts: (2, levels), by level.
        parts: how many intervals of equal width.
    """
    levels = np.linspace(0, 1, counts.shape[-1])
    part = np.searchsorted(np.linspace(0, 1, parts + 1)[1:-1], levels)
    lesion, pixels = (np.bincount(part, one) for one in (counts[0], counts.sum(axis=0)))
    scores = np.bincount(part, levels * counts.sum(axis=0))
    with np.errstate(invalid="ignore"):
        return scores / pixels, lesion / pixels


def _overlap(counts: Counts, place: int) -> Values:
    """Dice of the pixels from one level or bin on, (...): one element of `dice`."""
    found, lesion = counts[..., place:].sum(axis=-1), counts[..., 0, :].sum(axis=-1)
    with np.errstate(invalid="ignore"):
        overlap: Values = np.where(lesion > 0, 2 * found[..., 0] / (found.sum(axis=-1) + lesion), np.nan)
    return overlap

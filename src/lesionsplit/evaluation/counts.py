"""Pixels counted by score, from which every pooled number follows in bounded memory.

Scores are 16 bit, in steps of 1 / 65535, as they are written to files. On such scores all that is
computed here is exact: there are no thresholds between levels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from lesionsplit.evaluation.ranked import Ranked
from lesionsplit.images import Float, Mask
from lesionsplit.reading import LEVELS

Counts: TypeAlias = npt.NDArray[np.float64]
"""(..., 2, levels or bins): pixels that are lesion, and pixels that are not, by score from 0 to 1."""

Values: TypeAlias = npt.NDArray[np.float64]


def level_of(threshold: float) -> int:
    """The lowest level that reaches a threshold; never level 0, which is "no sign at all"."""
    return int(np.clip(np.ceil(threshold * (LEVELS - 1) - 1e-9), 1, LEVELS - 1))


STARTS: npt.NDArray[np.int64] = np.unique(
    [0, *np.geomspace(1, LEVELS - 1, 3500).round().astype(int), *(level_of(part / 100) for part in range(1, 100))]
)
"""The lowest level of each bin; bins, some 2000, are kept for each series and serve intervals only.

Near 0, where most scores are, every level is a bin of its own; further up bins are 0.3 % of their level wide.
One starts at each hundredth, so that Dice is exact there.
"""

BIN_OF: npt.NDArray[np.int64] = np.repeat(np.arange(len(STARTS)), np.diff(STARTS, append=LEVELS))
"""(levels,): the bin of each."""


@dataclass
class PixelCounts:
    """Counts of all pixels, by level, and by series, by bin."""

    bin_of: ClassVar[npt.NDArray[np.int64]] = BIN_OF

    total: Counts = field(default_factory=lambda: np.zeros((2, LEVELS)))
    by_series: dict[str, Counts] = field(default_factory=dict)

    def add(self, series: str, score: Float, truth: Mask) -> None:
        """Count the pixels of one slice; score 0 to 1, any shape."""
        self.add_ranked(series, Ranked.of(score), truth)

    def add_ranked(self, series: str, ranked: Ranked, truth: Mask, within: Mask | None = None) -> None:
        """Count the pixels of one slice.

        Args:
            series: which it belongs to.
            ranked: its heat map.
            truth: which pixels are lesion, of the heat map's shape.
            within: which are counted, of the same shape; all by default.
        """
        if within is None:
            within = np.ones_like(truth)
        levels = np.append(ranked.levels, 0)
        bins, places = int(self.bin_of[-1]) + 1, self.bin_of[levels]
        of_series = self.by_series.setdefault(series, np.zeros((2, bins)))
        for part, mask in enumerate((truth & within, within > truth)):
            above = ranked.per_level(mask)
            counts = np.append(above, np.count_nonzero(mask) - above.sum())
            self.total[part, levels] += counts
            of_series[part] += np.bincount(places, counts, minlength=bins)


class MaskCounts(PixelCounts):
    """Counts of masks, taken as scores of 0 and 1; by series there are two bins, which serve the same measures.

    Resampling series then takes next to no time.
    """

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
    """Dice at one threshold, (...); counts by bin know hundredths only."""
    return _overlap(counts, place_of(threshold, counts))


def best_dice(counts: Counts) -> Values:
    """The highest Dice of any threshold above 0, (...): an oracle's, for comparison only."""
    best: Values = dice(counts)[..., 1:].max(axis=-1)
    return best


def lowest_dice(counts: Counts, low: float, high: float) -> Values:
    """The lowest Dice of any threshold from ``low`` to ``high``, as a share of the best Dice, (...).

    1 where no threshold of the range is worse than the best one; NaN where no threshold finds any lesion.
    Counts by bin know hundredths only.
    """
    overlap = dice(counts)
    lowest = overlap[..., place_of(low, counts) : place_of(high, counts) + 1].min(axis=-1)
    with np.errstate(invalid="ignore"):
        share: Values = lowest / overlap[..., 1:].max(axis=-1)
    return share


def place_of(threshold: float, counts: Counts) -> int:
    """Where in counts, by level or by bin, those start that reach a threshold.

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
    """Share of the pixels that is lesion, (...): the average precision of chance."""
    lesion: Values = counts[..., 0, :].sum(axis=-1) / counts.sum(axis=(-2, -1))
    return lesion


def binary_dice(counts: Counts) -> Values:
    """Dice of a mask taken as a score, (...)."""
    return _overlap(counts, -1)


def binary_precision(counts: Counts) -> Values:
    """Share of a mask, taken as a score, that is lesion, (...); NaN of an empty mask."""
    with np.errstate(invalid="ignore"):
        share: Values = counts[..., 0, -1] / counts[..., -1].sum(axis=-1)
    return share


def binary_recall(counts: Counts) -> Values:
    """Share of the lesion that a mask, taken as a score, covers, (...)."""
    with np.errstate(invalid="ignore"):
        share: Values = counts[..., 0, -1] / counts[..., 0, :].sum(axis=-1)
    return share


def precision_recall(counts: Counts) -> tuple[Values, Values]:
    """Precision and recall of every threshold that some pixel reaches, from the highest to the lowest."""
    true, false = above(counts)
    reached = np.flatnonzero(np.diff(true + false, append=0))[::-1]
    true, false = true[reached], false[reached]
    return true / (true + false), true / counts[0].sum()


def reliability(counts: Counts, parts: int = 10) -> tuple[Values, Values]:
    """Mean score and share of lesion of the pixels whose score lies in each tenth of the scale, (parts,) each.

    A score that means the chance of being outlined has both alike. NaN where no pixel scores so; a score between two
    tenths is of the lower, as in scikit-learn's `calibration_curve`.

    Args:
        counts: (2, levels), by level.
        parts: how many of equal width.
    """
    levels = np.linspace(0, 1, counts.shape[-1])
    part = np.searchsorted(np.linspace(0, 1, parts + 1)[1:-1], levels)
    lesion, pixels = (np.bincount(part, one, minlength=parts) for one in (counts[0], counts.sum(axis=0)))
    scores = np.bincount(part, levels * counts.sum(axis=0), minlength=parts)
    with np.errstate(invalid="ignore"):
        return scores / pixels, lesion / pixels


def _overlap(counts: Counts, place: int) -> Values:
    """Dice of the pixels from one level or bin on, (...): that element of `dice`, without all the others."""
    found, lesion = counts[..., place:].sum(axis=-1), counts[..., 0, :].sum(axis=-1)
    with np.errstate(invalid="ignore"):
        overlap: Values = np.where(lesion > 0, 2 * found[..., 0] / (found.sum(axis=-1) + lesion), np.nan)
    return overlap

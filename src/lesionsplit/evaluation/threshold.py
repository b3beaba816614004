"""The threshold of heat maps, set on normal slices and without any mask."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from lesionsplit.data.table import Table
from lesionsplit.errors import DataError
from lesionsplit.images import Float, Mask
from lesionsplit.models.card import NamedThreshold
from lesionsplit.scores import LEVELS, to_levels

CALIBRATION_FPR = 0.005
"""Fraction of the lung of normal slices that may reach the threshold."""

PROMISES: Final = {"specific": 0.95, "sensitive": 0.90}
"""By name of a threshold: the probability that of a new normal series at most `MARKED` is marked."""

MARKED = 0.01
"""Fraction of the pixels of lung in all slices of a series."""

NORMAL_REACH, LESION_REACH = 0.95, 0.5
"""See `threshold_of_images`."""

CONSTANT = 6
"""Scores that differ by no more than this number of steps of 1 / 65535 are constant."""


def calibration_slices(table: Table) -> Table:
    """The normal slices on which a threshold is set: those of val, else of train, else of test.

    Raises:
        DataError: there is none.
    """
    normal = table.labelled("normal")
    if not len(normal):
        raise DataError(f"{table.root}: has no normal slice; a threshold is set on normal slices")
    splits = {row.split for row in normal}
    chosen = next(split for split in ("val", "train", "test") if split in splits)
    return normal.select(lambda row: row.split == chosen)


class Scores(NamedTuple):
    """What is kept of the scores of some slices."""

    counts: npt.NDArray[np.int64]
    """How many pixels of their lungs have each score, (`LEVELS`,)."""

    highest: list[float]
    """The highest score in each slice."""

    @classmethod
    def of(cls, scored: Iterable[tuple[Float, Mask]]) -> Scores:
        """From heat map (0 to 1) and lungs of each slice."""
        counts, highest = np.zeros(LEVELS, dtype=np.int64), []
        for score, lungs in scored:
            inside = score[lungs]
            counts += np.bincount(to_levels(inside), minlength=LEVELS)
            highest.append(float(inside.max()))
        return cls(counts, highest)


def threshold_from_normals(scored: Iterable[tuple[Float, Mask]], fpr: float = CALIBRATION_FPR) -> float:
    """The lowest score that at most a fraction of the lung of normal slices reaches.

    Args:
        scored: heat map (0 to 1) and lungs of each normal slice.
        fpr: fraction of all their lung pixels, 0 to 1.
    """
    return threshold_from_counts(Scores.of(scored).counts, fpr)


class SeriesScores:
    """How much of the lung of each normal series reaches each score."""

    def __init__(self) -> None:
        self._counts: dict[str, npt.NDArray[np.uint32]] = {}
        """By series: how many pixels of lung have each score, (`LEVELS`,)."""

    def add(self, series: str, score: Float, lungs: Mask) -> None:
        """Count the heat map (0 to 1) of a slice inside its lungs."""
        counts = self._counts.setdefault(series, np.zeros(LEVELS, dtype=np.uint32))
        counts += np.bincount(to_levels(score[lungs]), minlength=LEVELS).astype(np.uint32)

    def thresholds(self) -> dict[str, NamedThreshold]:
        """The thresholds of `PROMISES`, as far as there are series enough.

        Split conformal risk control (Angelopoulos et al., "Conformal risk control", ICLR 2024, with a loss of 0 or 1):
        t_i is the lowest score that at most `MARKED` of series i reaches. Where n series and a new one are
        exchangeable, the new one's t is no higher than the k-th lowest of the n with probability k / (n + 1). So k is
        the smallest whole number with k / (n + 1) at least the promised probability.
        """
        lowest = sorted(threshold_from_counts(one.astype(np.int64), MARKED) for one in self._counts.values())
        count = len(lowest)
        found = {}
        for name, probability in PROMISES.items():
            k = math.ceil(probability * (count + 1) - 1e-9)
            if k <= count and lowest[k - 1] < 1:
                words = f"of {probability:.0%} of new normal series, at most {MARKED:.0%} of the lung reaches it"
                found[name] = NamedThreshold(value=lowest[k - 1], promise=f"{words} (conformal, {count} normal series)")
        return found


def threshold_of_images(normal: Scores, lesion: Scores) -> tuple[float, str]:
    """A threshold for images of anything, from image labels alone, and where it is from, in words.

    Scores fall off over a few pixels around a defect, and its edge is about where they are half as high. So the
    threshold is half way, in log-odds, from the highest scores of normal images to those of images with lesion, whose
    quantiles are `NORMAL_REACH` and `LESION_REACH`. It is the former where the latter is no higher, or not known.

    Args:
        normal: scores of normal images.
        lesion: those of images with lesion; may be none.
    """
    low = float(np.quantile(normal.highest, NORMAL_REACH))
    words = f"{NORMAL_REACH:.0%} of the normal images have a highest score below {low:.3g}"
    high = float(np.quantile(lesion.highest, 1 - LESION_REACH)) if lesion.highest else 0.0
    if high > low:
        low = float(expit((_log_odds(low) + _log_odds(high)) / 2))
        words = f"half way between two scores: {words}, {LESION_REACH:.0%} of those with lesion one above {high:.3g}"
    return min(1.0, (int(to_levels(np.array(low))) + 1) / (LEVELS - 1)), words


def _log_odds(score: float) -> float:
    return float(logit(np.clip(score, 1 / LEVELS, 1 - 1 / LEVELS)))


def doubt_about(threshold: float, normal: Scores, lesion: Scores) -> str:
    """What is wrong with a threshold, and what to do; empty if nothing is.

    Args:
        threshold: the lowest score that counts as lesion.
        normal: scores of the slices that set it.
        lesion: of slices with lesion; may be none.
    """
    more = "train longer (more --steps), or with another --config"
    used = np.flatnonzero(normal.counts)
    if used[-1] - used[0] <= CONSTANT:
        return f"the scores of normal images are constant, {used[0] / (LEVELS - 1):.5f}; {more}"
    if threshold >= 1:
        share = normal.counts[-1] / normal.counts.sum()
        return f"the scores of normal images are saturated: {share:.1%} are 1, so the threshold is 1; {more}"
    if lesion.highest and max(lesion.highest) < threshold:
        return (
            f"no image with lesion of {len(lesion.highest)} reaches the threshold {threshold:.5f}, the highest score "
            f"is {max(lesion.highest):.5f}, so masks will be empty; {more}, or predict with a lower --threshold"
        )
    return ""


def threshold_from_counts(counts: npt.NDArray[np.int64], fpr: float) -> float:
    """The lowest level above 0, as a score, that at most a fraction ``fpr`` of the counted pixels reaches."""
    reaching = counts[::-1].cumsum()[::-1] / counts.sum()
    low_enough = np.flatnonzero(reaching[1:] <= fpr) + 1
    level = int(low_enough[0]) if len(low_enough) else len(counts) - 1
    return level / (len(counts) - 1)

"""Errors of a method in one slice, at the stored threshold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from lesionsplit.data.table import Slice
from lesionsplit.evaluation.score_histogram import level_of
from lesionsplit.evaluation.sorted_scores import SortedScores
from lesionsplit.images import Mask


class AgainstOutline(NamedTuple):
    """A lesion slice's heat map against what one annotator outlined.

    NaN where the denominator is 0; without a threshold everything but the first and the last is NaN.
    """

    average_precision: float
    """Over the whole frame; NaN where nothing is outlined, like the next two."""

    dice: float
    """At the stored threshold, like everything that follows."""

    missed: float
    """Fraction of the outlined pixels that are below the threshold."""

    false: float
    """Fraction of the pixels above the threshold that are not outlined; NaN where there are none."""

    missed_of_lung: float
    """Missed pixels divided by the pixels of lung."""

    false_of_lung: float
    """False positive pixels divided by the pixels of lung."""

    outlined: float = float("nan")
    """Fraction of the frame that is outlined, the average precision of a random score."""

    @property
    def wrong(self) -> float:
        """Wrong pixels of either kind divided by the pixels of lung."""
        return self.missed_of_lung + self.false_of_lung


class SliceNumbers(NamedTuple):
    """One method's numbers for one slice."""

    row: Slice

    score: float
    """The slice score."""

    lesion_fraction: float
    """Fraction of its lung above the stored threshold; NaN without a threshold."""

    mean: float
    """Mean score in its lungs."""

    against: Mapping[str, AgainstOutline]
    """By annotator; empty for normal slices."""

    lung_pixels: int = 1
    """Pixels of its lung on the grid of the evaluation."""

    def wrong(self, annotator: str) -> float:
        """Wrong pixels divided by the pixels of lung; in normal slices all positives are wrong. NaN if unknown."""
        return self.against[annotator].wrong if self.against else self.lesion_fraction


def against_outline(sorted_scores: SortedScores, lungs: Mask, truth: Mask, threshold: float | None) -> AgainstOutline:
    """One slice's heat map against one annotator's outline.

    Args:
        sorted_scores: the heat map, of (rows, columns).
        lungs: of the same shape, at least one pixel set.
        truth: what is outlined, of the same shape; may be empty.
        threshold: the score from which a pixel counts as lesion; None where there is none.
    """
    precision, share, nan = sorted_scores.average_precision(truth), float(truth.mean()), float("nan")
    if threshold is None:
        return AgainstOutline(precision, nan, nan, nan, nan, nan, share)
    found = sorted_scores.reaching(level_of(threshold)).order
    outlined, positive, lung = int(np.count_nonzero(truth)), len(found), int(np.count_nonzero(lungs))
    hits = int(np.count_nonzero(truth.ravel()[found]))
    missed, false = outlined - hits, positive - hits
    return AgainstOutline(
        average_precision=precision,
        dice=2 * hits / (positive + outlined) if outlined else nan,
        missed=missed / outlined if outlined else nan,
        false=false / positive if positive else nan,
        missed_of_lung=missed / lung,
        false_of_lung=false / lung,
        outlined=share,
    )


def worst(slices: Iterable[SliceNumbers], annotator: str, count: int, of_a_series: int) -> list[SliceNumbers]:
    """The slices with the largest fraction of wrong pixels in the lung, the worst first; at most ``count``.

    Among equals, and where there is no threshold, the lowest average precision comes first.

    Args:
        slices: of a split.
        annotator: whose outlines are the truth in lesion slices.
        count: how many.
        of_a_series: the most of one series; more would be near-duplicates.
    """

    def merit(one: SliceNumbers) -> tuple[float, float]:
        precision = one.against[annotator].average_precision if one.against else float("nan")
        return -float(np.nan_to_num(one.wrong(annotator))), float(np.nan_to_num(precision, nan=1))

    chosen: list[SliceNumbers] = []
    taken: dict[str, int] = {}
    for one in sorted(slices, key=merit):
        if len(chosen) < count and taken.get(one.row.series, 0) < of_a_series:
            chosen.append(one)
            taken[one.row.series] = taken.get(one.row.series, 0) + 1
    return chosen

"""One slice's numbers: what is wrong in it, at the stored threshold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from lesionsplit.data.table import Slice
from lesionsplit.evaluation.counts import level_of
from lesionsplit.evaluation.ranked import Ranked
from lesionsplit.images import Float, Mask


class AgainstOutline(NamedTuple):
    """A lesion slice's heat map against what one annotator outlined.

    NaN where there is nothing to divide by; without a threshold, all but the average precision.
    """

    average_precision: float
    """Over the whole frame; NaN where nothing is outlined, as the next two."""

    dice: float
    """At the stored threshold, as all that follow."""

    missed: float
    """Share of the outlined pixels that do not fire."""

    false: float
    """Share of the pixels that fire that are not outlined; NaN where none fires."""

    missed_of_lung: float
    """Pixels missed, for each pixel of lung."""

    false_of_lung: float
    """Pixels that fire falsely, for each pixel of lung."""

    @property
    def wrong(self) -> float:
        """Wrong pixels of either kind, for each pixel of lung."""
        return self.missed_of_lung + self.false_of_lung


class SliceNumbers(NamedTuple):
    """What one method says of one slice."""

    row: Slice

    score: float
    """The slice score."""

    fired: float
    """Share of its lung at the stored threshold; NaN without one."""

    mean: float
    """Mean score in its lungs."""

    against: Mapping[str, AgainstOutline]
    """By annotator; empty for normal slices."""

    def wrong(self, annotator: str) -> float:
        """Wrong pixels for each pixel of lung; in a normal slice all that fires is wrong. NaN without a threshold."""
        return self.against[annotator].wrong if self.against else self.fired


def against_outline(score: Float, lungs: Mask, truth: Mask, threshold: float | None) -> AgainstOutline:
    """One slice's heat map against one annotator's outline.

    Args:
        score: 0 to 1, (rows, columns).
        lungs: of the same shape, at least one pixel set.
        truth: what is outlined, of the same shape; may be empty.
        threshold: the score from which a pixel fires; None where there is none.
    """
    return ranked_against_outline(Ranked.of(score), lungs, truth, threshold)


def ranked_against_outline(ranked: Ranked, lungs: Mask, truth: Mask, threshold: float | None) -> AgainstOutline:
    """`against_outline` of a heat map that is sorted already."""
    precision, nan = ranked.average_precision(truth), float("nan")
    if threshold is None:
        return AgainstOutline(precision, nan, nan, nan, nan, nan)
    found = ranked.reaching(level_of(threshold)).order
    outlined, fires, lung = int(np.count_nonzero(truth)), len(found), int(np.count_nonzero(lungs))
    hits = int(np.count_nonzero(truth.ravel()[found]))
    missed, false = outlined - hits, fires - hits
    return AgainstOutline(
        average_precision=precision,
        dice=2 * hits / (fires + outlined) if outlined else nan,
        missed=missed / outlined if outlined else nan,
        false=false / fires if fires else nan,
        missed_of_lung=missed / lung,
        false_of_lung=false / lung,
    )


def worst(slices: Iterable[SliceNumbers], annotator: str, count: int, of_a_series: int) -> list[SliceNumbers]:
    """The slices with most wrong pixels for each pixel of lung, the worst first; fewer than ``count`` if need be.

    Between equals, and where there is no threshold, the lowest average precision comes first.

    Args:
        slices: of a split.
        annotator: whose outlines are taken for the truth in lesion slices.
        count: how many.
        of_a_series: how many of one series at most; further ones are near-duplicates.
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

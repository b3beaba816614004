"""What is counted of one method's heat maps, slice by slice, and the numbers that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import NamedTuple

import msgspec
import numpy as np

from lesionsplit.data.table import Slice
from lesionsplit.evaluation.bootstrap import Bootstrap, Estimate
from lesionsplit.evaluation.counts import (
    PixelCounts,
    average_precision,
    best_dice,
    dice_at,
    level_of,
    lowest_dice,
)
from lesionsplit.evaluation.ranking import auroc
from lesionsplit.evaluation.ranking import average_precision as exact_average_precision
from lesionsplit.images import Float, Mask
from lesionsplit.reading import lesion_mask, share_of_lung, slice_score, to_levels

FIXED_THRESHOLD = 0.4
"""The paper's threshold, reported beside the stored one."""

LOWEST, HIGHEST = 0.1, 0.6
"""Thresholds between which Dice should hardly change: wherever one is set, little is lost."""

CALLED_NORMAL = 0.01
"""A slice of whose lung less than this share fires is called normal (Chaganti et al. 2020)."""


class Scored(NamedTuple):
    """A method's heat map of one slice, (rows, columns)."""

    score: Float
    """0 to 1; 0 outside the lungs."""

    lungs: Mask


class AgainstAnnotator(msgspec.Struct, frozen=True, kw_only=True):
    """A heat map against one annotator's masks, over the lesion slices of a split."""

    average_precision: Estimate
    """Pooled, whole image: the paper's number."""

    average_precision_in_lung: Estimate
    """Pooled, pixels inside the lungs."""

    average_precision_per_image: Estimate
    """Mean over slices that the annotator outlined something in."""

    dice_best: Estimate
    """Pooled, at the threshold that is best on this very split: an oracle's."""

    dice_stored: Estimate
    """Pooled, at the threshold stored with the weights."""

    dice_fixed: Estimate
    """Pooled, at 0.4."""

    dice_lowest: Estimate = msgspec.field(name=f"dice_lowest_{LOWEST}_to_{HIGHEST}")
    """Pooled, the lowest of any threshold from 0.1 to 0.6, as a share of the best: 1 is stable."""

    dice_stored_per_image: Estimate
    """Mean over slices that the annotator outlined something in, at the stored threshold."""


class AgainstAgreed(msgspec.Struct, frozen=True, kw_only=True):
    """A heat map against what two annotators agree on: pixels that both outlined, and that neither did."""

    average_precision: Estimate
    """Pooled, whole image; pixels that only one of them outlined are left out."""


class OnSlices(msgspec.Struct, frozen=True, kw_only=True):
    """What fires where nothing is, and whether slices can be told apart."""

    share_of_lung_fired: Estimate
    """Mean over normal slices of the share of lung at the stored threshold."""

    score_of_normal: Estimate
    """Mean over normal slices of the mean score in their lungs: near nothing, if all is well."""

    score_of_lesion: Estimate
    """The same of lesion slices."""

    specificity: Estimate
    """Share of the normal slices of whose lung less than 1 % fires."""

    sensitivity: Estimate
    """Share of the lesion slices of whose lung at least 1 % fires."""

    auroc: Estimate
    """Lesion against normal slices, by the slice score."""


@dataclass
class AnnotatorTally:
    """Heat maps counted against one annotator's masks."""

    whole: PixelCounts = field(default_factory=PixelCounts)
    in_lung: PixelCounts = field(default_factory=PixelCounts)
    outlined: list[str] = field(default_factory=list)
    """The series of each slice that the annotator outlined something in; the next two are of these."""
    precisions: list[float] = field(default_factory=list)
    dices: list[float] = field(default_factory=list)
    prevalences: list[float] = field(default_factory=list)

    def add(self, series: str, scored: Scored, truth: Mask, threshold: float) -> None:
        """Count one lesion slice."""
        self.whole.add(series, scored.score, truth)
        self.in_lung.add(series, scored.score[scored.lungs], truth[scored.lungs])
        if truth.any():
            levels = to_levels(scored.score)
            found = levels >= level_of(threshold)
            self.outlined.append(series)
            self.prevalences.append(float(truth.mean()))
            self.precisions.append(exact_average_precision(levels, truth))
            self.dices.append(float(2 * np.sum(found & truth) / (np.sum(found) + np.sum(truth))))

    def summarise(self, threshold: float) -> AgainstAnnotator:
        """Numbers with intervals."""
        bootstrap = Bootstrap(list(self.whole.by_series))
        return AgainstAnnotator(
            average_precision=bootstrap.pooled(average_precision, self.whole),
            average_precision_in_lung=bootstrap.pooled(average_precision, self.in_lung),
            average_precision_per_image=bootstrap.mean(self.precisions, self.outlined),
            dice_best=bootstrap.pooled(best_dice, self.whole),
            dice_stored=bootstrap.pooled(partial(dice_at, threshold=threshold), self.whole),
            dice_fixed=bootstrap.pooled(partial(dice_at, threshold=FIXED_THRESHOLD), self.whole),
            dice_lowest=bootstrap.pooled(partial(lowest_dice, low=LOWEST, high=HIGHEST), self.whole),
            dice_stored_per_image=bootstrap.mean(self.dices, self.outlined),
        )


@dataclass
class MethodTally:
    """One method's heat maps counted over a split."""

    threshold: float
    annotators: dict[str, AnnotatorTally] = field(default_factory=dict)
    agreed: dict[str, PixelCounts] = field(default_factory=dict)
    """By pair of annotators, ``a and b``: pixels that both or neither outlined."""
    rows: list[Slice] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    """Slice scores, of each of ``rows``."""
    fired: list[float] = field(default_factory=list)
    """Share of lung at the threshold, of each of ``rows``."""
    means: list[float] = field(default_factory=list)
    """Mean score in the lungs, of each of ``rows``."""

    def add(self, row: Slice, scored: Scored, truths: Mapping[str, Mask]) -> None:
        """Count one slice; ``truths`` by annotator, of the score's shape, in the table's order."""
        self.rows.append(row)
        self.scores.append(slice_score(scored.score, scored.lungs))
        self.fired.append(share_of_lung(lesion_mask(scored.score, self.threshold), scored.lungs))
        self.means.append(float(scored.score[scored.lungs].mean()))
        for annotator, truth in truths.items():
            self.annotators.setdefault(annotator, AnnotatorTally()).add(row.series, scored, truth, self.threshold)
        for (one, truth), (other, second) in combinations(list(truths.items())[:2], 2):
            same = truth == second
            self.agreed.setdefault(f"{one} and {other}", PixelCounts()).add(row.series, scored.score[same], truth[same])

    def against_annotators(self) -> dict[str, AgainstAnnotator]:
        """Numbers against each annotator."""
        return {name: tally.summarise(self.threshold) for name, tally in self.annotators.items()}

    def on_slices(self) -> OnSlices:
        """Numbers on normal slices, and on normal against lesion slices."""
        bootstrap = Bootstrap([row.series for row in self.rows])

        def mean(values: list[float], label: str) -> Estimate:
            chosen = [(value, row.series) for value, row in zip(values, self.rows, strict=True) if row.label == label]
            return bootstrap.mean([value for value, _ in chosen], [series for _, series in chosen])

        lesion = [row.label == "lesion" for row in self.rows]
        weights = bootstrap.weights([row.series for row in self.rows])
        return OnSlices(
            share_of_lung_fired=mean(self.fired, "normal"),
            score_of_normal=mean(self.means, "normal"),
            score_of_lesion=mean(self.means, "lesion"),
            specificity=mean([float(share < CALLED_NORMAL) for share in self.fired], "normal"),
            sensitivity=mean([float(share >= CALLED_NORMAL) for share in self.fired], "lesion"),
            auroc=Estimate.of(auroc(self.scores, lesion), auroc(self.scores, lesion, weights)),
        )

"""What is counted of one method's heat maps, slice by slice, and the numbers that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import NamedTuple

import msgspec

from lesionsplit.data.table import Label, Slice
from lesionsplit.evaluation.bootstrap import Bootstrap, Estimate
from lesionsplit.evaluation.counts import (
    MaskCounts,
    PixelCounts,
    average_precision,
    best_dice,
    binary_dice,
    dice_at,
    level_of,
    lowest_dice,
)
from lesionsplit.evaluation.ranked import Ranked
from lesionsplit.evaluation.ranking import auroc
from lesionsplit.evaluation.slices import AgainstOutline, SliceNumbers, ranked_against_outline
from lesionsplit.images import Float, Mask
from lesionsplit.reading import lesion_mask, share_of_lung, slice_score

FIXED_THRESHOLD = 0.4
"""The paper's threshold, reported beside the stored one."""

LOWEST, HIGHEST = 0.1, 0.6
"""Thresholds between which Dice should hardly change: wherever one is set, little is lost."""

MISSING = Estimate(None)
"""What cannot be measured on this data."""

CALLED_NORMAL = 0.01
"""A slice of whose lung less than this share fires is called normal (Chaganti et al. 2020)."""


class Scored(NamedTuple):
    """A method's heat map of one slice, (rows, columns)."""

    score: Float
    """0 to 1; 0 away from the lungs."""

    lungs: Mask

    presence: float | None = None
    """How sure a method that says so itself is that the slice has a lesion at all, 0 to 1."""


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

    dice_best_in_lung: Estimate
    """Pooled, pixels inside the lungs, at the threshold that is best for these: an oracle's."""

    dice_stored_in_lung: Estimate
    """Pooled, pixels inside the lungs, at the stored threshold."""


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
    found: MaskCounts = field(default_factory=MaskCounts)
    """What reaches the threshold, as a mask; nothing is counted without one."""
    found_in_lung: MaskCounts = field(default_factory=MaskCounts)
    outlined: list[str] = field(default_factory=list)
    """The series of each slice that the annotator outlined something in; the next two are of these."""
    precisions: list[float] = field(default_factory=list)
    dices: list[float] = field(default_factory=list)
    prevalences: list[float] = field(default_factory=list)

    def add(self, series: str, ranked: Ranked, lungs: Mask, truth: Mask, threshold: float | None) -> AgainstOutline:
        """Count one lesion slice; returns its own numbers."""
        self.whole.add_ranked(series, ranked, truth)
        self.in_lung.add_ranked(series, ranked, truth, within=lungs)
        if threshold is not None:
            reaching = ranked.reaching(level_of(threshold))
            self.found.add_ranked(series, reaching, truth)
            self.found_in_lung.add_ranked(series, reaching, truth, within=lungs)
        numbers = ranked_against_outline(ranked, lungs, truth, threshold)
        if truth.any():
            self.outlined.append(series)
            self.prevalences.append(float(truth.mean()))
            self.precisions.append(numbers.average_precision)
            self.dices.append(numbers.dice)
        return numbers

    def summarise(self) -> AgainstAnnotator:
        """Numbers with intervals."""
        bootstrap = Bootstrap(list(self.whole.by_series))
        fixed = partial(dice_at, threshold=FIXED_THRESHOLD)
        lowest = partial(lowest_dice, low=LOWEST, high=HIGHEST)
        measures = (average_precision, best_dice, fixed, lowest)
        whole_precision, whole_best, whole_fixed, whole_lowest = bootstrap.pooled_each(measures, self.whole)
        precision, best = bootstrap.pooled_each((average_precision, best_dice), self.in_lung)
        return AgainstAnnotator(
            average_precision=whole_precision,
            average_precision_in_lung=precision,
            average_precision_per_image=bootstrap.mean(self.precisions, self.outlined),
            dice_best=whole_best,
            dice_stored=_of_mask(bootstrap, self.found),
            dice_fixed=whole_fixed,
            dice_lowest=whole_lowest,
            dice_stored_per_image=bootstrap.mean(self.dices, self.outlined),
            dice_best_in_lung=best,
            dice_stored_in_lung=_of_mask(bootstrap, self.found_in_lung),
        )


def _of_mask(bootstrap: Bootstrap, found: MaskCounts) -> Estimate:
    return bootstrap.pooled(binary_dice, found) if found.by_series else MISSING


@dataclass
class MethodTally:
    """One method's heat maps counted over a split."""

    threshold: float | None
    """None: there was no normal slice to set one on. What is measured at it is then missing."""
    annotators: dict[str, AnnotatorTally] = field(default_factory=dict)
    agreed: dict[str, PixelCounts] = field(default_factory=dict)
    """By pair of annotators, ``a and b``: pixels that both or neither outlined."""
    slices: list[SliceNumbers] = field(default_factory=list)

    def add(self, row: Slice, scored: Scored, truths: Mapping[str, Mask]) -> None:
        """Count one slice; ``truths`` by annotator, of the score's shape, in the table's order."""
        ranked = Ranked.of(scored.score)
        against = {
            annotator: self.annotators.setdefault(annotator, AnnotatorTally()).add(
                row.series, ranked, scored.lungs, truth, self.threshold
            )
            for annotator, truth in truths.items()
        }
        fired = float("nan")
        if self.threshold is not None:
            fired = share_of_lung(lesion_mask(scored.score, self.threshold), scored.lungs)
        numbers = SliceNumbers(
            row=row,
            score=slice_score(scored.score, scored.lungs) if scored.presence is None else scored.presence,
            fired=fired,
            mean=float(scored.score[scored.lungs].mean()),
            against=against,
        )
        self.slices.append(numbers)
        for (one, truth), (other, second) in combinations(list(truths.items())[:2], 2):
            agreed = self.agreed.setdefault(f"{one} and {other}", PixelCounts())
            agreed.add_ranked(row.series, ranked, truth, within=truth == second)

    def against_annotators(self) -> dict[str, AgainstAnnotator]:
        """Numbers against each annotator."""
        return {name: tally.summarise() for name, tally in self.annotators.items()}

    def on_slices(self) -> OnSlices:
        """Numbers on normal slices, and on normal against lesion slices."""
        series = [one.row.series for one in self.slices]
        bootstrap = Bootstrap(series)

        def mean(value: Callable[[SliceNumbers], float], label: Label) -> Estimate:
            chosen = [one for one in self.slices if one.row.label == label]
            return bootstrap.mean([value(one) for one in chosen], [one.row.series for one in chosen])

        def mean_fired(value: Callable[[float], float], label: Label) -> Estimate:
            return MISSING if self.threshold is None else mean(lambda one: value(one.fired), label)

        lesion = [one.row.label == "lesion" for one in self.slices]
        scores = [one.score for one in self.slices]
        return OnSlices(
            share_of_lung_fired=mean_fired(float, "normal"),
            score_of_normal=mean(lambda one: one.mean, "normal"),
            score_of_lesion=mean(lambda one: one.mean, "lesion"),
            specificity=mean_fired(lambda share: float(share < CALLED_NORMAL), "normal"),
            sensitivity=mean_fired(lambda share: float(share >= CALLED_NORMAL), "lesion"),
            auroc=Estimate.of(auroc(scores, lesion), auroc(scores, lesion, bootstrap.weights(series))),
        )

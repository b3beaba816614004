"""Heat maps counted slice by slice, and the numbers that are computed from the counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import NamedTuple

import numpy as np

from lesionsplit.data.table import Label, Slice
from lesionsplit.evaluation.bootstrap import Bootstrap, Resampled
from lesionsplit.evaluation.healthy import HealthyAccumulator
from lesionsplit.evaluation.removal import RemovalAccumulator
from lesionsplit.evaluation.result import FIXED_THRESHOLD, HIGHEST, LOWEST
from lesionsplit.evaluation.score_histogram import (
    MaskHistogram,
    ScoreHistogram,
    average_precision,
    best_dice,
    binary_dice,
    dice_at,
    level_of,
    lowest_dice,
    prevalence,
)
from lesionsplit.evaluation.slices import AgainstOutline, SliceNumbers, against_outline
from lesionsplit.evaluation.sorted_scores import SortedScores
from lesionsplit.images import Float, Grey, Mask
from lesionsplit.scores import CALLED_NORMAL, lesion_fraction, lesion_mask, slice_score


class Scored(NamedTuple):
    """A method's result for one slice; every image is (rows, columns)."""

    score: Float
    """The heat map, 0 to 1; 0 away from the lungs."""

    lungs: Mask

    presence: float | None = None
    """Probability that the slice has a lesion, 0 to 1; None for methods that only make heat maps."""

    healthy: Grey | None = None
    """The healthy version, of the shape and depth of the slice's file; None for methods that make none."""


class Measured(NamedTuple):
    """Everything measured of one method, with resamples."""

    against: dict[str, dict[str, Resampled]]
    """By annotator, and by pair of annotators (``a and b``); then by measure, chance among them."""

    slices: dict[str, Resampled]
    """By measure."""


@dataclass
class AnnotatorAccumulator:
    """Heat maps counted against one annotator's masks."""

    whole: ScoreHistogram = field(default_factory=ScoreHistogram)
    in_lung: ScoreHistogram = field(default_factory=ScoreHistogram)
    found: MaskHistogram = field(default_factory=MaskHistogram)
    """Pixels above the stored threshold, as a mask; empty where there is no threshold."""
    found_in_lung: MaskHistogram = field(default_factory=MaskHistogram)
    outlined: list[tuple[str, AgainstOutline]] = field(default_factory=list)
    """Series and own numbers of each slice in which the annotator outlined something."""

    def add(
        self, series: str, sorted_scores: SortedScores, lungs: Mask, truth: Mask, threshold: float | None
    ) -> AgainstOutline:
        """Count one lesion slice; returns the slice's own numbers."""
        self.whole.add_sorted(series, sorted_scores, truth)
        self.in_lung.add_sorted(series, sorted_scores, truth, within=lungs)
        if threshold is not None:
            reaching = sorted_scores.reaching(level_of(threshold))
            self.found.add_sorted(series, reaching, truth)
            self.found_in_lung.add_sorted(series, reaching, truth, within=lungs)
        numbers = against_outline(sorted_scores, lungs, truth, threshold)
        if truth.any():
            self.outlined.append((series, numbers))
        return numbers

    def measure(self, bootstrap: Bootstrap) -> dict[str, Resampled]:
        """Every measure of `result.AGAINST`, and chance's, over the resamples of the lesion slices' series."""

        def per_image(measure: str) -> Resampled:
            return bootstrap.mean(
                [getattr(one, measure) for _, one in self.outlined], [name for name, _ in self.outlined]
            )

        return {
            **bootstrap.pooled(
                self.whole,
                average_precision=average_precision,
                dice_oracle=best_dice,
                dice_fixed=partial(dice_at, threshold=FIXED_THRESHOLD),
                chance=prevalence,
                **{f"dice_lowest_{LOWEST}_to_{HIGHEST}": partial(lowest_dice, low=LOWEST, high=HIGHEST)},
            ),
            **bootstrap.pooled(
                self.in_lung,
                average_precision_in_lung=average_precision,
                dice_oracle_in_lung=best_dice,
                chance_in_lung=prevalence,
            ),
            **bootstrap.pooled(self.found, dice_stored=binary_dice),
            **bootstrap.pooled(self.found_in_lung, dice_stored_in_lung=binary_dice),
            "average_precision_per_image": per_image("average_precision"),
            "dice_stored_per_image": per_image("dice"),
            "chance_per_image": per_image("outlined"),
        }


@dataclass
class MethodAccumulator:
    """One method's heat maps counted over a split."""

    threshold: float | None
    """None where no normal slice was available to set one; measures at the stored threshold are then missing."""
    called_normal: float = CALLED_NORMAL
    """The lesion fraction below which a slice counts as normal."""
    annotators: dict[str, AnnotatorAccumulator] = field(default_factory=dict)
    agreed: dict[str, ScoreHistogram] = field(default_factory=dict)
    """By pair of annotators, ``a and b``: pixels that both or neither outlined."""
    slices: list[SliceNumbers] = field(default_factory=list)
    healthy: HealthyAccumulator = field(default_factory=HealthyAccumulator)
    removal: RemovalAccumulator = field(default_factory=RemovalAccumulator)
    scores_slices: bool = False
    """Whether the method itself gives the probability that a slice has a lesion."""
    _measured: Measured | None = None

    def add(self, row: Slice, scored: Scored, truths: Mapping[str, Mask]) -> None:
        """Count one slice; ``truths`` by annotator, of the score's shape, in the table's order."""
        self._measured = None
        sorted_scores = SortedScores.of(scored.score)
        against = {
            annotator: self.annotators.setdefault(annotator, AnnotatorAccumulator()).add(
                row.series, sorted_scores, scored.lungs, truth, self.threshold
            )
            for annotator, truth in truths.items()
        }
        fraction = float("nan")
        if self.threshold is not None:
            fraction = lesion_fraction(lesion_mask(scored.score, self.threshold), scored.lungs)
        self.scores_slices = scored.presence is not None
        numbers = SliceNumbers(
            row=row,
            score=slice_score(scored.score, scored.lungs) if scored.presence is None else scored.presence,
            lesion_fraction=fraction,
            mean=float(scored.score[scored.lungs].mean()),
            against=against,
            lung_pixels=int(np.count_nonzero(scored.lungs)),
        )
        self.slices.append(numbers)
        for (one, truth), (other, second) in combinations(list(truths.items())[:2], 2):
            agreed = self.agreed.setdefault(f"{one} and {other}", ScoreHistogram())
            agreed.add_sorted(row.series, sorted_scores, truth, within=truth == second)

    def measured(self) -> Measured:
        """Everything measured, computed once for all slices that were added."""
        if self._measured is None:
            against = {}
            if self.annotators:
                bootstrap = Bootstrap([one.row.series for one in self.slices if one.row.label == "lesion"])
                against = {name: one.measure(bootstrap) for name, one in self.annotators.items()}
                for pair, pixels in self.agreed.items():
                    against[pair] = bootstrap.pooled(pixels, average_precision=average_precision, chance=prevalence)
            self._measured = Measured(against, self._measure_slices())
        return self._measured

    def _measure_slices(self) -> dict[str, Resampled]:
        bootstrap = Bootstrap([one.row.series for one in self.slices])

        def mean(values: Iterable[float], label: Label) -> Resampled:
            chosen = [(v, one.row.series) for v, one in zip(values, self.slices, strict=True) if one.row.label == label]
            return bootstrap.mean([value for value, _ in chosen], [series for _, series in chosen])

        means, fractions = [one.mean for one in self.slices], [one.lesion_fraction for one in self.slices]
        numbers = {
            "score_of_normal": mean(means, "normal"),
            "score_of_lesion": mean(means, "lesion"),
            "auroc": bootstrap.auroc(
                [one.score for one in self.slices],
                [one.row.label == "lesion" for one in self.slices],
                [one.row.series for one in self.slices],
            ),
        }
        if self.threshold is not None:
            numbers["false_positive_fraction"] = mean(fractions, "normal")
            numbers |= self._marked_series(bootstrap)
            numbers["specificity"] = mean([float(one < self.called_normal) for one in fractions], "normal")
            numbers["sensitivity"] = mean([float(one >= self.called_normal) for one in fractions], "lesion")
        return numbers

    def _marked_series(self, bootstrap: Bootstrap) -> dict[str, Resampled]:
        """How many normal series have more than `CALLED_NORMAL` of their lung marked; and the worst."""
        pixels: dict[str, list[tuple[float, int]]] = {}
        for one in self.slices:
            if one.row.label == "normal":
                pixels.setdefault(one.row.series, []).append((one.lesion_fraction * one.lung_pixels, one.lung_pixels))
        marked = {name: sum(m for m, _ in of) / max(1, sum(n for _, n in of)) for name, of in pixels.items()}
        over = [float(fraction > CALLED_NORMAL) for fraction in marked.values()]
        drawn = np.where(bootstrap.weights(list(marked)) > 0, list(marked.values()), np.nan)
        worst = np.fmax.reduce(drawn, axis=1, initial=np.nan)
        return {
            "normal_series_marked": bootstrap.mean(over, list(marked)),
            "worst_normal_series": Resampled(max(marked.values(), default=float("nan")), worst),
        }

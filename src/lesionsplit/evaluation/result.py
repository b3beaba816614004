"""The numbers of an evaluation: by name of the measure, each with its interval."""

from __future__ import annotations

from typing import Final

import msgspec

from lesionsplit.evaluation.bootstrap import Estimates

FIXED_THRESHOLD = 0.4
"""The paper's threshold, reported beside the stored one."""

LOWEST, HIGHEST = 0.1, 0.6
"""Thresholds between which Dice should hardly change."""

CHANCE: Final = "chance"
"""A random score, among the methods; its average precision is the fraction of lesion pixels."""

AGAINST: Final = {
    "average_precision": "pooled, whole image: the paper's measure",
    "average_precision_in_lung": "pooled, pixels inside the lungs",
    "average_precision_per_image": "mean over the slices in which the annotator outlined something",
    "dice_oracle": "pooled, at the threshold that is best on this very split; no method can know it",
    "dice_stored": "pooled, at the threshold stored with the weights",
    "dice_fixed": f"pooled, at {FIXED_THRESHOLD}",
    f"dice_lowest_{LOWEST}_to_{HIGHEST}": "pooled, the lowest at these thresholds, divided by the best; 1 is stable",
    "dice_stored_per_image": "mean over the slices in which the annotator outlined something",
    "dice_oracle_in_lung": "pooled, pixels inside the lungs, at the threshold that is best for these",
    "dice_stored_in_lung": "pooled, pixels inside the lungs",
}
"""Measures of a heat map against one annotator's masks, over the lesion slices of a split."""

AGREED: Final = ("average_precision",)
"""Against the pixels that two annotators both outlined, or both did not: pooled, whole image."""

OF_CHANCE: Final = ("average_precision", "average_precision_in_lung", "average_precision_per_image")

BETWEEN_ANNOTATORS: Final = ("dice", "precision", "recall")
"""Of one annotator's masks, as if a method had made them, against another annotator's."""

ON_SLICES: Final = {
    "false_positive_fraction": "mean over normal slices of the fraction of lung above the stored threshold",
    "normal_series_marked": "fraction of the normal series with more than 1 % of the lung above the stored threshold",
    "worst_normal_series": "the highest fraction of the lung of a normal series above the stored threshold",
    "score_of_normal": "mean over normal slices of the mean score in their lungs",
    "score_of_lesion": "the same over lesion slices",
    "specificity": "fraction of the normal slices with less than 1 % of the lung above the stored threshold",
    "sensitivity": "fraction of the lesion slices with at least 1 % of the lung above the stored threshold",
    "auroc": "lesion against normal slices, by the slice score",
}


class Reliability(msgspec.Struct, frozen=True, kw_only=True):
    """Calibration of scores as probabilities, by tenth of the scale, the lowest first; None where there is no pixel."""

    score: list[float | None]
    """Mean score of the pixels."""

    outlined: list[float | None]
    """Fraction of them that the annotator outlined."""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything measured on a split."""

    conventions: dict[str, str | int | float | None]
    """What the numbers mean: data, split, counts, resolution, thresholds."""

    chance: dict[str, Estimates]
    """By annotator: `OF_CHANCE`."""

    annotators: dict[str, dict[str, Estimates]]
    """`BETWEEN_ANNOTATORS`, by the annotator whose masks are the truth, then by the one whose masks are scored."""

    methods: dict[str, dict[str, Estimates]]
    """By method, then by annotator: `AGAINST`."""

    agreed: dict[str, dict[str, Estimates]]
    """By pair of annotators (``a and b``, the table's first two), then by method, chance among them: `AGREED`."""

    reliability: dict[str, dict[str, Reliability]]
    """By method, then by annotator: pixels in the lungs of lesion slices."""

    slices: dict[str, Estimates]
    """By method: `ON_SLICES`."""

    healthy: dict[str, Estimates]
    """By method that makes healthy versions: `healthy.MEASURES`; empty without the true healthy slices."""

    removal: dict[str, Estimates]
    """By method that makes healthy versions: `removal.MEASURES`."""

    @property
    def judges(self) -> list[str]:
        """Sources of the truth: the annotators, then the pair of the first two on pixels where they agree, if any."""
        return [*self.chance, *self.agreed]

    def against(self, method: str, judge: str) -> Estimates:
        """The numbers of a method, or of chance, against one of `judges`."""
        if judge in self.agreed:
            return self.agreed[judge][method]
        return self.chance[judge] if method == CHANCE else self.methods[method][judge]

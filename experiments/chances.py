"""What the scale of scores should be: `python experiments/chances.py DATA WEIGHTS ...`.

Pixels of val's slices with lesion, 256 pixels on the frame's longer side, the first two annotators. Two things hang on
the scale and not on the ranking:

* How far scores are from chances of being outlined: logistic regression, in the lungs, of what either outlined, alike,
  on the logit of the score, with intervals over series. A score that is the chance has a slope of 1 and an intercept
  of 0.
* The lowest Dice from a threshold of 0.1 to one of 0.6, as a share of the best; and with which odds it would be as high
  against the one as against the other.

Of weights of `distilled` and `separation` the settings are printed that would make it so; `distilled.toml` and
`separation.toml` have those that were chosen.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression

from lesionsplit.data.table import Table, read_table
from lesionsplit.errors import LesionsplitError
from lesionsplit.evaluation.accumulators import Scored
from lesionsplit.evaluation.bootstrap import Bootstrap, Estimate
from lesionsplit.evaluation.protocol import RESOLUTION, read_mask, to_grid
from lesionsplit.evaluation.score_histogram import STARTS, Counts, ScoreHistogram, Values, lowest_dice
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.methods.distilled import DistilledSettings
from lesionsplit.methods.separation import SeparationSettings
from lesionsplit.models.model import Model
from lesionsplit.models.torch_engine import TorchEngine
from lesionsplit.scores import LEVELS

LOW, HIGH = 0.1, 0.6


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit("give a data set and weights: python experiments/chances.py DATA WEIGHTS ...")
    table = read_table(Path(sys.argv[1])).split("val").labelled("lesion")
    if not len(table) or len(table.annotators) < 2:
        sys.exit(
            f"{sys.argv[1]}: {len(table)} slices with lesion and {len(table.annotators)} annotators in val; needs two"
        )
    for name in sys.argv[2:]:
        model = Model.load(Path(name))
        predictor = SlicePredictor(TorchEngine(model, "cpu"))
        found = counted(predictor, table)
        bootstrap = Bootstrap(list(found.lungs.by_series))
        fitted = bootstrap.pooled(found.lungs, slope=part_of_fit(0), intercept=part_of_fit(1))
        slope, intercept = fitted["slope"].estimate(), fitted["intercept"].estimate()
        one, other = (each.total for each in found.each)
        lowest = f"{lowest_with(1.0, one):.3f} / {lowest_with(1.0, other):.3f}"
        print(f"{name}: slope {said(slope)}, intercept {said(intercept)}; lowest Dice {lowest} of the best")
        method = model.card.method
        if (
            isinstance(method, DistilledSettings | SeparationSettings)
            and slope.value is not None
            and intercept.value is not None
        ):
            score_odds = method.score_odds**slope.value * math.exp(intercept.value)
            print(
                f"  1 and 0 with method.logit_scale={slope.value * method.logit_scale:.2f} and "
                f"method.score_odds={score_odds:.2f}"
            )
            if (factor := alike(one, other)) is None:
                print("  the lowest Dice is the same with no odds from a tenth to ten times these")
            else:
                there = f"{lowest_with(factor, one):.3f}"
                print(f"  alike, {there}, with method.score_odds={method.score_odds * factor:.2f} or about that")


class Found(NamedTuple):
    """Pixels by score."""

    lungs: ScoreHistogram
    """Those in the lungs, of both annotators together."""

    each: list[ScoreHistogram]
    """All, of each annotator."""


def counted(predictor: SlicePredictor, table: Table) -> Found:
    """Score a table and count its pixels."""
    found = Found(ScoreHistogram(), [ScoreHistogram(), ScoreHistogram()])
    for row, one in zip(table, predictor.predict_rows(table), strict=True):
        scored = to_grid(Scored(one.score, one.lungs), RESOLUTION)
        for annotator, whole in zip(table.annotators[:2], found.each, strict=True):
            truth = read_mask(row, annotator, RESOLUTION)
            whole.add(row.series, scored.score, truth)
            found.lungs.add(row.series, scored.score[scored.lungs], truth[scored.lungs])
    return found


def fitted(counts: Counts) -> tuple[float, float]:
    """Slope and intercept of the logit of being lesion on that of the score, between its lowest and highest level."""
    levels = np.arange(LEVELS) if counts.shape[-1] == LEVELS else (STARTS + np.append(STARTS[1:], LEVELS) - 1) / 2
    score = levels[1:-1] / (LEVELS - 1)
    logit = np.tile(np.log(score / (1 - score)), 2)[:, None]
    lesion = np.repeat([1, 0], len(score))
    fit = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(
        logit, lesion, sample_weight=counts[:, 1:-1].ravel()
    )
    return float(fit.coef_[0, 0]), float(fit.intercept_[0])


def part_of_fit(part: int) -> Callable[[Counts], Values]:
    """Slope, 0, or intercept, 1, of one or of many counts, (..., 2, levels or bins)."""

    def measure(counts: Counts) -> Values:
        flat = counts.reshape(-1, *counts.shape[-2:])
        return np.array([fitted(one)[part] for one in flat]).reshape(counts.shape[:-2])

    return measure


def lowest_with(factor: float, counts: Counts) -> float:
    """The lowest Dice, as a share of the best, were the odds of all scores so many times what they are.

    Of weights whose scores are averaged with neighbours' the odds change before, so that it is nearly that.
    """
    low, high = (1 / (1 + factor * (1 - at) / at) for at in (LOW, HIGH))
    return float(lowest_dice(counts, low, high))


def alike(one: Counts, other: Counts) -> float | None:
    """By what the odds of all scores are to be multiplied so that the lowest Dice is the same against both.

    Who outlines more wants higher scores. None: nothing between a tenth and ten times does.
    """

    def apart(power: float) -> float:
        return lowest_with(math.exp(power), one) - lowest_with(math.exp(power), other)

    if apart(0) == 0:
        return 1.0
    least, most = -math.log(10), math.log(10)
    if not apart(least) * apart(most) < 0:  # NaN, where an annotator outlined nothing, is none either
        return None
    return math.exp(float(brentq(apart, least, most, xtol=1e-3)))


def said(number: Estimate) -> str:
    """A number with its interval."""
    if number.value is None:
        return "-"
    interval = "" if number.low is None or number.high is None else f" [{number.low:.2f}, {number.high:.2f}]"
    return f"{number.value:.3f}{interval}"


if __name__ == "__main__":
    try:
        main()
    except LesionsplitError as error:
        sys.exit(str(error))

"""Confidence intervals by resampling whole series, because slices of one series are near-duplicates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from lesionsplit.evaluation.score_histogram import Values

RESAMPLES = 1000
CHUNK = 100
"""Resamples computed at a time, which limits memory."""


class Estimate(msgspec.Struct, frozen=True):
    """A number with its 95 % interval; None where it cannot be computed."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def excludes_zero(self) -> bool | None:
        """Whether the interval lies on one side of 0; None where there is no interval."""
        if self.low is None or self.high is None:
            return None
        return self.low > 0 or self.high < 0


Estimates: TypeAlias = dict[str, Estimate]
"""By name of the measure."""

MISSING = Estimate(None)
"""A number that cannot be measured on this data."""


class Resampled(NamedTuple):
    """A number on all series, and in each resample of them, (resamples,); NaN where it cannot be computed."""

    value: float
    resamples: Values

    def less(self, other: Resampled) -> Resampled:
        """The difference to another number, resample by resample."""
        return Resampled(self.value - other.value, self.resamples - other.resamples)

    def estimate(self) -> Estimate:
        """The number with the 2.5th to 97.5th percentile of its resamples.

        There is no interval where fewer than half of the resamples have a number, as with a single series.
        """
        if not np.isfinite(self.value):
            return MISSING
        known = self.resamples[np.isfinite(self.resamples)]
        if len(known) < RESAMPLES / 2:
            return Estimate(self.value)
        low, high = np.percentile(known, [2.5, 97.5])
        return Estimate(self.value, float(low), float(high))


class Pooled(Protocol):
    """What is counted over slices, and added up over series."""

    by_series: dict[str, Values]

    @property
    def total(self) -> Values:
        """Of all series, perhaps in more detail."""


def estimates(names: Iterable[str], numbers: Mapping[str, Resampled]) -> Estimates:
    """An estimate of each name; one without a number is missing."""
    return {name: numbers[name].estimate() if name in numbers else MISSING for name in names}


class Bootstrap:
    """Resamples of a set of series, the same ones for everything that is measured on it."""

    def __init__(self, series: Sequence[str], seed: int = 0) -> None:
        """``series`` of each slice; a name that is repeated is several slices of one series."""
        self.names = sorted(set(series))
        count = len(self.names)
        resamples = RESAMPLES if count > 1 else 0
        rng = np.random.default_rng(seed)
        self.times = rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
        """(resamples, series): how often each series is drawn."""

    def weights(self, series: Sequence[str]) -> Values:
        """How often each slice counts in each resample, (resamples, slices), from the series of each slice."""
        index = {name: number for number, name in enumerate(self.names)}
        chosen: Values = self.times[:, [index[name] for name in series]]
        return chosen

    def mean(self, values: Sequence[float], series: Sequence[str]) -> Resampled:
        """Mean over slices; NaN without any slice."""
        weights, numbers = self.weights(series), np.asarray(values, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            resamples = weights @ numbers / weights.sum(axis=1)
        return Resampled(float(numbers.mean()) if len(numbers) else float("nan"), resamples)

    def auroc(self, scores: Sequence[float], truths: Sequence[bool], series: Sequence[str]) -> Resampled:
        """Area under the ROC curve over slices; NaN where all slices are true or all are false."""
        return Resampled(float(auroc(scores, truths)), auroc(scores, truths, self.weights(series)))

    def pooled(self, pixels: Pooled, **measures: Callable[[Values], Values]) -> dict[str, Resampled]:
        """Measures of counted pixels, by name.

        Args:
            pixels: of these series; a series may have no pixels. Nothing is returned where none has any.
            measures: each takes counts, such as (..., 2, levels or bins), and returns (...).
        """
        if not pixels.by_series:
            return {}
        nothing = np.zeros_like(next(iter(pixels.by_series.values())))
        counts = np.stack([pixels.by_series.get(name, nothing) for name in self.names])
        resampled: dict[str, list[Values]] = {name: [np.zeros(0)] for name in measures}
        for at in range(0, len(self.times), CHUNK):
            drawn = np.tensordot(self.times[at : at + CHUNK], counts, axes=1)
            for name, measure in measures.items():
                resampled[name].append(measure(drawn))
        return {
            name: Resampled(float(measure(pixels.total)), np.concatenate(resampled[name]))
            for name, measure in measures.items()
        }


def auroc(score: npt.ArrayLike, truth: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Values:
    """Probability that a true one's score is above a false one's; ties count half.

    Args:
        score: (n,).
        truth: (n,), true or false.
        weights: (..., n), how often each one counts; once by default.

    Returns:
        (...); NaN where true or false ones are missing.
    """
    scores, truths = np.asarray(score, dtype=np.float64), np.asarray(truth, dtype=bool)
    times = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(scores)
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of each run of ties
    positive = np.add.reduceat((times * truths)[..., order], starts, axis=-1)
    negative = np.add.reduceat((times * ~truths)[..., order], starts, axis=-1)
    below = negative.cumsum(axis=-1) - negative / 2
    with np.errstate(invalid="ignore"):
        chance: Values = (positive * below).sum(axis=-1) / (positive.sum(axis=-1) * negative.sum(axis=-1))
    return chance

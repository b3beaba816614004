"""Intervals by resampling whole series: slices of a series are near-duplicates of each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from lesionsplit.evaluation.counts import PixelCounts, Values

RESAMPLES = 1000
CHUNK = 100
"""Resamples worked on at a time, which bounds memory."""


class Estimate(msgspec.Struct, frozen=True):
    """A number with its 95 % interval; what cannot be computed is missing."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float | Values, resampled: Values) -> Estimate:
        """A value, and the same measured in each resample."""
        if not np.isfinite(value):
            return cls(None)
        kept = resampled[np.isfinite(resampled)]
        if len(kept) < RESAMPLES / 2:  # one series only, or hardly any resample in which it is defined
            return cls(float(value))
        low, high = np.percentile(kept, [2.5, 97.5])
        return cls(float(value), float(low), float(high))


class Bootstrap:
    """Resamples of a set of series, the same for everything measured on it."""

    def __init__(self, series: Sequence[str], seed: int = 0) -> None:
        """``series`` of each slice; repeats are slices of one series."""
        self.names = sorted(set(series))
        count = len(self.names)
        resamples = RESAMPLES if count > 1 else 0
        rng = np.random.default_rng(seed)
        self.times = rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
        """(resamples, series): how often each series is drawn."""

    def weights(self, series: Sequence[str]) -> Values:
        """How often each slice counts in each resample, (resamples, slices), given its series."""
        index = {name: number for number, name in enumerate(self.names)}
        chosen: Values = self.times[:, [index[name] for name in series]]
        return chosen

    def mean(self, values: Sequence[float], series: Sequence[str]) -> Estimate:
        """Mean over slices."""
        if not len(values):
            return Estimate(None)
        weights, numbers = self.weights(series), np.asarray(values, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            return Estimate.of(numbers.mean(), weights @ numbers / weights.sum(axis=1))

    def pooled(self, measure: Callable[[Values], Values], pixels: PixelCounts) -> Estimate:
        """A measure of counted pixels.

        Args:
            measure: of counts (..., 2, levels or bins), returns (...).
            pixels: of at least one series, and of no series but these; one may be missing.
        """
        (estimate,) = self.pooled_each([measure], pixels)
        return estimate

    def pooled_each(self, measures: Sequence[Callable[[Values], Values]], pixels: PixelCounts) -> list[Estimate]:
        """Several measures of the same counted pixels, which are resampled once for all of them; see `pooled`."""
        nothing = np.zeros_like(next(iter(pixels.by_series.values())))
        counts = np.stack([pixels.by_series.get(name, nothing) for name in self.names])
        resampled: list[list[Values]] = [[np.zeros(0)] for _ in measures]
        for at in range(0, len(self.times), CHUNK):
            drawn = np.tensordot(self.times[at : at + CHUNK], counts, axes=1)
            for measure, values in zip(measures, resampled, strict=True):
                values.append(measure(drawn))
        return [
            Estimate.of(measure(pixels.total), np.concatenate(values))
            for measure, values in zip(measures, resampled, strict=True)
        ]

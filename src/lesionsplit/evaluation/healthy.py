"""Healthy versions against the true slice without its lesion, which is known for phantoms."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lesionsplit.data.table import Slice
from lesionsplit.errors import DataError
from lesionsplit.evaluation.bootstrap import Bootstrap, Estimates, estimates
from lesionsplit.images import Grey, Mask, as_float, read_grey

MEASURES = {
    "error_of_slice": "mean |difference| of the slice itself to the truth in its lungs, as a fraction of full scale",
    "error_of_healthy": "the same of the healthy version",
    "closer": "fraction of slices whose healthy version is closer to the truth than the slice is",
}
"""Over lesion slices."""


@dataclass
class HealthyAccumulator:
    """Healthy versions compared so far."""

    errors: list[tuple[str, float, float]] = field(default_factory=list)
    """Series of each slice, error of the slice itself, error of its healthy version."""

    def add(self, row: Slice, healthy: Grey, lungs: Mask) -> None:
        """Compare one slice's healthy version, of the slice's shape and depth; skipped where the truth is unknown.

        Raises:
            DataError: the true healthy slice cannot be read, or has another shape; the row is named.
        """
        if row.healthy is None:
            return
        try:
            truth, image = as_float(read_grey(row.healthy)), as_float(read_grey(row.image))
        except DataError as error:
            raise DataError(f"{row.place}: {error}") from None
        if truth.shape != image.shape:
            raise DataError(f"{row.place}: {row.healthy} has another shape than the image; draw it on the same frame")
        before, after = (float(np.abs(one - truth)[lungs].mean()) for one in (image, as_float(healthy)))
        self.errors.append((row.series, before, after))

    def summarise(self) -> Estimates | None:
        """Numbers with intervals; None where no truth was known."""
        if not self.errors:
            return None
        series, before, after = zip(*self.errors, strict=True)
        bootstrap, closer = Bootstrap(series), [float(one < other) for _, other, one in self.errors]
        values = zip(MEASURES, (before, after, closer), strict=True)
        return estimates(MEASURES, {name: bootstrap.mean(one, series) for name, one in values})

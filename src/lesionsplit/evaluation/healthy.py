"""Healthy versions against what slices truly look like without their lesion, where that is known: on a phantom."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import numpy as np

from lesionsplit.data.table import Slice
from lesionsplit.errors import DataError
from lesionsplit.evaluation.bootstrap import Bootstrap, Estimate
from lesionsplit.images import Grey, Mask, as_float, read_grey


class AgainstHealthy(msgspec.Struct, frozen=True, kw_only=True):
    """Over lesion slices; errors are mean |difference| over a slice's lungs, as a fraction of full scale."""

    error_of_slice: Estimate
    """Of the slice as it is: what its lesion adds."""

    error_of_healthy: Estimate
    """Of the healthy version."""

    closer: Estimate
    """Share of slices whose healthy version is closer to the truth than the slice is."""


@dataclass
class HealthyTally:
    """Healthy versions compared so far."""

    series: list[str] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)

    def add(self, row: Slice, healthy: Grey, lungs: Mask) -> None:
        """Compare one slice's healthy version, of the slice's shape and depth.

        Raises:
            DataError: naming the row: what it looks like healthy cannot be read, or has another shape.
        """
        if row.healthy is None:
            return
        try:
            truth, image = as_float(read_grey(row.healthy)), as_float(read_grey(row.image))
        except DataError as error:
            raise DataError(f"{row.place}: {error}") from None
        if truth.shape != image.shape:
            raise DataError(f"{row.place}: {row.healthy} has another shape than the image; draw it on the same frame")
        self.series.append(row.series)
        self.before.append(float(np.abs(image - truth)[lungs].mean()))
        self.after.append(float(np.abs(as_float(healthy) - truth)[lungs].mean()))

    def summarise(self) -> AgainstHealthy | None:
        """Numbers with intervals; nothing where no truth was known."""
        if not self.series:
            return None
        bootstrap = Bootstrap(self.series)
        closer = [float(after < before) for before, after in zip(self.before, self.after, strict=True)]
        return AgainstHealthy(
            error_of_slice=bootstrap.mean(self.before, self.series),
            error_of_healthy=bootstrap.mean(self.after, self.series),
            closer=bootstrap.mean(closer, self.series),
        )

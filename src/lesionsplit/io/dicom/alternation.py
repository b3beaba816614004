"""Tell from the values whether slices belong to several acquisitions in turn, where no header says so.

In one acquisition a slice resembles the next ones most, or lies between them. Where acquisitions take turns, a slice
differs from both neighbours, and these do not differ from each other: in their grey as a whole (another breath), in
the mean of the lungs or of soft tissue (another phase), or in their noise (another reconstruction).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from lesionsplit.io.dicom.acquisitions import FEWEST
from lesionsplit.volumes.volume import Voxels

SIZE = 64
"""Rows and columns of the previews by which slices are compared, at least."""

GREY = -1024, 400
"""Range of HU of a preview."""

LUNG, SOFT_TISSUE = (-980, -500), (-200, 400)
"""Ranges of HU whose means are compared, where both slices are in them."""

BODY = -900, 300
"""Range of HU in which noise is measured."""

FEWEST_PIXELS, FEWEST_NOISY = 50, 400
"""Pixels of a preview below which a mean, and noise, say nothing."""

LARGEST = 300
"""HU to which differences of pixels are clipped, so that edges do not outweigh the rest."""

JUMP = 1.25
"""Minimum difference of neighbours of two acquisitions as a whole, as a multiple of that of the nearest slices of
one."""

LEAST: Final = {"lung": 8.0, "soft tissue": 8.0, "noise": 0.4}
"""Minimum difference of neighbours of two acquisitions: HU, and the logarithm of a ratio. Linear interpolation between
slices makes every second one less noisy by 0.35."""

CLEAR = 2.0
"""Minimum difference of neighbours of two acquisitions in one of these, as a multiple of that of slices of one."""

LONG = 4 * FEWEST
"""Slices of a series that may be of three acquisitions, and in which some may break the rule."""

SHARE, SHARE_OF_FEW = 0.6, 0.7
"""Minimum share of the slices of a long series that keep the rule, and of one of less than twice `LONG`; in a short
one, all do. By chance, up to 0.4 do in real scans of one acquisition, whatever their spacing."""

KNOWN = 0.5
"""Minimum share of the slices with enough pixels of a measure."""

ROUNDING = 2.0
"""HU of noise below which ratios say nothing."""


class Preview(NamedTuple):
    """What is kept of a slice to compare it with its neighbours."""

    grey: npt.NDArray[np.int16]
    """HU of some rows and columns."""

    noise: float
    """Logarithm of the typical difference of neighbouring pixels, in HU; NaN if there is too little of a body."""


def preview(values: Voxels) -> Preview:
    """A preview of a slice in HU, (columns, rows)."""
    i, j = (max(1, size // SIZE) for size in values.shape)
    grey = np.clip(values[::i, ::j], *GREY).astype(np.int16)
    before, here, after = (
        np.clip(values[start : len(values) - 2 + start : i, ::j], *GREY).astype(np.float32) for start in range(3)
    )
    rough = abs(2 * here - before - after)[_inside(here, BODY)]
    return Preview(grey, float(np.log(np.median(rough) + ROUNDING)) if len(rough) >= FEWEST_NOISY else np.nan)


def turns(previews: Sequence[Preview]) -> int:
    """How many acquisitions neighbouring slices belong to in turn, by their values; 1 for a proper series.

    Args:
        previews: of all slices in order, of one shape.
    """
    if len(previews) < 2 * FEWEST:
        return 1
    kept = _Previews.of(previews)
    apart = {step: _differences(kept, step) for step in (1, 2, 3)}
    short = len(previews) < LONG
    if not short:
        whole = {step: float(np.median(found["whole"])) for step, found in apart.items()}
        nearest = min((2, 3), key=lambda step: whole[step])
        if whole[1] > JUMP * whole[nearest]:
            return nearest
    steps = (2,) if short else (2, 3)
    return next((step for step in steps if any(_alternates(apart[1][k], apart[step][k], k) for k in LEAST)), 1)


def _alternates(next_ones: npt.NDArray[np.float64], same: npt.NDArray[np.float64], measure: str) -> bool:
    """Whether slices differ more from the next ones than from those that may be of the same acquisition.

    Args:
        next_ones: differences of slices one apart.
        same: differences of slices ``len(next_ones) + 1 - len(same)`` apart: several of the former lie between.
        measure: a key of `LEAST`.
    """
    step = len(next_ones) + 1 - len(same)
    between = np.lib.stride_tricks.sliding_window_view(next_ones, step)
    known = np.isfinite(between).all(axis=1) & np.isfinite(same)
    if known.sum() <= FEWEST or known.mean() < KNOWN:
        return False
    # At least two of the steps lead to another acquisition, or back.
    jump = np.sort(between[known], axis=1)[:, -2]
    kept = (jump > CLEAR * same[known]) & (jump > LEAST[measure])
    slices = len(next_ones) + 1
    return bool(kept.mean() >= (1 if slices < LONG else SHARE_OF_FEW if slices < 2 * LONG else SHARE))


class _Previews(NamedTuple):
    """Those of a series together, so that all pairs are compared at once."""

    grey: npt.NDArray[np.int16]
    """(slices, pixels)."""

    tissues: tuple[npt.NDArray[np.bool_], ...]
    """(slices, pixels) each: where `LUNG` and `SOFT_TISSUE` are."""

    noise: npt.NDArray[np.float64]
    """(slices,)."""

    @classmethod
    def of(cls, previews: Sequence[Preview]) -> _Previews:
        grey = np.stack([one.grey.ravel() for one in previews])
        tissues = tuple(_inside(grey, of) for of in (LUNG, SOFT_TISSUE))
        return cls(grey, tissues, np.array([one.noise for one in previews]))


def _differences(kept: _Previews, step: int) -> dict[str, npt.NDArray[np.float64]]:
    """Absolute differences of slices ``step`` apart in each measure; NaN where too few pixels show it."""
    change = kept.grey[step:] - kept.grey[:-step]
    clipped = np.clip(change, -LARGEST, LARGEST)
    means = (_means(clipped, of[step:] & of[:-step]) for of in kept.tissues)
    values = (np.abs(change).mean(axis=1), *means, kept.noise[step:] - kept.noise[:-step])
    return {name: np.abs(one) for name, one in zip(("whole", *LEAST), values, strict=True)}


def _means(values: npt.NDArray[np.int16], where: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Mean of each row over some of its pixels."""
    count = where.sum(axis=1)
    total = (values * where).sum(axis=1, dtype=np.int64)
    means: npt.NDArray[np.float64] = np.where(count >= FEWEST_PIXELS, total / np.maximum(count, 1), np.nan)
    return means


def _inside(values: npt.NDArray[np.float32] | npt.NDArray[np.int16], limits: tuple[int, int]) -> npt.NDArray[np.bool_]:
    return (values > limits[0]) & (values < limits[1])

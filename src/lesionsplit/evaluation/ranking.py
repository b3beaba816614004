"""Exact ranking measures of a handful of values; pooled pixels are counted in `counts`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


def average_precision(score: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Average precision of values against true or false, as scikit-learn defines it; NaN if none is true."""
    scores, truths = np.asarray(score).ravel(), np.asarray(truth, dtype=bool).ravel()
    if not truths.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    scores, truths = scores[order], truths[order]
    last_of_tie = np.flatnonzero(np.diff(scores, append=-np.inf))
    true = truths.cumsum()[last_of_tie]
    precision = true / (last_of_tie + 1)
    return float(np.sum(precision * np.diff(true, prepend=0)) / true[-1])


def auroc(score: npt.ArrayLike, truth: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Numbers:
    """Chance that a true one's score is above a false one's, ties counting half.

    Args:
        score: (n,).
        truth: (n,), true or false.
        weights: (..., n), how often each one counts; once by default.

    Returns:
        (...); NaN where true or false ones are missing.
    """
    scores, truths = np.asarray(score, dtype=np.float64), np.asarray(truth, dtype=bool)
    times = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of each run of ties
    positive = np.add.reduceat((times * truths)[..., order], starts, axis=-1)
    negative = np.add.reduceat((times * ~truths)[..., order], starts, axis=-1)
    below = negative.cumsum(axis=-1) - negative / 2
    with np.errstate(invalid="ignore"):
        chance: Numbers = (positive * below).sum(axis=-1) / (positive.sum(axis=-1) * negative.sum(axis=-1))
    return chance

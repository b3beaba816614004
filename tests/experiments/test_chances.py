from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from lesionsplit.evaluation.bootstrap import Estimate
from lesionsplit.evaluation.score_histogram import BIN_OF, STARTS, Counts
from lesionsplit.scores import LEVELS

SCORE = np.arange(LEVELS) / (LEVELS - 1)


@pytest.fixture(scope="module")
def script(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("experiments/chances.py")


def made(slope: float, intercept: float) -> Counts:
    """Pixels, (2, levels), most of which score low, and of which a share is lesion that hangs on the score."""
    with np.errstate(divide="ignore"):
        chance = 1 / (1 + np.exp(-slope * np.log(SCORE / (1 - SCORE)) - intercept))
    pixels = 1000 / (1 + 100 * SCORE)
    return np.stack([pixels * chance, pixels * (1 - chance)])


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (1.25, 0.3), (0.7, -0.5)])
def test_slope_and_intercept_are_those_that_made_the_pixels(script: ModuleType, slope: float, intercept: float) -> None:
    counts = made(slope, intercept)
    assert script.fitted(counts) == pytest.approx((slope, intercept), abs=0.01)
    binned = np.stack([np.bincount(BIN_OF, part, minlength=len(STARTS)) for part in counts])
    many = np.stack([binned, 2 * binned])
    assert script.part_of_fit(0)(many) == pytest.approx([slope, slope], abs=0.02)
    assert script.part_of_fit(1)(many) == pytest.approx([intercept, intercept], abs=0.02)


def test_the_lowest_dice_with_other_odds_is_that_of_the_changed_scores(script: ModuleType) -> None:
    counts, factor = made(1.0, -0.5), 2.5
    changed = np.zeros_like(counts)  # each pixel moved to the level of its new score
    there = np.rint(factor * SCORE / (factor * SCORE + 1 - SCORE) * (LEVELS - 1)).astype(int)
    for part in (0, 1):
        np.add.at(changed[part], there, counts[part])
    assert script.lowest_with(factor, counts) == pytest.approx(script.lowest_with(1.0, changed), abs=1e-4)


def test_odds_are_found_with_which_neither_annotator_is_better_off(script: ModuleType) -> None:
    strict, generous = made(1.0, -1.0), made(1.0, 0.5)
    factor = script.alike(strict, generous)
    assert script.lowest_with(factor, strict) == pytest.approx(script.lowest_with(factor, generous), abs=1e-3)
    assert script.lowest_with(2 * factor, strict) < script.lowest_with(2 * factor, generous)
    assert script.alike(strict, strict) == 1
    nothing = np.stack([np.zeros(LEVELS), strict.sum(axis=0)])
    assert script.alike(strict, nothing) is None


def test_what_is_not_known_is_left_out(script: ModuleType) -> None:
    assert script.said(Estimate(None)) == "-"
    assert script.said(Estimate(0.5)) == "0.500"
    assert script.said(Estimate(0.5, 0.25, 0.75)) == "0.500 [0.25, 0.75]"

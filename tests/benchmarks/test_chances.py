from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lesionsplit.reading import LEVELS

SCRIPT = Path(__file__).parents[2] / "benchmarks/chances.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chances", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (1.25, 0.3), (0.7, -0.5)])
def test_slope_and_intercept_are_those_that_made_the_pixels(script: ModuleType, slope: float, intercept: float) -> None:
    score = np.arange(LEVELS) / (LEVELS - 1)
    with np.errstate(divide="ignore"):
        chance = 1 / (1 + np.exp(-slope * np.log(score / (1 - score)) - intercept))
    pixels = 1000 / (1 + 100 * score)  # most score low
    found = script.fitted(np.stack([pixels * chance, pixels * (1 - chance)]))
    assert found == pytest.approx((slope, intercept), abs=0.01)

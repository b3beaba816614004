from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lesionsplit.data.lungs import read_slice
from lesionsplit.data.table import Table
from lesionsplit.errors import DataError
from lesionsplit.evaluation.healthy import HealthyTally
from lesionsplit.images import read_grey


def test_the_truth_is_without_error_and_the_slice_is_not(phantom: Table) -> None:
    exact, untouched = HealthyTally(), HealthyTally()
    expected = []
    for row in phantom.labelled("lesion"):
        grey, lungs = read_slice(row)
        assert row.healthy is not None
        truth = read_grey(row.healthy)
        exact.add(row, truth, lungs)
        untouched.add(row, grey, lungs)
        expected.append(np.abs(grey.astype(float) - truth)[lungs].mean() / 255)
    found = exact.summarise()
    assert found is not None
    assert found.error_of_slice.value == pytest.approx(np.mean(expected), rel=1e-5)
    assert (found.error_of_healthy.value, found.closer.value) == (0, 1)
    same = untouched.summarise()
    assert same is not None
    assert same.error_of_healthy.value == same.error_of_slice.value
    assert same.closer.value == 0


def test_where_the_truth_is_not_known_there_is_no_number(phantom: Table) -> None:
    tally = HealthyTally()
    for row in phantom.labelled("normal"):
        tally.add(row, *read_slice(row))
    assert tally.summarise() is None


def test_a_truth_of_another_shape_is_named(phantom: Table) -> None:
    row = phantom.labelled("lesion").slices[0]
    grey, lungs = read_slice(row)
    with pytest.raises(DataError, match="has another shape than the image"):
        HealthyTally().add(replace(row, healthy=row.masks["a"]), grey, lungs)

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionsplit.data.lung_slice import read_slice
from lesionsplit.data.table import Table
from lesionsplit.errors import DataError
from lesionsplit.evaluation.healthy import HealthyAccumulator
from lesionsplit.images import read_grey


def test_the_truth_is_without_error_and_the_slice_is_not(phantom: Table) -> None:
    exact, untouched = HealthyAccumulator(), HealthyAccumulator()
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
    assert found["error_of_slice"].value == pytest.approx(np.mean(expected), rel=1e-5)
    assert (found["error_of_healthy"].value, found["closer"].value) == (0, 1)
    same = untouched.summarise()
    assert same is not None
    assert same["error_of_healthy"].value == same["error_of_slice"].value
    assert same["closer"].value == 0


def test_where_the_truth_is_not_known_there_is_no_number(phantom: Table) -> None:
    accumulator = HealthyAccumulator()
    for row in phantom.labelled("normal"):
        accumulator.add(row, *read_slice(row))
    assert accumulator.summarise() is None


def test_a_truth_of_another_shape_is_named(phantom: Table, tmp_path: Path) -> None:
    row = phantom.labelled("lesion").slices[0]
    grey, lungs = read_slice(row)
    path = tmp_path / "small.png"
    Image.fromarray(np.zeros((9, 9), dtype=np.uint8)).save(path)
    with pytest.raises(DataError) as caught:
        HealthyAccumulator().add(replace(row, healthy=path), grey, lungs)
    assert str(caught.value) == f"{row.place}: {path} has another shape than the image; draw it on the same frame"


@pytest.mark.parametrize("broken", ["healthy", "image"])
def test_a_slice_that_cannot_be_read_is_named_by_its_row(broken: str, phantom: Table, tmp_path: Path) -> None:
    row = phantom.labelled("lesion").slices[0]
    grey, lungs = read_slice(row)
    path = tmp_path / "broken.png"
    path.write_bytes(b"no image")
    with pytest.raises(DataError) as cause:
        read_grey(path)
    with pytest.raises(DataError) as caught:
        HealthyAccumulator().add(replace(row, **{broken: path}), grey, lungs)  # type: ignore[arg-type]
    assert str(caught.value) == f"{row.place}: {cause.value}"

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionsplit.data.masks import read_mask
from lesionsplit.data.table import Slice, Table
from lesionsplit.errors import DataError


@pytest.fixture
def row(tmp_path: Path, phantom: Table) -> Slice:
    return replace(phantom.labelled("lesion").slices[0], masks={"a": tmp_path / "mask.png"})


def test_more_than_half_of_full_scale_is_lesion(row: Slice) -> None:
    Image.fromarray(np.array([[0, 127, 128, 255]], dtype=np.uint8)).save(row.masks["a"])
    assert read_mask(row, "a").tolist() == [[False, False, True, True]]


def test_an_empty_mask_is_one(row: Slice) -> None:
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(row.masks["a"])
    assert not read_mask(row, "a").any()


def test_classes_are_not_taken_for_black(row: Slice) -> None:
    Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8)).save(row.masks["a"])
    with pytest.raises(DataError, match=r"slices.csv line \d+ .* has values up to 2; allowed: 0 for outside and 255"):
        read_mask(row, "a")


def test_a_broken_mask_names_the_row(row: Slice) -> None:
    row.masks["a"].write_text("broken")
    with pytest.raises(DataError, match=r"slices.csv line \d+"):
        read_mask(row, "a")


def test_a_normal_slice_has_no_outline(row: Slice) -> None:
    Image.fromarray(np.full((4, 4), 255, dtype=np.uint8)).save(row.masks["a"])
    with pytest.raises(DataError, match="is labelled normal, but the mask of annotator a is not empty"):
        read_mask(replace(row, label="normal"), "a")

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lesionsplit.data.lungs import bounding_box, find_lungs, read_slice
from lesionsplit.data.table import Table
from lesionsplit.errors import DataError


def test_holes_are_lung_and_the_outside_is_not() -> None:
    image = np.zeros((20, 24), dtype=np.uint8)
    image[4:10, 5:12] = 100
    image[6:8, 7:9] = 0
    image[12:18, 14:20] = 80
    expected = np.zeros((20, 24), dtype=bool)
    expected[4:10, 5:12] = True
    expected[12:18, 14:20] = True
    np.testing.assert_array_equal(find_lungs(image), expected)


def test_agrees_with_scipy_on_phantom_slices(phantom: Table) -> None:
    for row in phantom.slices[::5]:
        grey, lungs = read_slice(row)
        np.testing.assert_array_equal(lungs, ndimage.binary_fill_holes(grey > 8))


def test_depth_does_not_matter() -> None:
    image = np.zeros((8, 8), dtype=np.uint8)
    image[2:5, 2:5] = 9
    image[6, 6] = 8  # a ripple of JPEG, not lung
    np.testing.assert_array_equal(find_lungs(image), find_lungs(image.astype(np.uint16) * 257))
    assert find_lungs(image).sum() == 9


def test_slices_without_lung_or_mask_are_refused() -> None:
    with pytest.raises(DataError, match="no lung: every pixel is black"):
        find_lungs(np.zeros((8, 8), dtype=np.uint8))
    with pytest.raises(DataError, match="not lung-masked: 100% of the frame"):
        find_lungs(np.full((8, 8), 50, dtype=np.uint8))


def test_bounding_box() -> None:
    mask = np.zeros((9, 9), dtype=bool)
    mask[2, 3] = mask[6, 7] = True
    assert bounding_box(mask) == (2, 3, 5, 5)

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from lesionsplit.data.lungs import bounding_box, find_lungs, read_slice
from lesionsplit.data.table import Slice, Table
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


@pytest.fixture
def raw(tmp_path: Path, phantom: Table) -> Slice:
    """A slice that nobody has lung-masked, with a file of its lungs."""
    image = np.arange(100, 124, dtype=np.uint8).reshape(4, 6)
    lungs = np.zeros((4, 6), dtype=np.uint8)
    lungs[1:3, 2:4] = 255
    Image.fromarray(image).save(tmp_path / "raw.png")
    Image.fromarray(lungs).save(tmp_path / "lungs.png")
    return replace(phantom.slices[0], image=tmp_path / "raw.png", lungs=tmp_path / "lungs.png")


def test_lungs_of_their_own_make_the_rest_black(raw: Slice) -> None:
    grey, lungs = read_slice(raw)
    assert np.argwhere(lungs).tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]
    assert grey[lungs].tolist() == [108, 109, 114, 115]
    assert not grey[~lungs].any()
    assert grey.dtype == np.uint8


def test_black_inside_such_lungs_is_lung(raw: Slice) -> None:
    Image.fromarray(np.zeros((4, 6), dtype=np.uint8)).save(raw.image)
    assert read_slice(raw).lungs.sum() == 4


@pytest.mark.parametrize(
    ("lungs", "message"),
    [
        (np.zeros((4, 6), dtype=np.uint8), "lungs {} are empty; leave slices without lung out"),
        (np.full((4, 6), 2, dtype=np.uint8), "mask {} has values up to 2; allowed: 0 for outside and 255 for lung"),
        (np.full((4, 4), 255, dtype=np.uint8), "lungs {} have 4 x 4 pixels and the image 4 x 6"),
    ],
)
def test_bad_lungs_name_the_row(raw: Slice, lungs: np.ndarray, message: str) -> None:  # type: ignore[type-arg]
    assert raw.lungs is not None
    Image.fromarray(lungs).save(raw.lungs)
    with pytest.raises(DataError) as caught:
        read_slice(raw)
    assert str(caught.value).startswith(f"{raw.place}: {message.format(raw.lungs)}")


def test_broken_lungs_name_the_row(raw: Slice) -> None:
    assert raw.lungs is not None
    raw.lungs.write_text("broken")
    with pytest.raises(DataError, match=r"slices.csv line \d+ .*lungs.png: is not an image"):
        read_slice(raw)


def test_a_raw_slice_with_black_around_the_body_is_not_taken_for_lungs(make: ModuleType) -> None:
    chest = make.chest((240, 200, 9))
    raw = np.clip((chest.hu[..., 4].T + 1000) / 6, 0, 255).astype(np.uint8)
    with pytest.raises(DataError, match=r"not lung-masked: 5\d% of the frame is not black \(lungs fill at most 40%\)"):
        find_lungs(raw)
    masked = np.where(chest.lungs[..., 4].T > 0, raw, 0).astype(np.uint8)
    rows, columns = np.flatnonzero(masked.any(axis=1)), np.flatnonzero(masked.any(axis=0))
    for one in (masked, masked[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]):  # cropped to the lungs, too
        assert find_lungs(one).any()

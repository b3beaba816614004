from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from lesionsplit.data.lung_slice import bounding_box, find_lungs, read_slice
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
        (np.zeros((4, 6), dtype=np.uint8), "lungs {} are empty; remove slices without lung"),
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


def lung_masked_hu(make: ModuleType, cut: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """HU of a slice, and its lungs; both (rows, columns)."""
    chest = make.chest((240, 200, 9))
    return chest.hu[..., 4].T[:cut].astype(int), chest.lungs[..., 4].T[:cut] > 0


def windowed(hu: np.ndarray, bits: int) -> np.ndarray:
    top = 2**bits - 1
    return np.rint(np.clip((hu + 1450) / 1500, 0, 1) * top)


SCALES = {
    "HU + 1024": lambda hu: hu + 1024,
    "HU + 1000": lambda hu: np.maximum(hu + 1000, 0),
    "HU + 8192, of 14 bits": lambda hu: hu + 8192,
    "HU + 32768": lambda hu: hu + 32768,
    "10 bits": lambda hu: windowed(hu, 10),
    "12 bits": lambda hu: windowed(hu, 12),
    "14 bits": lambda hu: windowed(hu, 14),
    "8 bits": lambda hu: windowed(hu, 8),
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("masked", [False, True])
def test_few_of_16_bits_are_refused(scale: str, masked: bool, make: ModuleType, tmp_path: Path, phantom: Table) -> None:
    hu, lungs = lung_masked_hu(make)
    image = SCALES[scale](hu).astype(np.uint16)
    Image.fromarray(np.where(lungs, image, 0) if masked else image).save(tmp_path / "s.png")
    Image.fromarray(lungs).save(tmp_path / "lungs.png")
    of_its_own = replace(phantom.slices[0], image=tmp_path / "s.png", lungs=tmp_path / "lungs.png")
    rows = [of_its_own, replace(of_its_own, lungs=None)] if masked else [of_its_own]
    for row in rows:
        with pytest.raises(
            DataError, match=r"16 bit, but its values are from \d+ to \d+, \d+ % of 0 to 65535"
        ) as caught:
            read_slice(row)
        assert str(caught.value).startswith(f"{row.place}: ")
        assert "--intensity 8-bit" in str(caught.value)


def test_a_raw_slice_of_12_bits_is_not_taken_for_its_bones(make: ModuleType) -> None:
    hu, _ = lung_masked_hu(make)
    hu[100:103, 100:103] = 3071  # of all, only this is no black
    with pytest.raises(DataError, match=r"16 bit, but its values are from 1 to 4095, 6 % of 0 to 65535: perhaps HU"):
        find_lungs((hu + 1024).clip(0, 4095).astype(np.uint16))
    hu[20:22, 20:40] = 64511  # a mark burnt in
    with pytest.raises(DataError, match="16 bit, but its values are from"):
        find_lungs((hu + 1024).astype(np.uint16))


@pytest.mark.parametrize("window", [(-1450, 50), (-1000, 400), (-1350, 150)])
def test_16_bits_over_a_window_are_read(window: tuple[int, int], make: ModuleType) -> None:
    hu, lungs = lung_masked_hu(make)
    low, high = window
    grey = np.rint(np.clip((hu - low) / (high - low), 0, 1) * 65535).astype(np.uint16)
    assert find_lungs(np.where(lungs, grey, 0).astype(np.uint16)).any()
    tip = np.zeros_like(lungs)
    tip[100:110, 60:75] = lungs[100:110, 60:75]  # a tip of the lungs, all of it dark
    assert find_lungs(np.where(tip, np.clip(grey, 3000, 9000), 0).astype(np.uint16)).any()


@pytest.mark.parametrize("noise", [3.0, 5.0, 9.0])
@pytest.mark.parametrize("mean", [-850, -700])
@pytest.mark.parametrize("size", [20, 100])
def test_lungs_with_little_noise_over_all_16_bits_are_read(noise: float, mean: int, size: int) -> None:
    hu = np.rint(np.random.default_rng(0).normal(mean, noise, (size, size)))
    image = np.zeros((2 * size, 2 * size), np.uint16)
    image[5 : 5 + size, 5 : 5 + size] = np.rint(65535 * (hu + 1450) / 1500)
    assert find_lungs(image).sum() == size * size


@pytest.mark.parametrize("size", [20, 100])
def test_hu_without_sign_are_refused_also_if_few(size: int) -> None:
    image = np.zeros((2 * size, 2 * size), np.uint16)
    image[5 : 5 + size, 5 : 5 + size] = np.random.default_rng(0).normal(-800, 30, (size, size)) + 32768
    with pytest.raises(DataError, match="16 bit, but its values are from"):
        find_lungs(image)


def test_8_bit_grey_in_16_bits_over_all_of_them_is_read() -> None:
    image = np.zeros((40, 40), np.uint16)
    image[5:30, 5:30] = 100 * 257  # drawn, without noise
    assert find_lungs(image).sum() == 625

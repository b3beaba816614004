from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lesionsplit.lungs.hu_scale import HuScale, hu_scale_from_grey, hu_scale_of, otsu


def test_hu_stay_hu_but_for_the_ends() -> None:
    image = np.array([[-3024, -1024, -850, 40, 300, 3071]], np.int16)
    hu = HuScale().hu(image)
    assert hu.dtype == np.float32
    np.testing.assert_array_equal(hu, [[-1024, -1024, -850, 40, 300, 300]])


def test_what_is_no_number_is_air() -> None:
    hu = HuScale().hu(np.array([[np.nan, np.inf, -np.inf, 12.25]], np.float32))
    np.testing.assert_array_equal(hu, [[-1024, 300, -1024, 12.25]])


def test_the_input_is_left_alone() -> None:
    for dtype in (np.float32, np.float64, np.int16):
        image = np.full((2, 2), -3000, dtype)
        HuScale().hu(image)
        assert (image == -3000).all()


def test_a_volume_in_hu_is_taken_at_its_word(chest) -> None:
    assert hu_scale_of(chest.volume, chest.volume.axial()) == HuScale(1.0, 0.0)


@pytest.mark.parametrize(("gain", "offset"), [(0.18, 200.0), (0.1, 120.0), (10.0, 30000.0)])
def test_lung_and_tissue_of_any_scale_come_to_the_same_hu(chest, gain: float, offset: float) -> None:
    slices = [one * gain + offset for one in chest.volume.axial()[4:10:2].astype(np.float32)]
    hu_scale = hu_scale_of(replace(chest.volume, intensity="grey"), slices)
    tissue, lung = (hu_scale.hu(np.float32([[hu * gain + offset]])).item() for hu in (45, -850))
    assert tissue == pytest.approx(40, abs=15)
    assert lung == pytest.approx(-875, abs=15)


def test_one_value_has_no_scale() -> None:
    assert hu_scale_from_grey([np.full((5, 5), 90, np.uint8)]) == HuScale()


def test_otsu_is_the_split_with_the_largest_variance_between() -> None:
    histogram = np.random.default_rng(0).integers(0, 50, 40)
    values = np.repeat(np.arange(40), histogram)

    def between(split: int) -> float:
        low, high = values[values <= split], values[values > split]
        return float(len(low) * len(high) * (low.mean() - high.mean()) ** 2)

    assert otsu(histogram) == max(range(39), key=between)

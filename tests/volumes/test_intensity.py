from __future__ import annotations

import numpy as np
import pytest

from lesionsplit.errors import DataError
from lesionsplit.volumes.intensity import Range, check_intensity


def seen(*parts: list[float]) -> Range:
    span = Range()
    for part in parts:
        span.add(np.array(part, np.float32))
    return span


def test_a_range_counts_every_part() -> None:
    span = seen([-1000, 0], [0, 600], [-501, -500, 500, 501])
    assert (span.lowest, span.highest, span.count, span.air, span.dense) == (-1000, 600, 8, 2, 2)


@pytest.mark.parametrize("wanted", ["auto", "hu"])
def test_air_and_tissue_are_hu(wanted: str) -> None:
    assert check_intensity(seen([-1000] * 5 + [40] * 5 + [3071]), wanted, "ct") == "hu"  # type: ignore[arg-type]


def test_the_least_air_there_may_be() -> None:
    assert check_intensity(seen([-600] + [40.0, 41] * 499), "auto", "ct") == "hu"
    with pytest.raises(DataError, match="ct: values are from -600 to 41, without air below -500: not HU"):
        check_intensity(seen([-600] + [40.0, 41] * 600), "auto", "ct")


def test_bone_and_air_both() -> None:
    assert check_intensity(seen([-1000] * 50 + [700] * 30 + [0] * 20), "auto", "ct") == "hu"
    with pytest.raises(DataError, match="50% of them above 500: inverted"):
        check_intensity(seen([-1000] * 30 + [1000] * 50 + [0] * 20), "auto", "ct")


def test_eight_bit_is_grey_only_where_it_is_said() -> None:
    assert check_intensity(seen([0, 255]), "grey", "ct") == "grey"
    with pytest.raises(DataError, match="ct: values are from 0 to 255, not HU; --intensity 8-bit reads them"):
        check_intensity(seen([0, 255]), "auto", "ct")
    with pytest.raises(DataError, match="ct: values are from 0 to 256, not from 0 to 255"):
        check_intensity(seen([0, 256]), "grey", "ct")


@pytest.mark.parametrize("wanted", ["auto", "hu", "grey"])
def test_one_value_is_no_image(wanted: str) -> None:
    with pytest.raises(DataError, match="ct: every voxel is 7; give a chest CT"):
        check_intensity(seen([7, 7], [7]), wanted, "ct")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([-1000, 40, 32001], "ct: values are from -1000 to 32001, but HU are below 32000; convert them to HU; "),
        ([0, 1000, 2000], "ct: values are from 0 to 2000, none below 0: not HU (air -1000, water 0), perhaps stored "),
    ],
)
def test_what_auto_refuses_hu_accepts(values: list[float], line: str) -> None:
    with pytest.raises(DataError) as caught:
        check_intensity(seen(values), "auto", "ct")
    assert str(caught.value).startswith(line)
    assert str(caught.value).endswith("; --intensity hu reads the values as HU anyway")
    assert check_intensity(seen(values), "hu", "ct") == "hu"


def test_the_highest_value_of_hu() -> None:
    assert check_intensity(seen([-1000] * 5 + [40] * 5 + [32000]), "auto", "ct") == "hu"


def test_bright_padding_is_no_sign_of_an_inverted_ct() -> None:
    scan = np.full((20, 20), -900)
    scan[5:10] = 40
    seen = Range()
    seen.add(np.pad(scan, 20, constant_values=3000))
    assert (seen.dense, seen.count, seen.air) == (0, 3600, 300)
    assert check_intensity(seen, "auto", "a") == "hu"
    inverted = Range()
    inverted.add(-np.pad(scan, 20, constant_values=-1024))
    with pytest.raises(DataError, match="inverted, or not HU"):
        check_intensity(inverted, "auto", "a")

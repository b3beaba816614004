from __future__ import annotations

import numpy as np
import pytest

from lesionsplit.errors import DataError
from lesionsplit.volumes.intensity import Range, judge


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
    assert judge(seen([-1000] * 5 + [40] * 5 + [3071]), wanted, "ct") == "hu"  # type: ignore[arg-type]


def test_the_least_air_there_may_be() -> None:
    assert judge(seen([-600] + [40.0, 41] * 499), "auto", "ct") == "hu"
    with pytest.raises(DataError, match="ct: values run from -600 to 41, with no air below -500: not HU"):
        judge(seen([-600] + [40.0, 41] * 600), "auto", "ct")


def test_bone_and_air_both() -> None:
    assert judge(seen([-1000] * 50 + [700] * 30 + [0] * 20), "auto", "ct") == "hu"
    with pytest.raises(DataError, match="50% of them above 500: inverted"):
        judge(seen([-1000] * 30 + [1000] * 50 + [0] * 20), "auto", "ct")


def test_eight_bit_is_grey_only_where_it_is_said() -> None:
    assert judge(seen([0, 255]), "grey", "ct") == "grey"
    with pytest.raises(DataError, match="ct: values run from 0 to 255, which is not HU; --intensity 8-bit takes them"):
        judge(seen([0, 255]), "auto", "ct")
    with pytest.raises(DataError, match="ct: values run from 0 to 256, not 0 to 255"):
        judge(seen([0, 256]), "grey", "ct")


@pytest.mark.parametrize("wanted", ["auto", "hu", "grey"])
def test_one_value_is_no_image(wanted: str) -> None:
    with pytest.raises(DataError, match="ct: every voxel is 7; give a CT of a chest"):
        judge(seen([7, 7], [7]), wanted, "ct")  # type: ignore[arg-type]

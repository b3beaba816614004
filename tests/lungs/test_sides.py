from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from lesionsplit.lungs.sides import split_sides
from lesionsplit.volumes.decomposed import LEFT, RIGHT

Bool = npt.NDArray[np.bool_]
ROWS, COLUMNS = 90, 120


def ball(slices: int, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Bool:
    z, y, x = np.ogrid[:slices, :ROWS, :COLUMNS]
    at = ((z - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 + ((x - centre[2]) / radii[2]) ** 2
    found: Bool = at < 1
    return found


def bodies(slices: int) -> Bool:
    return np.broadcast_to(ball(1, (0, 45, 60), (1, 42, 58)), (slices, ROWS, COLUMNS))


@pytest.mark.parametrize("slices", [1, 12])
def test_two_lungs(slices: int) -> None:
    middle = (slices - 1) / 2
    right, left = (ball(slices, (middle, 45, at), (slices, 30, 20)) for at in (32, 90))
    expected = np.where(right, RIGHT, 0) + np.where(left, LEFT, 0)
    np.testing.assert_array_equal(split_sides(right | left, bodies(slices)), expected)


@pytest.mark.parametrize("thick", [2, 6])
@pytest.mark.parametrize("slices", [1, 12])
def test_lungs_that_touch_in_front_of_the_heart(slices: int, thick: int) -> None:
    middle = (slices - 1) / 2
    right, left = (ball(slices, (middle, 45, at), (slices, 30, 20)) for at in (36, 92))
    bridge = np.zeros_like(right)
    bridge[:, 30 : 30 + thick, 40:90] = True
    labels = split_sides(right | left | bridge, bodies(slices))
    assert (labels > 0)[right | left | bridge].all()
    assert (labels[right & ~bridge] == RIGHT).mean() > 0.99
    assert (labels[left & ~bridge] == LEFT).mean() > 0.99
    assert not (labels == 0)[bridge].any()


def test_a_lung_over_the_middle_of_the_body_stays_one() -> None:
    right, left = ball(8, (3.5, 45, 40), (8, 30, 30)), ball(8, (3.5, 45, 95), (8, 20, 12))
    labels = split_sides(right | left, bodies(8))  # the right one ends at column 70, the middle is 60
    assert (labels[right] == RIGHT).all()
    assert (labels[left] == LEFT).all()


@pytest.mark.parametrize(("column", "side"), [(30, RIGHT), (90, LEFT)])
def test_one_lung_alone(column: int, side: int) -> None:
    lung = ball(6, (2.5, 45, column), (6, 30, 20))
    np.testing.assert_array_equal(split_sides(lung, bodies(6)), np.where(lung, side, 0))


def test_pieces_are_of_the_nearest_lung() -> None:
    right, left = (ball(8, (3.5, 45, at), (8, 30, 18)) for at in (30, 98))
    piece = ball(8, (3.5, 20, 55), (2, 3, 3))  # right of the middle, nearer to the right lung
    other = ball(8, (3.5, 20, 74), (2, 3, 3))
    labels = split_sides(right | left | piece | other, bodies(8))
    assert (labels[piece] == RIGHT).all()
    assert (labels[other] == LEFT).all()


def test_a_lung_in_two_halves_is_one() -> None:
    right, left = (ball(20, (9.5, 45, at), (12, 30, 18)) for at in (30, 98))
    right[9:11] = False  # consolidated
    labels = split_sides(right | left, bodies(20))
    assert (labels[right] == RIGHT).all()
    assert (labels[left] == LEFT).all()


def test_what_never_comes_apart_is_cut_in_the_middle() -> None:
    block = np.zeros((2, ROWS, COLUMNS), bool)
    block[:, 10:80, 10:110] = True
    labels = split_sides(block, bodies(2))
    assert (labels[:, 20:70, 15:55] == RIGHT).all()
    assert (labels[:, 20:70, 65:105] == LEFT).all()
    np.testing.assert_array_equal(labels > 0, block)


def test_no_lung_no_side() -> None:
    assert not split_sides(np.zeros((3, ROWS, COLUMNS), bool), bodies(3)).any()

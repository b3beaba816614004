"""Voxel grids, against nibabel and by hand."""

from __future__ import annotations

from functools import partial
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lesionsplit.errors import DataError
from lesionsplit.volumes.grid import check_affine, check_extent, difference, on_grid, part_of_grid, times
from lesionsplit.volumes.volume import Affine, Source, Volume, Voxels

TILT = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
"""A turn about the third axis; its rows and columns are of length 1."""

SHAPE = (4, 5, 6)
SPACING = (1.0, 2.0, 4.0)


def grid(
    spacing: tuple[float, ...] = SPACING,
    origin: tuple[float, ...] = (11.0, -7.0, 30.0),
    turn: np.ndarray = TILT,
) -> Affine:
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = origin
    return affine


def moved(affine: Affine, *voxels: float) -> Affine:
    """The grid that begins at a voxel of another grid."""
    return affine @ nib.affines.from_matvec(np.eye(3), voxels)


def volume(affine: Affine | None = None, shape: tuple[int, int, int] = SHAPE) -> Volume:
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    source = Source(kind="nifti", path=Path("ct.nii"), name="ct")
    return Volume(array=array, affine=grid() if affine is None else affine, intensity="hu", source=source)


def refused_affine(affine: Affine, **options: bool) -> str:
    with pytest.raises(DataError) as caught:
        check_affine(affine, "ct.nii", **options)
    return str(caught.value)


def refused_extent(affine: Affine, shape: tuple[int, int, int]) -> str:
    with pytest.raises(DataError) as caught:
        check_extent(affine, shape, "ct.nii")
    return str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_an_affine_with_one_value_that_is_no_number_is_refused(value: float) -> None:
    affine = grid()
    affine[1, 3] = value
    for force in (False, True):
        expected = "ct.nii: its affine has values that are not numbers; correct the header"
        assert refused_affine(affine, force=force) == expected


@pytest.mark.parametrize(
    ("turn", "size"),
    [
        (TILT * (1, 1, 0), "1 x 2 x 0"),
        (TILT * (0, 1, 1), "0 x 2 x 4"),
        (np.column_stack([TILT[:, 0], TILT[:, 0], TILT[:, 2]]), "1 x 2 x 4"),
        (np.column_stack([TILT[:, 0], -TILT[:, 0] + 0.0009 * TILT[:, 1], TILT[:, 2]]), "1 x 2 x 4"),
    ],
    ids=["one side is 0", "another side is 0", "parallel", "parallel within a thousandth"],
)
def test_flat_voxels_are_refused_whatever_is_forced(turn: np.ndarray, size: str) -> None:
    for force in (False, True):
        assert refused_affine(grid(turn=turn), force=force) == (
            f"ct.nii: its voxels of {size} mm are flat (two axes are parallel); correct the header"
        )


@pytest.mark.parametrize("handed", [1, -1], ids=["right-handed", "left-handed"])
def test_flatness_does_not_hang_on_the_size_of_voxels(handed: int) -> None:
    sheared = np.column_stack([TILT[:, 0], TILT[:, 0] + 0.0011 * TILT[:, 1], handed * TILT[:, 2]])
    for spacing in ((0.02, 0.02, 0.02), (100.0, 90.0, 100.0)):
        check_affine(grid(spacing, turn=sheared), "ct.nii")


def test_voxels_at_either_limit_are_those_of_a_ct() -> None:
    check_affine(grid((0.02, 1, 100), turn=np.eye(3)), "ct.nii")
    check_affine(grid((100, 1, 0.02), turn=np.eye(3)), "ct.nii")


@pytest.mark.parametrize(
    ("spacing", "size"),
    [((1, 0.01999, 4), "1 x 0.01999 x 4"), ((100.1, 0.98765432, 4), "100.1 x 0.9877 x 4")],
    ids=["too small", "too large"],
)
def test_voxels_beyond_a_limit_are_refused_unless_forced(spacing: tuple[float, ...], size: str) -> None:
    assert refused_affine(grid(spacing)) == (
        f"ct.nii: its voxels are {size} mm; allowed: 0.02 to 100 mm a side; correct the header, or use --force to "
        "continue"
    )
    check_affine(grid(spacing), "ct.nii", force=True)


@pytest.mark.parametrize(
    ("spacing", "shape", "text"),
    [
        ((0.078, 0.078, 0.078), (128, 130, 6), "9.984 x 10.14 x 0.468"),
        ((0.7, 0.78, 0.77), (6, 128, 128), "4.2 x 99.84 x 98.56"),
        ((5, 5, 5.01), (128, 6, 500), "640 x 30 x 2505"),
    ],
    ids=["in decimetres", "a little too small", "a little too large"],
)
def test_a_whole_slice_that_is_not_as_large_as_a_chest_is_refused_unless_forced(
    spacing: tuple[float, ...], shape: tuple[int, int, int], text: str
) -> None:
    assert refused_extent(grid(spacing), shape) == (
        f"ct.nii: its {' x '.join(map(str, shape))} voxels extend over {text} mm; allowed: 100 to 2500 mm on the "
        "longest side; are its lengths in another unit? Correct the header, or use --force to continue"
    )
    check_extent(grid(spacing), shape, "ct.nii", force=True)


@pytest.mark.parametrize(
    ("spacing", "shape"),
    [
        ((0.5, 0.25, 0.25), (200, 128, 128)),
        ((0.25, 0.25, 19.53125), (128, 6, 128)),
        ((0.1, 0.1, 0.1), (127, 500, 127)),
    ],
    ids=["exactly 100 mm", "exactly 2500 mm", "too narrow for a slice"],
)
def test_the_extent_of_a_chest_or_of_less_than_a_slice_passes(
    spacing: tuple[float, ...], shape: tuple[int, int, int]
) -> None:
    check_extent(grid(spacing, turn=np.eye(3)), shape, "ct.nii")


def test_equal_grids_do_not_differ() -> None:
    assert difference(volume(), SHAPE, grid()) == ""


def test_the_shape_comes_first() -> None:
    assert difference(volume(), (4, 5, 7), grid((3, 3, 3))) == "4 x 5 x 7 voxels, not 4 x 5 x 6"


def test_a_twentieth_of_the_smallest_side_is_rounding() -> None:
    at = partial(grid, (4, 2, 3), turn=np.eye(3))
    one = volume(at((0, 0, 0)), (1, 1, 1))
    assert difference(one, (1, 1, 1), at((0, 0, 0.1))) == ""
    assert difference(one, (1, 1, 1), at((0, -0.101, 0))) == "the same shape, but up to 0.101 mm away"


@pytest.mark.parametrize("about", ["first", "last"])
@pytest.mark.parametrize(("axis", "apart"), [(0, "0.12"), (1, "0.32"), (2, "0.8")])
def test_the_corner_that_is_farthest_away_counts(axis: int, apart: str, about: str) -> None:
    """One axis leans by 0.04 of its length per voxel, about the first or the last voxel, which stays."""
    affine, lean = grid(), 0.04 * SPACING[axis] * TILT[:, (axis + 1) % 3]
    affine[:3, axis] += lean
    if about == "last":
        affine[:3, 3] -= (SHAPE[axis] - 1) * lean
    assert difference(volume(), SHAPE, affine) == f"the same shape, but up to {apart} mm away"


@pytest.mark.parametrize("axis", range(3))
def test_sides_that_differ_by_more_than_a_thousandth_are_named(axis: int) -> None:
    other = list(SPACING)
    other[axis] *= 1.0009
    far = difference(volume(), SHAPE, grid(tuple(other), origin=(0, 0, 0)))
    assert far.startswith("the same shape, but up to 32.")
    other[axis] = SPACING[axis] * 1.1
    text = " x ".join(f"{side:.4g}" for side in other)
    assert difference(volume(), SHAPE, grid(tuple(other))) == f"voxels of {text} mm, not 1 x 2 x 4 mm"
    other[axis] = SPACING[axis] * 1.0011
    assert difference(volume(), SHAPE, grid(tuple(other), origin=(0, 0, 0))).startswith("voxels of ")


TURNS = [np.column_stack([order, flips]) for order in permutations(range(3)) for flips in product((1, -1), repeat=3)]
"""All 48 orders and directions of axes, as nibabel has them: of each axis, its new place and its direction."""

NAMES = ["".join(nib.orientations.ornt2axcodes(turn, labels=("Ii", "Jj", "Kk"))) for turn in TURNS]


@pytest.fixture(params=TURNS, ids=NAMES)
def turn(request: pytest.FixtureRequest) -> np.ndarray:
    found: np.ndarray = request.param
    return found


def turned(array: Voxels, affine: Affine, turn: np.ndarray) -> tuple[Voxels, Affine]:
    image = nib.Nifti1Image(array, affine).as_reoriented(turn)
    return np.asarray(image.dataobj), image.affine


def test_an_array_with_any_order_and_direction_of_axes_is_seen_on_the_grid(turn: np.ndarray) -> None:
    one = volume()
    array, affine = turned(one.array, one.affine, turn)
    view = on_grid(array, affine, one)
    assert view is not None
    np.testing.assert_array_equal(view, one.array)
    assert np.shares_memory(view, array)


@pytest.mark.parametrize(
    ("where", "size"),
    [((1, 2, 3), (2, 1, 2)), ((0, 0, 0), SHAPE), ((3, 4, 5), (1, 1, 1)), ((0, 3, 0), (1, 2, 6))],
    ids=["inside", "all of it", "the last voxel", "at the edges"],
)
def test_a_part_with_any_order_and_direction_of_axes_is_found(
    where: tuple[int, int, int], size: tuple[int, int, int], turn: np.ndarray
) -> None:
    one = volume()
    expected = tuple(slice(first, first + length) for first, length in zip(where, size, strict=True))
    array, affine = turned(one.array[expected], moved(one.affine, *where), turn)
    found = part_of_grid(array, affine, one)
    assert found is not None
    view, part = found
    assert part == expected
    np.testing.assert_array_equal(view, one.array[part])
    assert np.shares_memory(view, array)


@pytest.mark.parametrize("axis", range(3))
def test_a_part_that_reaches_beyond_the_grid_is_none(axis: int) -> None:
    one, part = volume(), np.zeros((2, 2, 2))
    for start in (-1, SHAPE[axis] - 1):
        where = [1, 1, 1]
        where[axis] = start
        assert part_of_grid(part, moved(one.affine, *where), one) is None


def test_a_part_may_be_a_twentieth_of_the_smallest_side_away() -> None:
    at = partial(grid, (4, 2, 3), turn=np.eye(3))
    one, part = volume(at((0, 0, 0))), np.zeros((1, 1, 1))
    assert part_of_grid(part, at((0, 0, 0.1)), one) is not None
    assert part_of_grid(part, at((0, 0, 0.101)), one) is None
    assert part_of_grid(part, at((0.101, 0, 0)), one) is None


def test_a_part_that_leans_is_none() -> None:
    """Its first voxel is that of the volume; the last is 0.08 mm away, then 0.04 mm."""
    one = volume()
    affine = moved(one.affine, 1, 1, 1)
    affine[:3, 1] += 0.04 * TILT[:, 0]
    assert part_of_grid(np.zeros((1, 3, 1)), affine, one) is None
    assert part_of_grid(np.zeros((1, 2, 1)), affine, one) is not None


@pytest.mark.parametrize(
    "mixed",
    [
        [[2, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[1, 0, 0], [1, 0.4, 0], [0, 0, 1]],
        [[1, 0.6, 0], [-0.4, 0.4, 0], [0, 0, 1]],
        [[1, 0.4, 0], [-0.4, 0.4, 0], [0, 0, 1]],
        [[1, 0.6, 0], [-0.6, 1, 0], [0, 0, 1]],
    ],
    ids=["of half the size", "one axis is along none", "two axes are along one", "short", "turned by half"],
)
def test_axes_that_are_not_parallel_to_those_of_the_volume_are_on_another_grid(mixed: list[list[float]]) -> None:
    """The volume's axes in voxels of the array: rounded, they are no order of axes."""
    one = volume()
    affine = one.affine @ np.linalg.inv(nib.affines.from_matvec(mixed))
    assert on_grid(one.array, affine, one) is None
    assert part_of_grid(one.array, affine, one) is None


def test_an_array_of_another_shape_or_place_is_on_another_grid() -> None:
    one = volume()
    assert on_grid(one.array[1:], moved(one.affine, 1, 0, 0), one) is None
    assert on_grid(one.array, moved(one.affine, 1, 0, 0), one) is None


def test_sizes_as_text() -> None:
    assert times((512, 512, 60)) == "512 x 512 x 60"
    assert times([0.5, np.float64(2 / 3), 12345.6]) == "0.5 x 0.6667 x 1.235e+04"
    assert times(f"{side}!" for side in (1, 2)) == "1! x 2!"

"""Padding is recognised whatever its value and shape, and only padding is; results keep the grid and its values."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from scipy import ndimage

from lesionsplit.pipeline.predictor import Predictor
from lesionsplit.volumes.decomposed import DecomposedVolume
from lesionsplit.volumes.padding import unpadded
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Source, Volume

SMALL = (24, 20, 6)
MARGINS = ((3, 5), (4, 2), (1, 2))


def volume_of(array: Any, affine: Any) -> Volume:
    return Volume(array=array, affine=affine, intensity="hu", source=Source(kind="array", path=Path("a"), name="a"))


def turned(volume: Volume, axes: str) -> Volume:
    """The same voxels with another order and direction of axes."""
    turn = ornt_transform(axcodes2ornt("LPS"), axcodes2ornt(axes))
    array = np.ascontiguousarray(apply_orientation(volume.array, turn))
    return volume_of(array, volume.affine @ inv_ornt_aff(turn, volume.shape))


@pytest.mark.parametrize("value", [0, 40, -500, -2000, -2048, -3024, 3071])
@pytest.mark.parametrize("axes", ["LPS", "RAS", "ASL", "PIR"])
def test_the_scan_is_found_in_its_padding(value: int, axes: str, make: ModuleType) -> None:
    scan = turned(volume_of(make.chest(SMALL).hu, make.affine_of()), axes)
    margins = MARGINS
    affine = scan.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ [before for before, _ in margins]
    padded = volume_of(np.pad(scan.array, margins, constant_values=value), affine)
    with Scratch() as scratch:
        found = unpadded(padded, scratch)
        np.testing.assert_array_equal(found.scan.array, scan.array)
        np.testing.assert_allclose(found.scan.affine, scan.affine, atol=1e-9)
        share = 1 - scan.array.size / padded.array.size
        assert found.scan.source.notes == (
            f"{share:.1%} of its voxels are padding ({value} HU from the corners of slices on), left out",
        )


def test_results_are_on_the_grid_of_the_volume(make: ModuleType) -> None:
    scan = volume_of(make.chest(SMALL).hu, make.affine_of())
    array = np.pad(scan.array, MARGINS)
    inside = tuple(slice(before, -after) for before, after in MARGINS)
    array[inside][:4, :5, 2] = 0  # the corner of the scan is padding too
    scan.array[:4, :5, 2] = 0
    padded = volume_of(array, make.affine_of())
    with Scratch() as scratch:
        found = unpadded(padded, scratch)
        assert (found.scan.array[:4, :5, 2] == -1024).all()
        some = np.random.default_rng(0).integers(1, 3, SMALL)
        part = DecomposedVolume(
            volume=found.scan,
            score=some.astype(np.uint16),
            lesion=some.astype(np.uint8),
            lungs=some.astype(np.uint8),
            healthy=(found.scan.array + 7).astype(np.int16),
            threshold=0.5,
            lungs_from="a draw",
        )
        whole = found.whole(part, scratch)
        for name, dtype in (("score", np.uint16), ("lesion", np.uint8), ("lungs", np.uint8)):
            placed = getattr(whole, name)
            assert placed.dtype == dtype
            np.testing.assert_array_equal(placed, np.pad(some, MARGINS))
        expected = np.pad(scan.array + 7, MARGINS)
        expected[inside][:4, :5, 2] = 0
        np.testing.assert_array_equal(whole.healthy, expected)
        np.testing.assert_array_equal(whole.volume.array, array)
        assert whole.volume.source.notes == found.scan.source.notes


def test_a_circle_of_water_around_the_scan_is_air(make: ModuleType) -> None:
    hu = make.chest(SMALL).hu
    i, j = np.ogrid[-1:1:24j, -1:1:20j]  # type: ignore[misc]
    outside = np.broadcast_to((np.hypot(i, j) > 1.06)[:, :, None], SMALL)
    with Scratch() as scratch:
        found = unpadded(volume_of(np.where(outside, 0, hu).astype(np.int16), make.affine_of()), scratch)
        np.testing.assert_array_equal(found.scan.array, np.where(outside, -1024, hu))


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_what_a_rotation_fills_in_is_air(dtype: Any, make: ModuleType) -> None:
    hu = make.chest((48, 40, 4)).hu.astype(dtype)
    turned, filled = (ndimage.rotate(one, 15, order=0, cval=value) for one, value in ((hu, 0), (np.zeros(hu.shape), 1)))
    with Scratch() as scratch:
        found = unpadded(volume_of(turned, make.affine_of()), scratch)
        scan = np.where(filled == 1, -1024, turned)
        kept = np.argwhere(filled == 0)
        box = tuple(slice(low, high + 1) for low, high in zip(kept.min(0), kept.max(0), strict=True))
        np.testing.assert_array_equal(found.scan.array, scan[box])


@pytest.mark.parametrize("lowest", [-1024, -1000, -2048])
def test_a_scan_without_padding_is_taken_as_it_is(lowest: int, make: ModuleType) -> None:
    hu = make.chest(SMALL, noise=12.0).hu
    hu[hu < -950] = np.maximum(hu[hu < -950], -1024)
    if lowest == -2048:  # the circle of a scanner, which no row, column or slice lies outside of
        i, j = np.ogrid[-1:1:24j, -1:1:20j]  # type: ignore[misc]
        hu[np.hypot(i, j) > 1.05] = lowest
    else:
        hu = np.maximum(hu, lowest)
    volume = volume_of(hu, make.affine_of())
    with Scratch() as scratch:
        assert unpadded(volume, scratch).scan is volume


def test_water_that_is_measured_is_no_padding(make: ModuleType) -> None:
    hu = make.chest(SMALL).hu
    hu[10:14, 8:12] = 0  # constant, but not from a corner on
    hu[0, 0] = 0  # from a corner on, but of few pixels
    volume = volume_of(hu, make.affine_of())
    with Scratch() as scratch:
        assert unpadded(volume, scratch).scan is volume


@pytest.mark.parametrize("mark", [False, True])
def test_tissue_that_was_clipped_is_no_padding(mark: bool, make: ModuleType) -> None:
    hu = make.chest((48, 40, 6)).hu
    hu[(hu < -940) | (hu > -300)] = 25  # the body fills the frame
    assert (hu[0, :5] == 25).all()
    if mark:  # so that it is not the highest value
        hu[20, 15, 3] = 60
    volume = volume_of(np.ascontiguousarray(hu), make.affine_of())
    with Scratch() as scratch:
        assert unpadded(volume, scratch).scan is volume


def test_padding_stays_padding_where_a_slice_lacks_and_another_value_is_tissue(make: ModuleType) -> None:
    hu = make.chest(SMALL).hu
    padded = np.pad(hu, MARGINS)
    padded[..., 4] = 0
    with Scratch() as scratch:
        found = unpadded(volume_of(padded, make.affine_of()), scratch)
        assert found.scan.array.shape == SMALL
        assert (found.scan.array[..., 3] == -1024).all()


def test_a_volume_of_padding_alone_and_one_whose_lungs_are_known_are_taken_as_they_are(make: ModuleType) -> None:
    with Scratch() as scratch:
        nothing = volume_of(np.zeros(SMALL, np.int16), make.affine_of())
        assert unpadded(nothing, scratch).scan is nothing
        padded = volume_of(np.pad(make.chest(SMALL).hu, MARGINS), make.affine_of())
        assert unpadded(padded, scratch, whole=True).scan is padded


@pytest.mark.parametrize("value", [-1100, -1024, -1000, -900])
def test_a_frame_of_air_is_left_out_without_a_note(value: int, make: ModuleType) -> None:
    scan = make.chest(SMALL).hu
    with Scratch() as scratch:
        found = unpadded(volume_of(np.pad(scan, MARGINS, constant_values=value), make.affine_of()), scratch)
        np.testing.assert_array_equal(found.scan.array, scan)
        assert found.scan.source.notes == ()


@pytest.mark.parametrize("inner", [-1024, 0, 3000])
@pytest.mark.parametrize("outer", [-2000, -1024, 0])
def test_frames_in_frames_are_left_out(inner: int, outer: int, make: ModuleType) -> None:
    scan = make.chest(SMALL).hu
    array = np.pad(np.pad(scan, MARGINS, constant_values=inner), MARGINS, constant_values=outer)
    with Scratch() as scratch:
        np.testing.assert_array_equal(unpadded(volume_of(array, make.affine_of()), scratch).scan.array, scan)


def test_tissue_of_the_value_of_padding_beside_it_stays_tissue(make: ModuleType) -> None:
    """Water is 0 in a frame of 0, too."""
    scan = make.chest(SMALL).hu
    scan[0, 4:7, :] = 0  # the first column, beside the frame
    i, j = np.ogrid[-1:1:24j, -1:1:20j]  # type: ignore[misc]
    outside = np.broadcast_to((np.hypot(i, j) > 1.06)[:, :, None], SMALL)
    circle = np.where(outside, 0, make.chest(SMALL).hu).astype(np.int16)
    expected = np.where(outside, -1024, circle)
    assert outside[7, 0, 0]
    assert not outside[6:9, 1, 0].any()
    circle[7, 1, :] = expected[7, 1, :] = 0  # beside what is outside of the circle
    with Scratch() as scratch:
        found = unpadded(volume_of(np.pad(scan, MARGINS), make.affine_of()), scratch)
        np.testing.assert_array_equal(found.scan.array, scan)
        np.testing.assert_array_equal(unpadded(volume_of(circle, make.affine_of()), scratch).scan.array, expected)


@pytest.mark.parametrize("value", [-2000, -1024, 0, 3000])
def test_what_resampling_blends_with_a_frame_is_left_out(value: int, make: ModuleType) -> None:
    scan = make.chest((60, 64, 12)).hu[6:-6, 12:-12] if value == -1024 else make.chest((48, 40, 12)).hu
    padded = np.pad(scan.astype(np.float32), ((4, 4), (4, 4), (3, 3)), constant_values=value)
    moved = ndimage.shift(padded, (0.4, 0.4, 0.4), order=1, cval=value)
    inside = (slice(5, 52), slice(5, 44), slice(4, 15))  # without the first and the last of each axis, which are blends
    with Scratch() as scratch:
        found = unpadded(volume_of(np.ascontiguousarray(moved), make.affine_of()), scratch)
        np.testing.assert_array_equal(found.scan.array, moved[inside])


def test_a_frame_of_one_value_moves_no_number(make: ModuleType) -> None:
    """The numbers are the same to the bit, whatever surrounds a scan that is cropped to the body."""
    hu = make.chest((48, 40, 12)).hu[4:-4, 8:-8]
    predictor = Predictor.load()
    found = []
    for array in (hu, *(np.pad(hu, MARGINS, constant_values=value) for value in (-2000, -1024, 0, 3000))):
        result: Any = predictor.predict(np.ascontiguousarray(array), affine=make.affine_of((8.0, 8.0, 20.0)))
        found.append((np.count_nonzero(result.lesion), np.count_nonzero(result.lungs)))
    assert min(found[0]) > 0
    assert found == [found[0]] * len(found)


def test_a_few_odd_voxels_in_air_are_no_scan(make: ModuleType) -> None:
    array = np.full((40, 40, 12), -1024, np.int16)
    array[20, 20, 6] = -800
    volume = volume_of(array, make.affine_of())
    with Scratch() as scratch:
        assert unpadded(volume, scratch).scan is volume


def test_the_note_counts_what_it_names(make: ModuleType) -> None:
    """Air around the scan is left out, too, but nobody has to be told."""
    scan = make.chest(SMALL).hu
    array = np.pad(np.pad(scan, ((6, 6), (5, 5), (2, 2)), constant_values=-1024), ((1, 1), (0, 0), (0, 0)))
    with Scratch() as scratch:
        found = unpadded(volume_of(array, make.affine_of()), scratch)
        np.testing.assert_array_equal(found.scan.array, scan)
        share = 2 / array.shape[0]
        assert found.scan.source.notes == (
            f"{share:.1%} of its voxels are padding (0 HU from the corners of slices on), left out",
        )

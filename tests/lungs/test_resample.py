"""Resampling to the coarse grid and back, against independent sums."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from lesionsplit.lungs.hu_scale import HuScale
from lesionsplit.lungs.resample import AIR, MM, OUTSIDE, SIDE, make_resampler, sample_slices, shrinking
from lesionsplit.volumes.volume import Source, Volume

PLAIN = HuScale()


def body(rows: int, columns: int, spacing: tuple[float, float], *, kind: str = "nifti") -> Volume:
    """A block of tissue that fills the middle half of a slice, in both directions."""
    slice_ = np.full((rows, columns), -1000, np.int16)
    slice_[rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4] = 40
    affine = np.diag([-spacing[1], -spacing[0], 5.0, 1.0])
    source = Source(kind=kind, path=Path("block"), name="block")
    return Volume(array=slice_.T[:, :, None], affine=affine, intensity="hu", source=source)


def coarse_tissue(volume: Volume) -> npt.NDArray[np.bool_]:
    resampler = make_resampler(volume, PLAIN)
    tissue: npt.NDArray[np.bool_] = resampler.shrink(volume.axial()[0]) + AIR > -480
    return tissue & ndimage.binary_erosion(resampler.frame(), iterations=4)


@pytest.mark.parametrize("spacing", [(0.7, 0.7), (1.0, 0.5), (5.0, 4.0)])
def test_the_body_is_in_the_middle_in_true_millimetres(spacing: tuple[float, float]) -> None:
    rows, columns = round(400 / spacing[0]), round(600 / spacing[1])  # a body of 200 x 300 mm
    volume = body(rows, columns, spacing)
    tissue = coarse_tissue(volume)
    down, across = (np.flatnonzero(tissue.any(axis=axis)) for axis in (1, 0))
    assert len(down) * MM == pytest.approx(200, abs=2 * max(spacing[0], MM))
    assert len(across) * MM == pytest.approx(300, abs=2 * max(spacing[1], MM))
    assert down.mean() == pytest.approx(SIDE / 2 - 0.5, abs=1)
    assert across.mean() == pytest.approx(SIDE / 2 - 0.5, abs=1)


@pytest.mark.parametrize(("kind", "spacing"), [("image", 1.0), ("nifti", 0.1), ("nifti", 40.0)])
def test_where_the_spacing_means_nothing_the_body_is_340_mm_wide(kind: str, spacing: float) -> None:
    volume = body(100, 200, (spacing, spacing), kind=kind)
    assert np.count_nonzero(coarse_tissue(volume).any(axis=0)) * MM == pytest.approx(340, abs=3 * MM)


def test_without_a_body_the_frame_is_in_the_middle() -> None:
    volume = replace(body(100, 120, (3.0, 3.0)), array=np.full((120, 100, 1), -1000, np.int16))
    frame = make_resampler(volume, PLAIN).frame()
    assert np.count_nonzero(frame.any(axis=1)) * MM == pytest.approx(300, abs=MM)
    assert np.count_nonzero(frame.any(axis=0)) * MM == pytest.approx(360, abs=MM)


def test_outside_the_frame_is_tissue_and_padding_is_air() -> None:
    volume = body(64, 64, (4.0, 4.0))
    resampler = make_resampler(volume, PLAIN)
    shrunk = resampler.shrink(np.full((64, 64), -3024, np.int16))
    inside = resampler.frame()
    assert inside.mean() == pytest.approx((64 * 4 / 400) ** 2, rel=0.03)
    assert (shrunk[~ndimage.binary_dilation(inside, iterations=3)] == OUTSIDE).all()
    np.testing.assert_allclose(shrunk[ndimage.binary_erosion(inside, iterations=2)], 0, atol=1e-3)


@pytest.mark.parametrize("size", [0.6, 1.0, 2.5, 3.556])
def test_a_constant_stays_constant_and_a_slope_a_slope(size: float) -> None:
    at = np.arange(20) * size + 15
    weights = shrinking(120, at, size)
    np.testing.assert_allclose(weights @ np.ones(120, np.float32), 1, atol=1e-5)
    np.testing.assert_allclose(weights @ np.arange(120, dtype=np.float32), at, atol=size / 20)


def test_down_and_up_again_is_nearly_the_same() -> None:
    volume = body(300, 300, (1.2, 1.2))
    resampler = make_resampler(volume, PLAIN)
    rows, columns = np.mgrid[:300, :300]
    mask = np.hypot(rows - 140, columns - 160) < 60
    cover = resampler.cover(mask)
    assert cover.sum() * MM**2 == pytest.approx(mask.sum() * 1.2**2, rel=1e-3)
    window = resampler.window(cover)
    back = np.zeros(mask.shape, bool)
    back[window] = resampler.enlarge(cover, window) > 0.5
    assert 2 * (back & mask).sum() / (back.sum() + mask.sum()) > 0.99
    assert resampler.window(np.zeros((SIDE, SIDE), np.float32)) == (slice(0, 0), slice(0, 0))


def test_slices_are_spread_evenly() -> None:
    view = np.arange(10)[:, None, None]
    assert [int(one[0, 0]) for one in sample_slices(view, 4)] == [0, 3, 6, 9]
    assert [int(one[0, 0]) for one in sample_slices(view[:3], 4)] == [0, 1, 2]

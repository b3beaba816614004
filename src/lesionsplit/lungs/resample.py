"""The coarse grid on which lungs are found: axial slices with one pixel size, centred on the body."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from lesionsplit.images import Float, Mask
from lesionsplit.lungs.hu_scale import HuScale
from lesionsplit.lungs.morphology import largest, outside_air
from lesionsplit.volumes.volume import Volume, Voxels

Weights: TypeAlias = Any
"""`scipy.sparse.csr_array` of float32, (new pixels, pixels)."""

SIDE = 160
"""Rows and columns of the coarse grid."""

MM = 2.5
"""Pixel size of the coarse grid, which is 400 mm wide."""

AIR, DENSE = -1024.0, 300.0
"""HU are clipped to this range: padding counts as air, metal as bone."""

OUTSIDE = 1064.0
"""HU above `AIR` outside the frame: soft tissue, so that lungs cut by the frame end there."""

USUAL_BODY = 340.0
"""Assumed body width in millimetres if the pixel size is unknown."""

TISSUE = -300.0
"""HU above which a pixel is body, not air."""

SAMPLED = 32
"""Number of slices from which the position of the body is estimated."""


@dataclass(frozen=True, slots=True)
class Resampler:
    """Resamples the axial slices of one volume to the coarse grid and back, linearly along rows and columns."""

    hu_scale: HuScale
    down_rows: Weights
    """(SIDE, rows): each coarse row as weighted rows of the slice."""

    down_columns: Weights
    """(SIDE, columns)."""

    up_rows: Weights
    """(rows, SIDE): back, linear between coarse rows."""

    up_columns: Weights
    """(columns, SIDE)."""

    pixel_mm: float
    """Pixel size of the slices, mean of rows and columns; estimated if it is unknown."""

    def shrink(self, image: Voxels) -> Float:
        """Resample an axial slice to (SIDE, SIDE), in HU above `AIR`: 0 in air, `OUTSIDE` outside the frame."""
        shrunk = resample_axes(self.down_rows, self.hu_scale.hu(image) - np.float32(AIR + OUTSIDE), self.down_columns)
        return shrunk + np.float32(OUTSIDE)

    def cover(self, mask: Mask) -> Float:
        """Fraction of each coarse pixel, (SIDE, SIDE), that a mask of (rows, columns) covers."""
        return resample_axes(self.down_rows, mask.astype(np.float32), self.down_columns)

    def frame(self) -> Mask:
        """(SIDE, SIDE): the part of the coarse grid that the slice fills."""
        inside: Mask = np.outer(self.down_rows.sum(axis=1), self.down_columns.sum(axis=1)) > 0.5
        return inside

    def window(self, shares: Float) -> tuple[slice, slice]:
        """Rows and columns of the slice that contain all of (SIDE, SIDE) above 0; empty if there is none."""
        rows, columns = ((shares > 0).any(axis=other).astype(np.float32) for other in (1, 0))
        return _extent(self.up_rows @ rows > 0), _extent(self.up_columns @ columns > 0)

    def enlarge(self, share: Float, window: tuple[slice, slice]) -> Float:
        """Resample (SIDE, SIDE) to a window of the slice."""
        return resample_axes(self.up_rows[window[0]], share, self.up_columns[window[1]])


def resample_axes(rows: Weights, image: Float, columns: Weights) -> Float:
    """Apply weights to the rows and the columns of an image."""
    resampled: Float = np.ascontiguousarray((columns @ np.ascontiguousarray((rows @ image).T)).T)
    return resampled


def make_resampler(volume: Volume, hu_scale: HuScale) -> Resampler:
    """The resampler of a volume, the same for all its slices: centred on the body, in true millimetres.

    If the volume is an image file, without a pixel size, or the body would be smaller or larger than any, the
    body's width is taken as `USUAL_BODY`.
    """
    _, row_mm, column_mm = volume.axial_spacing
    box = _body_box(volume, hu_scale)
    _, rows, columns = volume.axial().shape
    top, bottom, left, right = box or (0, rows, 0, columns)
    width = (right - left) * column_mm
    if volume.source.kind == "image" or not 120 < width < 650:
        row_mm, column_mm = (spacing * USUAL_BODY / width for spacing in (row_mm, column_mm))
    down_rows, up_rows = _both_ways(rows, row_mm, (top + bottom) / 2)
    down_columns, up_columns = _both_ways(columns, column_mm, (left + right) / 2)
    return Resampler(hu_scale, down_rows, down_columns, up_rows, up_columns, (row_mm + column_mm) / 2)


def shrink_all(resampler: Resampler, slices: Iterable[Voxels], count: int) -> Float:
    """All axial slices on the coarse grid, (count, SIDE, SIDE), see `Resampler.shrink`."""
    shrunk = np.empty((count, SIDE, SIDE), np.float32)
    for number, image in enumerate(slices):
        shrunk[number] = resampler.shrink(image)
    return shrunk


def sample_slices(view: Voxels, count: int = SAMPLED) -> Iterator[Voxels]:
    """Up to ``count`` evenly spaced slices of an axial view."""
    numbers = np.linspace(0, len(view) - 1, min(count, len(view))).round().astype(int)
    return (view[number] for number in numbers)


def shrinking(count: int, at: npt.NDArray[np.floating[Any]], size: float) -> Weights:
    """Weights, (len(at), count), from pixels 0 to ``count`` - 1 to new pixels with centres ``at`` and a ``size``.

    Triangular filters two new pixels wide, against aliasing. The weights of a new pixel sum to 1, less what lies
    outside the slice.
    """
    reach = max(size, 1.0)
    around = np.floor(at)[:, None] + np.arange(-int(reach) - 1, int(reach) + 3)[None, :]
    whole = np.clip(1 - np.abs(at[:, None] - around) / reach, 0, None).sum(axis=1, keepdims=True)
    weights = np.clip(1 - np.abs(at[:, None] - np.arange(count)[None, :]) / reach, 0, None) / whole
    return sparse.csr_array(weights.astype(np.float32))


def _body_box(volume: Volume, hu_scale: HuScale) -> tuple[int, int, int, int] | None:
    """Top, bottom, left and right of the body, in pixels of the axial slices: medians over slices."""
    view = volume.axial()
    step = max(1, max(view.shape[1:]) // 192)
    boxes = []
    for image in sample_slices(view):
        tissue = hu_scale.hu(image[::step, ::step]) > TISSUE
        body = largest(~outside_air(~ndimage.binary_opening(tissue, np.ones((3, 3)))))  # opened: without the table
        if body.mean() > 0.02:
            rows, columns = np.flatnonzero(body.any(axis=1)), np.flatnonzero(body.any(axis=0))
            boxes.append((rows[0], rows[-1], columns[0], columns[-1]))
    if not boxes:
        return None
    top, bottom, left, right = (round(float(side) * step) for side in np.median(np.array(boxes), axis=0))
    return top, bottom + 1, left, right + 1


def _both_ways(count: int, spacing: float, centre: float) -> tuple[Weights, Weights]:
    """Weights from ``count`` pixels of ``spacing`` mm to the coarse grid, centred on ``centre``, and back."""
    size = MM / spacing  # of a coarse pixel, in pixels of the slice
    at = (np.arange(SIDE) + 0.5 - SIDE / 2) * size + centre - 0.5
    up = np.clip(1 - np.abs(np.arange(count)[:, None] - at[None, :]) / size, 0, None)
    return shrinking(count, at, size), sparse.csr_array(up.astype(np.float32))


def _extent(filled: Mask) -> slice:
    """From the first to the last that is true, with a margin of two."""
    where = np.flatnonzero(filled)
    if not len(where):
        return slice(0, 0)
    return slice(max(int(where[0]) - 2, 0), int(where[-1]) + 3)

"""The coarse canvas on which lungs are found: axial slices at one pixel size, centred on the body."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from lesionsplit.images import Float, Mask
from lesionsplit.lungs.levels import Levels, outside_air
from lesionsplit.volumes.volume import Volume, Voxels

Weights: TypeAlias = Any
"""`scipy.sparse.csr_array` of float32, (new pixels, pixels): few weights of a row are not 0."""

SIDE = 160
"""Rows and columns of the canvas."""

MM = 2.5
"""Of a pixel of the canvas: 400 mm across."""

AIR, DENSE = -1024.0, 300.0
"""What is below or above counts as this: padding as air, metal as bone."""

OUTSIDE = 1064.0
"""HU above `AIR` of what the frame does not hold: soft tissue, so that lungs which the frame cuts end there."""

USUAL_BODY = 340.0
"""Millimetres across a body, of which the width is all that is known of the size of a pixel."""

TISSUE = -300.0
"""HU above which something is body and not air."""

LOOKED_AT = 32
"""Slices that say where the body is."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """How axial slices of one volume lie on the canvas: linear along rows and columns, with the way back."""

    levels: Levels
    down_rows: Weights
    """(SIDE, rows): each row of the canvas as weighted rows of the slice."""

    down_columns: Weights
    """(SIDE, columns)."""

    up_rows: Weights
    """(rows, SIDE): back, linear between the canvas's rows."""

    up_columns: Weights
    """(columns, SIDE)."""

    pixel_mm: float
    """Of a pixel of the slices, as far as that is known; of rows and columns the mean."""

    def shrink(self, image: Voxels) -> Float:
        """An axial slice, (rows, columns), in HU above `AIR`: 0 in air, `OUTSIDE` outside the frame, (SIDE, SIDE)."""
        shrunk = both_axes(self.down_rows, self.levels.hu(image) - np.float32(AIR + OUTSIDE), self.down_columns)
        return shrunk + np.float32(OUTSIDE)

    def cover(self, mask: Mask) -> Float:
        """How much of each pixel of the canvas a mask covers, (rows, columns) to (SIDE, SIDE), 0 to 1."""
        return both_axes(self.down_rows, mask.astype(np.float32), self.down_columns)

    def frame(self) -> Mask:
        """(SIDE, SIDE): what of the canvas the slice fills."""
        inside: Mask = np.outer(self.down_rows.sum(axis=1), self.down_columns.sum(axis=1)) > 0.5
        return inside

    def window(self, shares: Float, margin: int = 2) -> tuple[slice, slice]:
        """Rows and columns of the slice outside of which (SIDE, SIDE) is 0; both are empty where it is 0."""
        rows, columns = ((shares > 0).any(axis=other).astype(np.float32) for other in (1, 0))
        return _extent(self.up_rows @ rows > 0, margin), _extent(self.up_columns @ columns > 0, margin)

    def enlarge(self, share: Float, window: tuple[slice, slice]) -> Float:
        """From (SIDE, SIDE) back to a window of the slice."""
        return both_axes(self.up_rows[window[0]], share, self.up_columns[window[1]])


def both_axes(rows: Weights, image: Float, columns: Weights) -> Float:
    """An image on new rows and columns."""
    resampled: Float = np.ascontiguousarray((columns @ np.ascontiguousarray((rows @ image).T)).T)
    return resampled


def place(volume: Volume, levels: Levels) -> Canvas:
    """The canvas of a volume, the same for all its slices: centred on the body, in true millimetres.

    Slices of an image file have no pixel size; of them, and where the body would be smaller or larger than
    any, its width is taken for `USUAL_BODY`.
    """
    _, row_mm, column_mm = volume.axial_spacing
    box = _body_box(volume, levels)
    _, rows, columns = volume.axial().shape
    top, bottom, left, right = box or (0, rows, 0, columns)
    width = (right - left) * column_mm
    if volume.source.kind == "image" or not 120 < width < 650:
        row_mm, column_mm = (spacing * USUAL_BODY / width for spacing in (row_mm, column_mm))
    down_rows, up_rows = _both_ways(rows, row_mm, (top + bottom) / 2)
    down_columns, up_columns = _both_ways(columns, column_mm, (left + right) / 2)
    return Canvas(levels, down_rows, down_columns, up_rows, up_columns, (row_mm + column_mm) / 2)


def shrink_all(canvas: Canvas, slices: Iterable[Voxels], count: int) -> Float:
    """All axial slices on the canvas, (count, SIDE, SIDE), see `Canvas.shrink`."""
    shrunk = np.empty((count, SIDE, SIDE), np.float32)
    for number, image in enumerate(slices):
        shrunk[number] = canvas.shrink(image)
    return shrunk


def some_of(view: Voxels, count: int = LOOKED_AT) -> Iterator[Voxels]:
    """Up to ``count`` slices of an axial view, evenly spread, none left out at random."""
    numbers = np.linspace(0, len(view) - 1, min(count, len(view))).round().astype(int)
    return (view[number] for number in numbers)


def largest(mask: Mask) -> Mask:
    """The largest connected piece, in two or three dimensions; the mask itself if it is empty."""
    regions, count = ndimage.label(mask)
    if not count:
        return mask
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    found: Mask = regions == sizes.argmax()
    return found


def _body_box(volume: Volume, levels: Levels) -> tuple[int, int, int, int] | None:
    """Top, bottom, left and right of the body, in pixels of the axial slices: the median over slices."""
    view = volume.axial()
    step = max(1, max(view.shape[1:]) // 192)
    boxes = []
    for image in some_of(view):
        tissue = ndimage.binary_opening(levels.hu(image[::step, ::step]) > TISSUE, np.ones((3, 3)))  # without the table
        body = largest(~outside_air(~tissue))
        if body.mean() > 0.02:
            rows, columns = np.flatnonzero(body.any(axis=1)), np.flatnonzero(body.any(axis=0))
            boxes.append((rows[0], rows[-1], columns[0], columns[-1]))
    if not boxes:
        return None
    top, bottom, left, right = (round(float(side) * step) for side in np.median(np.array(boxes), axis=0))
    return top, bottom + 1, left, right + 1


def _both_ways(count: int, spacing: float, centre: float) -> tuple[Weights, Weights]:
    """Weights from ``count`` pixels of ``spacing`` mm to the canvas and back; ``centre`` comes to its middle."""
    size = MM / spacing  # of a pixel of the canvas, in pixels of the slice
    at = (np.arange(SIDE) + 0.5 - SIDE / 2) * size + centre - 0.5
    up = np.clip(1 - np.abs(np.arange(count)[:, None] - at[None, :]) / size, 0, None)
    return shrinking(count, at, size), sparse.csr_array(up.astype(np.float32))


def shrinking(count: int, at: npt.NDArray[np.floating[Any]], size: float) -> Weights:
    """Weights, (len(at), count), of pixels 0 to ``count`` - 1 in new pixels centred ``at`` and of a ``size``.

    Tents as wide as two new pixels, against aliasing. Weights sum to 1, but for what lies outside.
    """
    reach = max(size, 1.0)
    around = np.floor(at)[:, None] + np.arange(-int(reach) - 1, int(reach) + 3)[None, :]
    whole = np.clip(1 - np.abs(at[:, None] - around) / reach, 0, None).sum(axis=1, keepdims=True)
    weights = np.clip(1 - np.abs(at[:, None] - np.arange(count)[None, :]) / reach, 0, None) / whole
    return sparse.csr_array(weights.astype(np.float32))


def _extent(filled: Mask, margin: int) -> slice:
    where = np.flatnonzero(filled)
    if not len(where):
        return slice(0, 0)
    return slice(max(int(where[0]) - margin, 0), int(where[-1]) + 1 + margin)

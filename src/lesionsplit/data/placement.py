"""Which part of a frame the network sees, at which size, and the way back.

A `Placement` is a box of whole input pixels and the canvas it is resampled to. Both edges of the
box are edges of the canvas, so the map between them is one scale and one shift per axis, and its
inverse is exact; only the resampling in between loses detail.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta

from lesionsplit.data.lungs import bounding_box
from lesionsplit.images import Float, Mask, resize
from lesionsplit.settings import Settings

Pixels = Annotated[int, Meta(ge=16, le=4096)]

Spacing: TypeAlias = tuple[float, float]
"""Millimetres from one row to the next, and from one column to the next."""


class PlacementSettings(Settings, frozen=True):
    """How frames are brought to one size."""

    kind: Literal["lungs", "frame"] = "lungs"
    """``frame``: the whole frame fills the canvas (the paper). ``lungs``: a window on the lungs, which
    fill only an eighth of a frame, so the same canvas holds finer pixels."""

    rows: Pixels = 192
    columns: Pixels = 256

    frame: Pixels = 320
    """``lungs`` only: the resolution, as the pixels the frame's longer side would have. Slices whose
    lungs do not fit the canvas at this resolution get a coarser one."""

    pixel_mm: Annotated[float, Meta(gt=0)] = 1.24
    """``lungs`` only: the same resolution in millimetres, for slices the size of whose pixels is known, as of
    a CT volume. covid-cell's lungs are 286 pixels of 512 wide in the median slice, which a chest of 221 mm
    makes 0.77 mm, and 1.24 mm a pixel of the canvas."""

    def place(self, lungs: Mask, spacing: Spacing | None = None) -> Placement:
        """The placement of a frame with these lungs, (rows, columns), at least one pixel of them set.

        Args:
            lungs: where they are.
            spacing: millimetres between rows and between columns, if known; they may differ.
        """
        down, right = spacing or (1.0, 1.0)
        if self.kind == "frame":
            top, left, rows, columns = 0, 0, *lungs.shape
            finest = 0.0
        else:
            top, left, rows, columns = bounding_box(lungs)
            finest = self.pixel_mm if spacing else max(lungs.shape) / self.frame
        scale = max(finest, rows * down / self.rows, columns * right / self.columns)
        return self._centred(lungs.shape, (top + rows / 2, left + columns / 2), (scale / down, scale / right))

    @property
    def canvas(self) -> tuple[int, int]:
        """Rows and columns of what the network sees."""
        return self.rows, self.columns

    def _centred(self, frame: tuple[int, ...], centre: tuple[float, float], scales: tuple[float, float]) -> Placement:
        """A box of so many input pixels a canvas pixel, along rows and columns, about ``centre``."""
        rows, columns = (int(np.ceil(side * scale - 1e-6)) for side, scale in zip(self.canvas, scales, strict=True))
        top, left = (
            int(np.floor(middle - side / 2 + 0.5)) for middle, side in zip(centre, (rows, columns), strict=True)
        )
        return Placement(frame=(frame[0], frame[1]), box=(top, left, rows, columns), canvas=self.canvas)


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """One frame's way into the network and back."""

    frame: tuple[int, int]
    """Rows and columns of the input."""

    box: tuple[int, int, int, int]
    """Top, left, rows, columns in input pixels; parts outside the frame are black."""

    canvas: tuple[int, int]
    """Rows and columns of what the network sees."""

    def apply(self, image: Float) -> Float:
        """Bring an image of the frame's shape onto the canvas."""
        window = np.zeros(self.box[2:], dtype=np.float32)
        inside, source = self._overlap()
        window[inside] = image[source]
        return resize(window, self.canvas)

    def undo(self, image: Float) -> Float:
        """Bring an image of the canvas' shape back onto the frame; 0 where the network saw nothing."""
        frame = np.zeros(self.frame, dtype=np.float32)
        inside, source = self._overlap()
        frame[source] = resize(image, self.box[2:])[inside]
        return frame

    @property
    def scale(self) -> float:
        """Input pixels a canvas pixel, on the coarser axis."""
        return max(self.box[2] / self.canvas[0], self.box[3] / self.canvas[1])

    def to_canvas(self, point: tuple[float, float]) -> tuple[float, float]:
        """Where a point of the frame (row, column; pixel corners are whole numbers) lies on the canvas."""
        top, left, rows, columns = self.box
        return (point[0] - top) * self.canvas[0] / rows, (point[1] - left) * self.canvas[1] / columns

    def to_frame(self, point: tuple[float, float]) -> tuple[float, float]:
        """The inverse of `to_canvas`."""
        top, left, rows, columns = self.box
        return top + point[0] * rows / self.canvas[0], left + point[1] * columns / self.canvas[1]

    def _overlap(self) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Where box and frame overlap: as slices of the box, and as slices of the frame."""
        inside, source = [], []
        for start, length, limit in zip(self.box[:2], self.box[2:], self.frame, strict=True):
            first, last = max(start, 0), min(start + length, limit)
            source.append(slice(first, max(last, first)))
            inside.append(slice(first - start, max(last, first) - start))
        return (inside[0], inside[1]), (source[0], source[1])

"""The part of a frame that is the input of the network, its size, and the way back.

A `Placement` is a box of whole input pixels and the canvas to which it is resampled. The edges of the box are the
edges of the canvas, so the map between them is one scale and one shift per axis and has an exact inverse; only
resampling loses detail.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta

from lesionsplit.data.lung_slice import bounding_box
from lesionsplit.errors import SettingsError
from lesionsplit.images import Float, Mask, resize
from lesionsplit.settings import Settings

SMALLEST = 16
"""Pixels of the shorter side of a canvas."""

Pixels = Annotated[int, Meta(ge=SMALLEST, le=4096)]

Spacing: TypeAlias = tuple[float, float]
"""Millimetres between rows, and between columns."""


class PlacementSettings(Settings, frozen=True):
    """How frames are resampled to one size."""

    kind: Literal["lungs", "frame"] = "lungs"
    """``frame``: the whole frame (the paper). ``lungs``: a window around the lungs, which fill only an eighth of a
    frame, so that the pixels of the canvas are finer."""

    rows: Pixels = 192
    columns: Pixels = 256

    frame: Pixels = 320
    """``lungs`` only: the resolution, as the number of pixels on the frame's longer side. Slices whose lungs do not
    fit the canvas at this resolution get a coarser one."""

    margin: Annotated[int, Meta(ge=0, le=64)] = 0
    """``frame`` only: pixels of the canvas between its edges and the frame. Near an edge a network knows less of the
    surroundings, and scores are higher; whole images have a margin, into which they go on as their mirror image."""

    pixel_mm: Annotated[float, Meta(ge=0.01, le=100)] = 1.24
    """``lungs`` only: the same resolution in millimetres, for slices with a known pixel size, as in a CT volume. In
    covid-cell the lungs of the median slice are 286 of 512 pixels wide. If that is 221 mm, a pixel has 0.77 mm,
    and a pixel of the canvas 1.24 mm."""

    def place(self, lungs: Mask, spacing: Spacing | None = None) -> Placement:
        """The placement of a frame with these lungs.

        Args:
            lungs: mask, (rows, columns), not empty.
            spacing: millimetres between rows and between columns, if known; they may differ.
        """
        down, right = spacing or (1.0, 1.0)
        margin = 0
        if self.kind == "frame":
            top, left, rows, columns = 0, 0, *lungs.shape
            finest, margin = 0.0, 2 * self.margin
        else:
            top, left, rows, columns = bounding_box(lungs)
            finest = self.pixel_mm if spacing else max(lungs.shape) / self.frame
        scale = max(finest, rows * down / (self.rows - margin), columns * right / (self.columns - margin))
        return self._centred(lungs.shape, (top + rows / 2, left + columns / 2), (scale / down, scale / right))

    def __post_init__(self) -> None:
        if min(self.canvas) - 2 * self.margin < SMALLEST:
            raise SettingsError(
                f"placement.margin: is {self.margin} on a canvas of {self.rows} x {self.columns} pixels; at least "
                f"{SMALLEST} must be left between the margins"
            )

    @property
    def canvas(self) -> tuple[int, int]:
        """Rows and columns of the network's input."""
        return self.rows, self.columns

    def _centred(self, frame: tuple[int, ...], centre: tuple[float, float], scales: tuple[float, float]) -> Placement:
        """A box around ``centre``; ``scales`` are input pixels per canvas pixel, along rows and columns."""
        rows, columns = (int(np.ceil(side * scale - 1e-6)) for side, scale in zip(self.canvas, scales, strict=True))
        top, left = (
            int(np.floor(middle - side / 2 + 0.5)) for middle, side in zip(centre, (rows, columns), strict=True)
        )
        return Placement(frame=(frame[0], frame[1]), box=(top, left, rows, columns), canvas=self.canvas)


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """The map between one frame and the canvas."""

    frame: tuple[int, int]
    """Rows and columns of the input."""

    box: tuple[int, int, int, int]
    """Top, left, rows, columns in input pixels; pixels outside the frame are black."""

    canvas: tuple[int, int]
    """Rows and columns of the network's input."""

    def apply(self, image: Float, *, mirrored: bool = False) -> Float:
        """Resample an image of the frame's shape to the canvas; (rows, columns, 3) become (3, H, W).

        Outside the frame the canvas is black or, if ``mirrored``, the image goes on as its mirror image.
        """
        if image.ndim == 3:
            return np.stack([self.apply(channel, mirrored=mirrored) for channel in np.moveaxis(image, 2, 0)])
        inside, source = self._overlap()
        if mirrored:
            around = [(one.start, side - one.stop) for one, side in zip(inside, self.box[2:], strict=True)]
            return resize(np.pad(image[source], around, mode="symmetric"), self.canvas)
        window = np.zeros(self.box[2:], dtype=np.float32)
        window[inside] = image[source]
        return resize(window, self.canvas)

    def undo(self, image: Float) -> Float:
        """Resample an image of the canvas' shape to the frame; 0 outside the box. The inverse of `apply`."""
        if image.ndim == 3:
            return np.stack([self.undo(channel) for channel in image], axis=-1)
        frame = np.zeros(self.frame, dtype=np.float32)
        inside, source = self._overlap()
        frame[source] = resize(image, self.box[2:])[inside]
        return frame

    @property
    def scale(self) -> float:
        """Input pixels per canvas pixel, on the coarser axis."""
        return max(self.box[2] / self.canvas[0], self.box[3] / self.canvas[1])

    def to_canvas(self, point: tuple[float, float]) -> tuple[float, float]:
        """The position on the canvas of a point of the frame; row and column, with integers at pixel corners."""
        top, left, rows, columns = self.box
        return (point[0] - top) * self.canvas[0] / rows, (point[1] - left) * self.canvas[1] / columns

    def to_frame(self, point: tuple[float, float]) -> tuple[float, float]:
        """The inverse of `to_canvas`."""
        top, left, rows, columns = self.box
        return top + point[0] * rows / self.canvas[0], left + point[1] * columns / self.canvas[1]

    def _overlap(self) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """The overlap of box and frame, in indices of the box and in indices of the frame."""
        inside, source = [], []
        for start, length, limit in zip(self.box[:2], self.box[2:], self.frame, strict=True):
            first, last = max(start, 0), min(start + length, limit)
            source.append(slice(first, max(last, first)))
            inside.append(slice(first - start, max(last, first) - start))
        return (inside[0], inside[1]), (source[0], source[1])

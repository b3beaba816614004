"""The figure of a result: one slice, its scores, its lesion and its healthy version, side by side."""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from lesionsplit.errors import SettingsError
from lesionsplit.images import Float, Mask
from lesionsplit.report.page.window import window_of
from lesionsplit.tiles import grey_tile, outline, overlay_tile
from lesionsplit.volumes.decomposed import TOP, DecomposedVolume

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RED = (255, 64, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panels:
    """What a figure shows; all (rows, columns)."""

    title: str
    image: Float
    """Grey, 0 to 1."""

    score: Float
    """0 to 1."""

    lesion: Mask
    healthy: Float
    """Grey, 0 to 1."""


def volume_panels(decomposed: DecomposedVolume) -> Panels:
    """The axial slice with the largest area of lesion; the middle one where there is no lesion."""
    volume = decomposed.volume
    areas = [int(np.count_nonzero(one)) for one in volume.axial(decomposed.lesion)]
    at = int(np.argmax(areas)) if any(areas) else len(areas) // 2
    shown = window_of(volume)
    image, healthy = (shown.share(volume.axial(one)[at]) for one in (volume.array, decomposed.healthy))
    return Panels(
        title=f"{volume.source.name}, slice {at + 1} of {len(areas)}",
        image=image,
        score=volume.axial(decomposed.score)[at].astype(np.float32) / np.float32(TOP),
        lesion=volume.axial(decomposed.lesion)[at] > 0,
        healthy=healthy,
    )


def png_of(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def result_figure(panels: Panels) -> Figure:
    """Draw the panels.

    Raises:
        SettingsError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise SettingsError("a figure needs matplotlib; install it with: pip install 'lesionsplit[plots]'")
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        """A notebook shows it: without pyplot, matplotlib's own figure is a line of text there."""

        def _repr_png_(self) -> bytes:
            return png_of(self)

    tiles = {
        "slice": grey_tile(panels.image),
        "score": overlay_tile(panels.image, panels.score),
        "lesion": outline(grey_tile(panels.image), panels.lesion, RED),
        "healthy version": grey_tile(panels.healthy),
    }
    figure = NotebookFigure(figsize=(12, 3.4), layout="constrained")
    for axes, (title, tile) in zip(figure.subplots(1, len(tiles)), tiles.items(), strict=True):
        axes.imshow(tile)
        axes.set_title(title, size=10)
        axes.set_axis_off()
    figure.suptitle(panels.title, size=11)
    return figure

"""A page of slices with their lungs drawn in, to look at."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from lesionsplit.images import Float
from lesionsplit.lungs.canvas import some_of
from lesionsplit.lungs.levels import levels_of
from lesionsplit.pictures import Colour, Tile, grey_tile, label, outline, sheet
from lesionsplit.volumes.findings import LEFT, RIGHT
from lesionsplit.volumes.volume import Volume, Voxels

COLOURS: dict[int, Colour] = {RIGHT: (255, 120, 60), LEFT: (70, 190, 255)}

WINDOW = (-1100.0, 250.0)
"""HU from black to white."""


def outline_sheet(
    volume: Volume, labels: Voxels, *, slices: int | None = None, across: int = 10, width: int = 192
) -> Image.Image:
    """Axial slices from foot to head, the right lung outlined in orange, the left one in blue.

    Args:
        volume: what was searched.
        labels: 0, `RIGHT` or `LEFT`, on its grid.
        slices: how many, evenly spread; by default all.
        across: slices in a row.
        width: pixels of a slice's width at most; finer ones lose every second, third ... pixel.
    """
    view, lungs = volume.axial(), volume.axial(labels)
    levels = levels_of(volume, some_of(view))
    chosen = np.unique(np.linspace(0, len(view) - 1, min(slices or len(view), len(view))).round().astype(int))
    step = math.ceil(max(view.shape[1:]) / width)
    tiles = []
    for number in chosen:
        grey = (levels.hu(view[number][::step, ::step]) - WINDOW[0]) / (WINDOW[1] - WINDOW[0])
        tiles.append(_tile(grey, lungs[number][::step, ::step], str(number + 1)))
    across = min(across, len(tiles))
    while len(tiles) % across:
        tiles.append(np.zeros_like(tiles[0]))
    rows = [tiles[at : at + across] for at in range(0, len(tiles), across)]
    return sheet(rows, [volume.source.name, *[""] * (across - 1)])


def _tile(grey: Float, lungs: Voxels, name: str) -> Tile:
    tile = grey_tile(grey)
    for side, colour in COLOURS.items():
        tile = outline(tile, lungs == side, colour)
    return label(tile, name)

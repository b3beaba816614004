"""A page of slices with the outlines of their lungs, for inspection."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from lesionsplit.images import Float
from lesionsplit.lungs.hu_scale import hu_scale_of
from lesionsplit.lungs.resample import sample_slices
from lesionsplit.tiles import Colour, Tile, grey_tile, label, outline, tile_grid
from lesionsplit.volumes.decomposed import LEFT, RIGHT
from lesionsplit.volumes.volume import Volume, Voxels

COLOURS: dict[int, Colour] = {RIGHT: (255, 120, 60), LEFT: (70, 190, 255)}

WINDOW = (-1100.0, 250.0)
"""HU of black and white."""


def contact_sheet(
    volume: Volume, labels: Voxels, *, slices: int | None = None, across: int = 10, width: int = 192
) -> Image.Image:
    """Axial slices from foot to head, the right lung outlined in orange, the left one in blue.

    Args:
        volume: the CT.
        labels: 0, `RIGHT` or `LEFT`, on its grid.
        slices: how many, evenly spaced; by default all.
        across: slices per row.
        width: maximum width of a slice in pixels; wider ones are subsampled.
    """
    view, lungs = volume.axial(), volume.axial(labels)
    hu_scale = hu_scale_of(volume, sample_slices(view))
    chosen = np.unique(np.linspace(0, len(view) - 1, min(slices or len(view), len(view))).round().astype(int))
    step = math.ceil(max(view.shape[1:]) / width)
    tiles = []
    for number in chosen:
        grey = (hu_scale.hu(view[number][::step, ::step]) - WINDOW[0]) / (WINDOW[1] - WINDOW[0])
        tiles.append(_tile(grey, lungs[number][::step, ::step], str(number + 1)))
    across = min(across, len(tiles))
    while len(tiles) % across:
        tiles.append(np.zeros_like(tiles[0]))
    rows = [tiles[at : at + across] for at in range(0, len(tiles), across)]
    return tile_grid(rows, [volume.source.name, *[""] * (across - 1)])


def _tile(grey: Float, lungs: Voxels, name: str) -> Tile:
    tile = grey_tile(grey)
    for side, colour in COLOURS.items():
        tile = outline(tile, lungs == side, colour)
    return label(tile, name)

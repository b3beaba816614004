"""Small images, tiles, and their arrangement in grids with headings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from lesionsplit.csvtext import printable
from lesionsplit.images import Float, Mask

Colour: TypeAlias = tuple[int, int, int]
Tile: TypeAlias = npt.NDArray[np.uint8]
"""A colour image, (rows, columns, 3)."""

BACKGROUND: Colour = (16, 16, 18)
TEXT: Colour = (235, 235, 235)
GAP = 4
HEADING = 22
LINE = 14
"""Pixels from one line of text to the next."""

FONT = ImageFont.load_default(size=13)

# The ends and knots of matplotlib's "inferno" (public domain), which is perceptually uniform and distinct in any kind
# of colour blindness.
HEAT: tuple[Colour, ...] = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))


def grey_tile(image: Float) -> Tile:
    """A tile of a grey image, values 0 to 1; one in colour, (rows, columns, 3), keeps its colours."""
    level = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    if level.ndim == 3:
        return level
    tile: Tile = np.repeat(level[..., None], 3, axis=2)
    return tile


def heat_tile(score: Float, top: float = 1.0) -> Tile:
    """A heat map, from dark for 0 to bright for ``top``."""
    position = np.clip(score / top, 0, 1) * (len(HEAT) - 1)
    knots = np.arange(len(HEAT))
    channels = [np.interp(position, knots, [colour[c] for colour in HEAT]) for c in range(3)]
    tile: Tile = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return tile


def overlay_tile(image: Float, score: Float, top: float = 1.0, floor: float = 0.0) -> Tile:
    """A heat map over an image; higher scores are more opaque, and those below a floor are not drawn."""
    lifted = np.sqrt(np.clip(score / top, 0, 1))  # so that faint lesions are visible
    share = np.where(score >= floor, 0.75 * lifted, 0)[..., None]
    tile: Tile = np.rint(grey_tile(image) * (1 - share) + heat_tile(lifted) * share).astype(np.uint8)
    return tile


def outline(tile: Tile, mask: Mask, colour: Colour) -> Tile:
    """The tile with the inner edge of a mask drawn in a colour."""
    edge = mask & ~ndimage.binary_erosion(mask)
    drawn = tile.copy()
    drawn[edge] = colour
    return drawn


def label(tile: Tile, text: str) -> Tile:
    """The tile with text in its upper left corner."""
    image = Image.fromarray(tile)
    ImageDraw.Draw(image).text((3, 1), printable(text), fill=TEXT, font=FONT, stroke_width=1, stroke_fill=BACKGROUND)
    return np.array(image)


Heading: TypeAlias = str | Sequence[tuple[str, Colour]]
"""Text over a column, or several texts with a colour each."""


def text_tile(lines: Sequence[Heading], shape: tuple[int, int]) -> Tile:
    """Lines of text as a tile of (rows, columns); long lines end in "…", lines that do not fit are left out."""
    page = Image.new("RGB", shape[::-1], BACKGROUND)
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(lines[: (shape[0] - GAP) // LINE]):
        _write(draw, (GAP, GAP + number * LINE), line, shape[1] - GAP)
    tile: Tile = np.asarray(page)
    return tile


def _write(draw: ImageDraw.ImageDraw, at: tuple[float, float], words: Heading, right: float) -> None:
    """Write text from (left, top) up to ``right``, with two spaces between parts of several colours."""
    left, top = at
    for part, colour in [(words, TEXT)] if isinstance(words, str) else words:
        shown = _fitting(draw, printable(part), right - left)
        draw.text((left, top), shown, fill=colour, font=FONT)
        left += draw.textlength(shown + "  ", font=FONT)


def _fitting(draw: ImageDraw.ImageDraw, words: str, width: float) -> str:
    if draw.textlength(words, font=FONT) <= width:
        return words
    shown = words
    while shown and draw.textlength(shown + "…", font=FONT) > width:
        shown = shown[:-1]
    return shown + "…" if shown else ""


def tile_grid(rows: Sequence[Sequence[Tile]], headings: Sequence[Heading], names: Sequence[str] = ()) -> Image.Image:
    """Tiles of one size in rows and columns; a heading over each column, a name in the first tile of each row."""
    height, width = rows[0][0].shape[:2]
    across = len(headings) * (width + GAP) + GAP
    down = HEADING + len(rows) * (height + GAP) + GAP
    page = Image.new("RGB", (across, down), BACKGROUND)
    draw = ImageDraw.Draw(page)
    for column, heading in enumerate(headings):
        left = GAP + column * (width + GAP)
        _write(draw, (left + 2, 3), heading, left + width)
    for row, tiles in enumerate(rows):
        top = HEADING + row * (height + GAP)
        for column, tile in enumerate(tiles):
            page.paste(Image.fromarray(tile), (GAP + column * (width + GAP), top))
        if names:
            draw.text((GAP + 3, top + height - 17), names[row], fill=TEXT, font=FONT)
    return page

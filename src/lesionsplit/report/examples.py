"""A page of slices, each with the outlines of the annotators and of the lesion that was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lesionsplit.data.lung_slice import bounding_box
from lesionsplit.data.masks import read_mask
from lesionsplit.data.table import Slice
from lesionsplit.evaluation.accumulators import Scored
from lesionsplit.evaluation.slices import SliceNumbers
from lesionsplit.images import Mask, as_float, read_pixels
from lesionsplit.scores import lesion_mask
from lesionsplit.tiles import (
    TEXT,
    Colour,
    Heading,
    Tile,
    grey_tile,
    heat_tile,
    outline,
    overlay_tile,
    text_tile,
    tile_grid,
)

TILE = (180, 240)
"""Rows and columns of a tile on the page."""

COLOURS: tuple[Colour, ...] = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167))
"""Of the annotators, in the table's order."""

FOUND: Colour = (255, 64, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Slices of one page with what is drawn of them."""

    rows: Sequence[Slice]
    scores: Sequence[Scored]
    """Of each row, on its own frame, with a healthy version."""

    annotators: Sequence[str]
    """In the table's order."""

    threshold: float | None
    """The score from which a pixel counts as lesion; None for no lesion mask."""

    noun: str = "lung"
    """What the region is called."""


def example_page(shown: Shown) -> Image.Image:
    """Slice, outlines, heat map (raw, 0 to 1), overlay, healthy version and lesion found, a row for each slice."""
    names = [f"{row.image.stem}, {row.label}" for row in shown.rows]
    return tile_grid(_tiles(shown), _headings(shown.annotators), names)


def described_page(shown: Shown, numbers: Sequence[SliceNumbers], heading: str) -> Image.Image:
    """The same with the errors in words before each row.

    Args:
        shown: the slices; lesion slices have masks of all annotators.
        numbers: of these slices.
        heading: how the slices were chosen.
    """
    described = [text_tile(describe(one, shown.annotators, shown.noun), TILE) for one in numbers]
    tiles = [[text, *row] for text, row in zip(described, _tiles(shown), strict=True)]
    return tile_grid(tiles, (heading, *_headings(shown.annotators)))


def describe(one: SliceNumbers, annotators: Sequence[str], noun: str = "lung") -> list[Heading]:
    """The errors in a slice: in a sentence, and in numbers against each annotator.

    Args:
        one: the slice's numbers.
        annotators: in the table's order; the sentence is about the first annotator's outline.
        noun: what the region is called.
    """
    lines: list[Heading] = [
        f"{one.row.image.stem}, {one.row.label}, series {one.row.series}",
        [(_sentence(one, annotators[0], noun), FOUND)],
        f"wrong: {_percent(one.wrong(annotators[0]), 1)} of the {noun}; score {one.score:.2f}",
    ]
    for colour, (name, numbers) in zip(COLOURS, one.against.items(), strict=False):
        lines.append([(f"{name}: missed {_percent(numbers.missed)}, false {_percent(numbers.false)}", colour)])
        lines.append(f"    Dice {_number(numbers.dice)}, AP {_number(numbers.average_precision)}")
    return lines


def _sentence(one: SliceNumbers, first: str, noun: str) -> str:
    """The larger of a slice's two errors."""
    if np.isnan(one.lesion_fraction):
        return "no threshold, so no lesion mask"
    if not one.against:
        return f"false positives: {one.lesion_fraction:.1%} of a normal {noun}"
    numbers = one.against[first]
    if np.isnan(numbers.missed):
        return f"{first} outlined nothing; found {one.lesion_fraction:.1%}"
    if numbers.missed_of_lung >= numbers.false_of_lung:
        return f"missed {numbers.missed:.0%} of {first}'s outline"
    return f"{numbers.false:.0%} outside {first}'s outline"


def _percent(value: float, digits: int = 0) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}%}"


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"


def _headings(annotators: Sequence[str]) -> tuple[Heading, ...]:
    outlined: Heading = [("outlined by", TEXT), *zip(annotators, COLOURS, strict=False)]
    found: Heading = [("found", FOUND)]
    return "slice", outlined, "heat map, 0 to 1", "overlay", "healthy version", found


def _tiles(shown: Shown) -> list[list[Tile]]:
    return [_row_of_tiles(row, scored, shown) for row, scored in zip(shown.rows, shown.scores, strict=True)]


def _row_of_tiles(row: Slice, scored: Scored, shown: Shown) -> list[Tile]:
    image = read_pixels(row.image)
    window = window_on(scored.lungs)

    def cut(tile: Tile) -> Tile:
        return np.asarray(Image.fromarray(tile[window]).resize(TILE[::-1], Image.Resampling.BILINEAR))

    grey = grey_tile(as_float(image))
    outlined = grey
    for colour, annotator in zip(COLOURS, shown.annotators, strict=False):
        if annotator in row.masks:
            outlined = outline(outlined, mask_on_frame(row, annotator, image.shape[:2]), colour)
    return [
        cut(grey),
        cut(outlined),
        cut(heat_tile(scored.score)),
        cut(overlay_tile(as_float(image), scored.score)),
        cut(grey_tile(as_float(image if scored.healthy is None else scored.healthy))),
        cut(grey if shown.threshold is None else outline(grey, lesion_mask(scored.score, shown.threshold), FOUND)),
    ]


def window_on(lungs: Mask) -> tuple[slice, slice]:
    """The bounding box of the lungs, widened to the tile's shape."""
    top, left, rows, columns = bounding_box(lungs)
    scale = max(rows / TILE[0], columns / TILE[1]) * 1.06
    half = np.array(TILE) * scale / 2
    middle = np.array([top + rows / 2, left + columns / 2])
    low = np.clip(np.floor(middle - half), 0, None).astype(int)
    high = np.minimum(np.ceil(middle + half).astype(int), lungs.shape)
    return slice(low[0], high[0]), slice(low[1], high[1])


def mask_on_frame(row: Slice, annotator: str, shape: tuple[int, ...]) -> Mask:
    """A mask at the slice's own resolution."""
    whole = Image.fromarray(read_mask(row, annotator)).resize((shape[1], shape[0]), Image.Resampling.NEAREST)
    return np.asarray(whole)

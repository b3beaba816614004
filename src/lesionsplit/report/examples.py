"""A page of slices, each with what the annotators outlined and what was found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from lesionsplit.data.lungs import bounding_box
from lesionsplit.data.masks import read_mask
from lesionsplit.data.table import Slice, Table
from lesionsplit.evaluation.slices import SliceNumbers
from lesionsplit.images import Mask, as_float, read_grey
from lesionsplit.pictures import (
    TEXT,
    Colour,
    Heading,
    Tile,
    grey_tile,
    heat_tile,
    outline,
    overlay_tile,
    sheet,
    text_tile,
)
from lesionsplit.predictor import Prediction

TILE = (180, 240)
"""Rows and columns of a picture on the page."""

COLOURS: tuple[Colour, ...] = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167))
"""Of the annotators, in the table's order."""

FOUND: Colour = (255, 64, 64)

SEED = 0
"""Of what is drawn at random: the same slices for every model."""


def choose_examples(table: Table, lesion: int = 8, normal: int = 2) -> list[Slice]:
    """Slices from all over a split, each from another series while there are enough; not chosen by result."""
    chosen: list[Slice] = []
    for label, count in (("lesion", lesion), ("normal", normal)):
        rows = [row for row in table if row.label == label]
        firsts = list({row.series: row for row in reversed(rows)}.values())[::-1]
        pool = firsts if len(firsts) >= count else rows
        chosen += [pool[at] for at in np.unique(np.linspace(0, len(pool) - 1, min(count, len(pool))).astype(int))]
    return chosen


def choose_random(slices: Sequence[SliceNumbers], count: int = 20, seed: int = SEED) -> list[SliceNumbers]:
    """Slices of a split drawn at random without replacement, in their order; the same ones for the same seed."""
    drawn = np.random.default_rng(seed).choice(len(slices), size=min(count, len(slices)), replace=False)
    return [slices[at] for at in np.sort(drawn)]


def example_page(rows: Iterable[Slice], predictions: Iterable[Prediction], annotators: Sequence[str]) -> Image.Image:
    """Slice, outlines, heat map (raw, 0 to 1), healthy version and what was found, a row a slice."""
    tiles, names = [], []
    for row, prediction in zip(rows, predictions, strict=True):
        tiles.append(_row_of_tiles(row, prediction, annotators))
        names.append(f"{row.image.stem}, {row.label}")
    return sheet(tiles, _headings(annotators), names)


def described_page(
    slices: Iterable[SliceNumbers], predictions: Iterable[Prediction], annotators: Sequence[str], heading: str
) -> Image.Image:
    """The same with what went wrong in words before each row.

    Args:
        slices: of a split.
        predictions: of these slices.
        annotators: in the table's order; lesion slices have masks of all.
        heading: how the slices were chosen.
    """
    tiles = [
        [text_tile(describe(one, annotators), TILE), *_row_of_tiles(one.row, prediction, annotators)]
        for one, prediction in zip(slices, predictions, strict=True)
    ]
    return sheet(tiles, (heading, *_headings(annotators)))


def describe(one: SliceNumbers, annotators: Sequence[str]) -> list[Heading]:
    """What went wrong in a slice: in a sentence, and against each annotator in numbers.

    Args:
        one: the slice's numbers.
        annotators: in the table's order; the sentence is about the first one's outline.
    """
    lines: list[Heading] = [
        f"{one.row.image.stem}, {one.row.label}, series {one.row.series}",
        [(_sentence(one, annotators[0]), FOUND)],
        f"wrong: {_share(one.wrong(annotators[0]), 1)} of the lung; score {one.score:.2f}",
    ]
    for colour, (name, numbers) in zip(COLOURS, one.against.items(), strict=False):
        lines.append([(f"{name}: missed {_share(numbers.missed)}, false {_share(numbers.false)}", colour)])
        lines.append(f"    Dice {_number(numbers.dice)}, AP {_number(numbers.average_precision)}")
    return lines


def _sentence(one: SliceNumbers, first: str) -> str:
    """The larger of a slice's two errors."""
    if np.isnan(one.fired):
        return "no threshold, so nothing is called lesion"
    if not one.against:
        return f"fires on {one.fired:.1%} of a normal lung"
    numbers = one.against[first]
    if np.isnan(numbers.missed):
        return f"{first} outlined nothing; fires on {one.fired:.1%}"
    if numbers.missed_of_lung >= numbers.false_of_lung:
        return f"missed {numbers.missed:.0%} of {first}'s outline"
    return f"fires {numbers.false:.0%} outside {first}'s outline"


def _share(value: float, digits: int = 0) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}%}"


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"


def _headings(annotators: Sequence[str]) -> tuple[Heading, ...]:
    outlined: Heading = [("outlined by", TEXT), *zip(annotators, COLOURS, strict=False)]
    found: Heading = [("found", FOUND)]
    return "slice", outlined, "heat map, 0 to 1", "overlay", "healthy version", found


def _row_of_tiles(row: Slice, prediction: Prediction, annotators: Sequence[str]) -> list[Tile]:
    image = read_grey(row.image)
    window = window_on(prediction.lungs)

    def cut(picture: Tile) -> Tile:
        return np.asarray(Image.fromarray(picture[window]).resize(TILE[::-1], Image.Resampling.BILINEAR))

    grey = grey_tile(as_float(image))
    outlined = grey
    for colour, annotator in zip(COLOURS, annotators, strict=False):
        if annotator in row.masks:
            outlined = outline(outlined, mask_on_frame(row, annotator, image.shape), colour)
    return [
        cut(grey),
        cut(outlined),
        cut(heat_tile(prediction.score)),
        cut(overlay_tile(as_float(image), prediction.score)),
        cut(grey_tile(as_float(prediction.healthy))),
        cut(outline(grey, prediction.mask, FOUND)),
    ]


def window_on(lungs: Mask) -> tuple[slice, slice]:
    """The lungs' box, widened to the tile's shape."""
    top, left, rows, columns = bounding_box(lungs)
    scale = max(rows / TILE[0], columns / TILE[1]) * 1.06
    half = np.array(TILE) * scale / 2
    middle = np.array([top + rows / 2, left + columns / 2])
    low = np.clip(np.floor(middle - half), 0, None).astype(int)
    high = np.minimum(np.ceil(middle + half).astype(int), lungs.shape)
    return slice(low[0], high[0]), slice(low[1], high[1])


def mask_on_frame(row: Slice, annotator: str, shape: tuple[int, ...]) -> Mask:
    """A mask at the slice's own size."""
    whole = Image.fromarray(read_mask(row, annotator)).resize((shape[1], shape[0]), Image.Resampling.NEAREST)
    return np.asarray(whole)

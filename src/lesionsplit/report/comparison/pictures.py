"""Slices beside every method's heat map of them: the pictures of Figures 2 and 4."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lesionsplit.data.lungs import read_slice
from lesionsplit.data.masks import read_mask
from lesionsplit.data.table import Slice, Table
from lesionsplit.evaluation.tally import MethodTally
from lesionsplit.images import Float, Mask, as_float, resize
from lesionsplit.pictures import GAP, TEXT, Colour, Heading, Tile, grey_tile, heat_tile, outline, sheet, text_tile
from lesionsplit.reading import LEVELS, lesion_mask
from lesionsplit.report.comparison.names import bound_suffix, is_upper_bound
from lesionsplit.report.examples import COLOURS, FOUND, TILE, mask_on_frame, window_on
from lesionsplit.study.comparison import Comparison

BRIGHTEST = 0.999
"""Share of the pixels that a method's brightest colour leaves below it."""

EDGE: Colour = (88, 88, 96)
"""Of the lungs in a heat map: so that the place of what is found is seen, and of what is not."""

STRIP = 48
"""Pixels down, of the words over the columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What stands over a column."""

    name: str
    more: str = ""
    """In a second line: an upper bound's label."""

    scale: str = ""
    """What the darkest and the brightest colour mean."""

    upper_bound: bool = False
    parts: tuple[tuple[str, tuple[int, int, int]], ...] = ()
    """Names with colours, of outlines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Rows of tiles of one size, under columns."""

    columns: tuple[Column, ...]
    names: tuple[str, ...]
    """Of the rows."""

    tiles: tuple[tuple[Tile, ...], ...]
    """By row, then column."""


def choose_slices(table: Table, count: int) -> list[Slice]:
    """Lesion slices from the least to the most outlined, each of another series while there are enough.

    Chosen by what annotators outlined alone, never by a method's result: at even steps of the rank of the extent,
    which is the mean over annotators of the share of the frame. Slices in which nobody outlined anything come not
    into it; where nobody outlined any slice, the choice is at even steps of the table.

    Args:
        table: of a split.
        count: as many at most.
    """
    rows = list(table.labelled("lesion"))
    extents = {id(row): _extent(row) for row in rows}
    pool = sorted((row for row in rows if extents[id(row)] > 0), key=lambda row: extents[id(row)]) or rows
    chosen: list[int] = []
    taken: set[str] = set()
    for goal in np.linspace(0, len(pool) - 1, min(count, len(pool))):
        free = [at for at in range(len(pool)) if at not in chosen]
        others = [at for at in free if pool[at].series not in taken] or free
        nearest = min(others, key=lambda at: abs(at - goal))
        chosen.append(nearest)
        taken.add(pool[nearest].series)
    return [pool[at] for at in sorted(chosen)]


def draw_pictures(comparison: Comparison, figure: str, rows: Sequence[Slice]) -> Pictures:
    """Slices with outlines, each shown entry's raw heat map, and what the reference finds at its stored threshold.

    Args:
        comparison: whose entries' heat maps are made anew.
        figure: ``methods`` or ``ablations``.
        rows: slices of the comparison's table, at least one.
    """
    frames = [_Frame(row, comparison.table.annotators) for row in rows]
    columns = [Column(name="outlined by", parts=tuple(zip(comparison.table.annotators, COLOURS, strict=False)))]
    tiles = [[frame.outlined()] for frame in frames]
    found: list[Tile] = []
    threshold = comparison.tallies[comparison.reference].threshold
    for one in comparison.shown(figure):
        top = brightest(comparison.tallies[one.label])
        scale = f"0 to {top:.2g}"
        columns.append(
            Column(name=one.label, more=bound_suffix(one).strip(), scale=scale, upper_bound=is_upper_bound(one))
        )
        near = comparison.table.around(rows)  # as they were measured: beside their neighbours
        scores = {row.place: scored for row, scored in zip(near, one.heat_maps(near), strict=True)}
        for row, frame, row_of_tiles in zip(rows, frames, tiles, strict=True):
            scored = scores[row.place]
            row_of_tiles.append(frame.heat(scored.score, top))
            if one.label == comparison.reference and threshold is not None:
                found.append(frame.found(scored.score, threshold))
    if threshold is not None:
        columns.append(Column(name="found", more=f"by {comparison.reference}", scale=f"at {threshold:.2g}, stored"))
        tiles = [[*row_of_tiles, last] for row_of_tiles, last in zip(tiles, found, strict=True)]
    return Pictures(columns=tuple(columns), names=tuple(row.image.stem for row in rows), tiles=tuple(map(tuple, tiles)))


def brightest(tally: MethodTally) -> float:
    """The score that all but a thousandth of the pixels of the split's lesion slices stay below or reach; never 0.

    Methods use their range differently; with this one and the same colour means the same in all slices of a method.
    """
    if not tally.annotators:
        return 1.0
    counts = next(iter(tally.annotators.values())).whole.total.sum(axis=0)
    reached = np.flatnonzero(counts.cumsum() >= BRIGHTEST * counts.sum())[0]
    level = reached or np.flatnonzero(counts)[-1]  # hardly anything is not 0
    return float(level / (LEVELS - 1)) or 1.0


def as_sheet(pictures: Pictures) -> Image.Image:
    """All of it as one picture, words over the columns."""
    below = sheet(pictures.tiles, [""] * len(pictures.columns), pictures.names)
    page = Image.new("RGB", (below.width, below.height + STRIP), below.getpixel((0, 0)))
    page.paste(below, (0, STRIP))
    width = pictures.tiles[0][0].shape[1]
    for number, column in enumerate(pictures.columns):
        lines: list[Heading] = [[(column.name, TEXT), *column.parts]]
        lines += [words for words in (column.more, column.scale) if words]
        page.paste(Image.fromarray(text_tile(lines, (STRIP + 18, width))), (GAP + number * (width + GAP), GAP))
    return page


class _Frame:
    """One slice, from which all tiles of a row are cut alike."""

    def __init__(self, row: Slice, annotators: Sequence[str]) -> None:
        grey, lungs = read_slice(row)
        self.shape = (grey.shape[0], grey.shape[1])
        self.window = window_on(lungs)
        self.grey = grey_tile(self._cut(as_float(grey)))
        self.lungs = self._cut_mask(lungs)
        self.masks = {name: mask_on_frame(row, name, self.shape) for name in annotators if name in row.masks}

    def outlined(self) -> Tile:
        """The slice and what each annotator outlined."""
        tile = self.grey
        for colour, mask in zip(COLOURS, self.masks.values(), strict=False):
            tile = outline(tile, self._cut_mask(mask), colour)
        return tile

    def heat(self, score: Float, top: float) -> Tile:
        """A heat map at any resolution, raw, inside the lungs' outline."""
        return outline(heat_tile(self._cut(resize(score, self.shape)), top), self.lungs, EDGE)

    def found(self, score: Float, threshold: float) -> Tile:
        """The slice and where a score reaches the threshold."""
        return outline(self.grey, self._cut_mask(lesion_mask(resize(score, self.shape), threshold)), FOUND)

    def _cut(self, image: Float) -> Float:
        return np.clip(resize(np.ascontiguousarray(image[self.window]), TILE), 0, 1)

    def _cut_mask(self, mask: Mask) -> Mask:
        inside: Mask = self._cut(mask.astype(np.float32)) >= 0.5
        return inside


def _extent(row: Slice) -> float:
    shares = [float(read_mask(row, name).mean()) for name in row.masks]
    return math.fsum(shares) / len(shares) if shares else 0.0

"""Slices beside every method's heat map: the tiles of Figures 2 and 4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lesionsplit.comparison.examples import Examples
from lesionsplit.comparison.result import Comparison
from lesionsplit.data.kind import RegionName, kind_of_images
from lesionsplit.data.table import Slice
from lesionsplit.evaluation.accumulators import MethodAccumulator
from lesionsplit.images import Float, Mask, as_float, resize
from lesionsplit.report.comparison.captions import slices_caption
from lesionsplit.report.comparison.names import bound_suffix, is_upper_bound
from lesionsplit.report.examples import COLOURS, FOUND, TILE, mask_on_frame, window_on
from lesionsplit.scores import LEVELS, lesion_mask
from lesionsplit.tiles import GAP, TEXT, Colour, Heading, Tile, grey_tile, heat_tile, outline, text_tile, tile_grid

BRIGHTEST = 0.999
"""Fraction of the pixels below a method's brightest colour."""

EDGE: Colour = (88, 88, 96)
"""Colour of the lungs' outline in a heat map."""

STRIP = 48
"""Height in pixels of the text over the columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The heading of a column."""

    name: str
    more: str = ""
    """A second line: the label of an upper bound."""

    scale: str = ""
    """The scores of the darkest and the brightest colour."""

    upper_bound: bool = False
    parts: tuple[tuple[str, tuple[int, int, int]], ...] = ()
    """Names and colours of outlines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceTiles:
    """Tiles of one size in rows and columns."""

    columns: tuple[Column, ...]
    names: tuple[str, ...]
    """Of the rows."""

    tiles: tuple[tuple[Tile, ...], ...]
    """By row, then column."""

    caption: str


def draw_tiles(comparison: Comparison, figure: str, examples: Examples) -> SliceTiles:
    """Slices with outlines, the raw heat map of each entry, and what the reference finds at its stored threshold.

    Args:
        comparison: names, annotators and thresholds.
        figure: ``methods`` or ``ablations``.
        examples: at least one slice of the comparison's table.
    """
    frames = [_Frame(row, comparison.table.annotators, comparison.config.region) for row in examples.rows]
    columns = [Column(name="outlined by", parts=tuple(zip(comparison.table.annotators, COLOURS, strict=False)))]
    by_column = [[frame.outlined() for frame in frames]]
    for one in comparison.shown(figure):
        top = brightest(comparison.accumulators[one.label])
        more, scale = bound_suffix(one).strip(), f"0 to {top:.2g}"
        columns.append(Column(name=one.label, more=more, scale=scale, upper_bound=is_upper_bound(one)))
        scores = examples.scores[one.label]
        by_column.append([frame.heat(scored.score, top) for frame, scored in zip(frames, scores, strict=True)])
    threshold = comparison.accumulators[comparison.reference].threshold
    if threshold is not None:
        columns.append(Column(name="found", more=f"by {comparison.reference}", scale=f"at {threshold:.2g}, stored"))
        scores = examples.scores[comparison.reference]
        by_column.append([frame.found(one.score, threshold) for frame, one in zip(frames, scores, strict=True)])
    names = tuple(row.image.stem for row in examples.rows)
    return SliceTiles(
        columns=tuple(columns),
        names=names,
        tiles=tuple(zip(*by_column, strict=True)),
        caption=slices_caption(comparison, figure, len(examples.rows)),
    )


def brightest(accumulator: MethodAccumulator) -> float:
    """The 99.9th percentile of the scores of all pixels of the split's lesion slices; never 0.

    Methods use different parts of the range 0 to 1. With this scale a colour means the same score in all slices of a
    method.
    """
    if not accumulator.annotators:
        return 1.0
    counts = next(iter(accumulator.annotators.values())).whole.total.sum(axis=0)
    reached = np.flatnonzero(counts.cumsum() >= BRIGHTEST * counts.sum())[0]
    level = reached or np.flatnonzero(counts)[-1]  # nearly all pixels are 0
    return float(level / (LEVELS - 1)) or 1.0


def as_image(shown: SliceTiles) -> Image.Image:
    """All tiles as one image, with the headings over the columns."""
    below = tile_grid(shown.tiles, [""] * len(shown.columns), shown.names)
    page = Image.new("RGB", (below.width, below.height + STRIP), below.getpixel((0, 0)))
    page.paste(below, (0, STRIP))
    width = shown.tiles[0][0].shape[1]
    for number, column in enumerate(shown.columns):
        lines: list[Heading] = [[(column.name, TEXT), *column.parts]]
        lines += [text for text in (column.more, column.scale) if text]
        page.paste(Image.fromarray(text_tile(lines, (STRIP + 18, width))), (GAP + number * (width + GAP), GAP))
    return page


class _Frame:
    """One slice; all tiles of its row show the same part of it."""

    def __init__(self, row: Slice, annotators: Sequence[str], region: RegionName) -> None:
        grey, lungs = kind_of_images(region, [row.image]).read_row(row)
        self.shape = (grey.shape[0], grey.shape[1])
        self.window = window_on(lungs)
        self.grey = grey_tile(self._cut(as_float(grey)))
        self.lungs = self._cut_mask(lungs)
        self.masks = {name: mask_on_frame(row, name, self.shape) for name in annotators if name in row.masks}

    def outlined(self) -> Tile:
        """The slice with the outlines of each annotator."""
        tile = self.grey
        for colour, mask in zip(COLOURS, self.masks.values(), strict=False):
            tile = outline(tile, self._cut_mask(mask), colour)
        return tile

    def heat(self, score: Float, top: float) -> Tile:
        """A raw heat map of any resolution with the outline of the region."""
        return outline(heat_tile(self._cut(resize(score, self.shape)), top), self.lungs, EDGE)

    def found(self, score: Float, threshold: float) -> Tile:
        """The slice with the outline of the pixels that reach the threshold."""
        return outline(self.grey, self._cut_mask(lesion_mask(resize(score, self.shape), threshold)), FOUND)

    def _cut(self, image: Float) -> Float:
        return np.clip(resize(np.ascontiguousarray(image[self.window]), TILE), 0, 1)

    def _cut_mask(self, mask: Mask) -> Mask:
        inside: Mask = self._cut(mask.astype(np.float32)) >= 0.5
        return inside

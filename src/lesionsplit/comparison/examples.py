"""Which slices are shown as examples, and the methods' scores of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lesionsplit.comparison.result import Comparison, Entry
from lesionsplit.data.masks import read_mask
from lesionsplit.data.table import Slice, Table
from lesionsplit.evaluation.accumulators import Scored
from lesionsplit.evaluation.slices import SliceNumbers

SEED = 0
"""Of the random choice: the same slices for every model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Slices of a comparison with the scores of every entry that is shown."""

    rows: tuple[Slice, ...]
    scores: Mapping[str, Sequence[Scored]]
    """By label, for each row."""


def examples_of(comparison: Comparison) -> Examples:
    """As many lesion slices as the comparison's settings ask for, with the scores of every entry."""
    rows = choose_by_extent(comparison.table, comparison.config.examples)
    scores = {one.label: scores_of(one, rows, comparison.table) for one in comparison.shown()}
    return Examples(rows=tuple(rows), scores=scores)


def scores_of(one: Entry, rows: Sequence[Slice], table: Table) -> list[Scored]:
    """An entry's scores of some slices of a table, in which they have their neighbours."""
    near = table.around(rows)
    places = {row.place for row in rows}
    found = {row.place: scored for row, scored in zip(near, one.heat_maps(near), strict=True) if row.place in places}
    return [found[row.place] for row in rows]


def choose_by_extent(table: Table, count: int) -> list[Slice]:
    """Lesion slices from the least to the most outlined, each of another series while there are enough.

    The choice depends only on the annotators' outlines, never on a method's result. Slices are taken at even steps of
    the rank of their extent, which is the mean over annotators of the outlined fraction of the frame. Slices in which
    nobody outlined anything are left out; where no slice is outlined, the choice is at even steps of the table.

    Args:
        table: of a split.
        count: the most slices.
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


def choose_evenly(table: Table, lesion: int = 8, normal: int = 2) -> list[Slice]:
    """Slices from the whole of a split, each of another series while there are enough; not chosen by result."""
    chosen: list[Slice] = []
    for label, count in (("lesion", lesion), ("normal", normal)):
        rows = [row for row in table if row.label == label]
        firsts = list({row.series: row for row in reversed(rows)}.values())[::-1]
        pool = firsts if len(firsts) >= count else rows
        chosen += [pool[at] for at in np.unique(np.linspace(0, len(pool) - 1, min(count, len(pool))).astype(int))]
    return chosen


def choose_random(slices: Sequence[SliceNumbers], count: int = 20, seed: int = SEED) -> list[SliceNumbers]:
    """Slices of a split drawn at random without replacement, in their order; the same seed gives the same slices."""
    drawn = np.random.default_rng(seed).choice(len(slices), size=min(count, len(slices)), replace=False)
    return [slices[at] for at in np.sort(drawn)]


def _extent(row: Slice) -> float:
    fractions = [float(read_mask(row, name).mean()) for name in row.masks]
    return math.fsum(fractions) / len(fractions) if fractions else 0.0

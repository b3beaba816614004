"""Look at healthy versions: `python experiments/healthy_versions.py DATA OUT --weights OLD --weights NEW`.

OUT gets pages of ten slices of `val` with lesion (ten at random, the ten with least taken off, the ten densest): the
slice, the annotators' outlines, the score, and the healthy version of each weights file. With `--classifier`, weights
of `cam`, is printed how many slices it calls normal before and after they are healed, at the score below which it
calls 95 % of the normal slices of `val` normal.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lesionsplit.data.lung_slice import LungSlice, read_slice
from lesionsplit.data.masks import read_mask
from lesionsplit.data.table import Slice, read_table
from lesionsplit.images import Float, Mask, as_float, resize
from lesionsplit.inference.predictor import Prediction, SlicePredictor
from lesionsplit.tiles import Tile, grey_tile, label, outline, overlay_tile, tile_grid

SIDE, PAGE = 256, 10
COLOURS = ((90, 220, 120), (255, 170, 60))
CALLED_NORMAL = 0.95
ENOUGH = 100
"""Pixels of a tile that both annotators outlined, for a slice to be among the worst or densest."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--weights", action="append", required=True, help="repeatable; the score is of the last")
    options.add_argument("--classifier", action="append", default=[], help="weights of `cam`, repeatable")
    options.add_argument("--every", type=int, default=1, help="use each so-manieth slice of `val`")
    chosen = options.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    table = read_table(chosen.data).split("val")
    ill, normal = ([one for one in table.slices if one.label == kind][:: chosen.every] for kind in ("lesion", "normal"))
    healed = {one: list(SlicePredictor.load(one).predict_rows(ill, among=table)) for one in chosen.weights}
    newest = healed[chosen.weights[-1]]
    for name, places in pages(ill, newest).items():
        rows = [tiles(ill[at], [found[at] for found in healed.values()]) for at in places]
        headings = ["slice", "outlines", "score", *(f"healthy, {Path(one).stem}" for one in chosen.weights)]
        tile_grid(rows, headings).save(chosen.out / f"{name}.png")
    for one in chosen.classifier:
        print(verdict(SlicePredictor.load(one), ill, normal, newest))


def pages(ill: list[Slice], found: list[Prediction]) -> dict[str, list[int]]:
    """Places of the slices of each page."""
    taken, dense = [], []
    for row, one in zip(ill, found, strict=True):
        both = np.logical_and(*(outlines(row)[:2]))
        lungs, grey = small(one.lungs.astype(np.float32)) > 0.5, small(as_float(read_slice(row).grey))
        added = grey - np.median(grey[lungs & ~np.logical_or(*(outlines(row)[:2]))])
        enough = np.count_nonzero(both) > ENOUGH
        taken.append((grey - small(as_float(one.healthy)))[both].sum() / added[both].sum() if enough else np.inf)
        dense.append(added[both].mean() if enough else -np.inf)
    rng = np.random.default_rng(0)
    return {
        "random": sorted(rng.choice(len(ill), PAGE, replace=False).tolist()),
        "worst": np.argsort(taken)[:PAGE].tolist(),
        "densest": np.argsort(dense)[::-1][:PAGE].tolist(),
    }


def tiles(row: Slice, found: list[Prediction]) -> list[Tile]:
    """A row of a page."""
    grey = small(as_float(read_slice(row).grey))
    outlined = grey_tile(grey)
    for mask, colour in zip(outlines(row), COLOURS, strict=False):
        outlined = outline(outlined, mask, colour)
    return [
        label(grey_tile(grey), row.image.stem),
        outlined,
        overlay_tile(grey, small(found[-1].score)),
        *(grey_tile(small(as_float(one.healthy))) for one in found),
    ]


def outlines(row: Slice) -> list[Mask]:
    """The annotators' masks on a tile."""
    return [small(read_mask(row, name).astype(np.float32)) > 0.5 for name in sorted(row.masks)]


def small(image: Float) -> Float:
    """An image on a tile."""
    return resize(image, (SIDE, SIDE))


def verdict(classifier: SlicePredictor, ill: list[Slice], normal: list[Slice], found: list[Prediction]) -> str:
    """How many slices a classifier calls normal."""

    def scores(slices: list[LungSlice]) -> list[float]:
        return [one.slice_score for one in classifier.predict_stream(slices)]

    limit = np.quantile(scores([read_slice(row) for row in normal]), CALLED_NORMAL)
    before = np.mean(scores([read_slice(row) for row in ill]) <= limit)
    after = np.mean(scores([LungSlice(one.healthy, one.lungs) for one in found]) <= limit)
    half = np.mean(np.less(scores([LungSlice(one.healthy, one.lungs) for one in found]), 0.5))
    return (
        f"of {len(ill)} slices with lesion, {before:.2f} are called normal before, {after:.2f} after they are healed, "
        f"where {CALLED_NORMAL:.2f} of {len(normal)} normal slices are; {half:.2f} at a probability of 0.5"
    )


if __name__ == "__main__":
    main()

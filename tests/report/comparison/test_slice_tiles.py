from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lesionsplit.comparison.examples import Examples, examples_of
from lesionsplit.comparison.result import Comparison
from lesionsplit.data.table import Table
from lesionsplit.evaluation.accumulators import AnnotatorAccumulator, MethodAccumulator, Scored
from lesionsplit.report.comparison.slice_tiles import EDGE, STRIP, as_image, brightest, draw_tiles
from lesionsplit.report.examples import TILE
from lesionsplit.tiles import GAP, HEADING, heat_tile


@pytest.mark.parametrize(("figure", "shown"), [("methods", 5), ("ablations", 2)])
def test_as_many_tiles_as_said(comparison: Comparison, examples: Examples, figure: str, shown: int) -> None:
    shown_tiles = draw_tiles(comparison, figure, examples)
    assert len(shown_tiles.columns) == 1 + shown + 1
    assert [len(tiles) for tiles in shown_tiles.tiles] == [1 + shown + 1] * 3
    assert {tile.shape for tiles in shown_tiles.tiles for tile in tiles} == {(*TILE, 3)}
    page = as_image(shown_tiles)
    assert page.size == (
        len(shown_tiles.columns) * (TILE[1] + GAP) + GAP,
        STRIP + HEADING + 3 * (TILE[0] + GAP) + GAP,
    )


def test_upper_bounds_are_labelled_and_every_scale_is_said(comparison: Comparison, examples: Examples) -> None:
    shown_tiles = draw_tiles(comparison, "methods", examples)
    columns = {column.name: column for column in shown_tiles.columns}
    assert columns["supervised-b"].more == "(upper bound: masks of b)"
    assert columns["supervised-b"].upper_bound
    assert columns["cam"].scale == f"0 to {brightest(comparison.accumulators['cam']):.2g}"
    assert [name for name, _ in columns["outlined by"].parts] == ["a", "b"]


def test_without_a_threshold_nothing_is_called_found(
    slices: Table, make_comparison: Callable[..., Comparison], make_entry: Callable[..., object]
) -> None:
    comparison = make_comparison(slices, (make_entry("decomposition"), make_entry("cam")), threshold=None)
    shown_tiles = draw_tiles(comparison, "methods", examples_of(comparison))
    assert [column.name for column in shown_tiles.columns] == ["outlined by", "decomposition", "cam"]


def test_heat_is_raw_on_one_scale(comparison: Comparison, examples: Examples) -> None:
    """A heat map of one value everywhere has one colour inside the lungs, the same in every slice."""
    label = "cam"
    top = brightest(comparison.accumulators[label])
    half = [Scored(np.full_like(scored.score, top / 2), scored.lungs) for scored in examples.scores[label]]
    shown_tiles = draw_tiles(comparison, "methods", replace(examples, scores={**examples.scores, label: half}))
    at = [column.name for column in shown_tiles.columns].index(label)
    colours = {
        tuple(map(int, pixel)) for tiles in shown_tiles.tiles for pixel in np.unique(tiles[at].reshape(-1, 3), axis=0)
    }
    expected = tuple(map(int, heat_tile(np.full((1, 1), top / 2, dtype=np.float32), top)[0, 0]))
    assert colours == {expected, EDGE}


def test_the_brightest_score_is_one_that_a_thousandth_of_the_pixels_exceed() -> None:
    accumulator = MethodAccumulator(0.5, annotators={"a": AnnotatorAccumulator()})
    scores = np.linspace(0, 1, 10_000, dtype=np.float32).reshape(100, 100)
    accumulator.annotators["a"].whole.add("s", scores, np.zeros((100, 100), dtype=bool))
    assert brightest(accumulator) == pytest.approx(np.quantile(scores, 0.999, method="inverted_cdf"), abs=1e-5)


def test_the_brightest_of_hardly_anything_is_the_highest_and_of_nothing_1() -> None:
    faint = MethodAccumulator(0.5, annotators={"a": AnnotatorAccumulator()})
    score = np.zeros((100, 100), dtype=np.float32)
    score[0, 0] = 0.25
    faint.annotators["a"].whole.add("s", score, score > 0)
    assert brightest(faint) == pytest.approx(0.25, abs=1e-4)
    nothing = MethodAccumulator(0.5, annotators={"a": AnnotatorAccumulator()})
    nothing.annotators["a"].whole.add("s", np.zeros((4, 4), dtype=np.float32), np.ones((4, 4), dtype=bool))
    assert brightest(nothing) == 1
    assert brightest(MethodAccumulator(0.5)) == 1

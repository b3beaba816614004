from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lesionsplit.data.masks import read_mask
from lesionsplit.data.table import Table
from lesionsplit.evaluation.tally import AnnotatorTally, MethodTally, Scored
from lesionsplit.pictures import GAP, HEADING, heat_tile
from lesionsplit.report.comparison.pictures import EDGE, STRIP, as_sheet, brightest, choose_slices, draw_pictures
from lesionsplit.report.examples import TILE
from lesionsplit.study.comparison import Comparison


def test_slices_are_from_the_least_outlined_to_the_most(slices: Table) -> None:
    extents = {
        row.image: np.mean([read_mask(row, name).mean() for name in row.masks]) for row in slices.labelled("lesion")
    }
    chosen = choose_slices(slices, 4)
    found = [extents[row.image] for row in chosen]
    assert found == sorted(found)
    assert found[0] == min(extent for extent in extents.values() if extent > 0)
    assert len({row.series for row in chosen}) == 4
    assert max(found) > np.quantile(list(extents.values()), 0.8)


def test_of_fewer_slices_than_asked_for_all_are_chosen(slices: Table) -> None:
    few = replace(slices, slices=slices.labelled("lesion").slices[:2])
    assert {row.image for row in choose_slices(few, 6)} == {row.image for row in few}
    assert choose_slices(slices.labelled("normal"), 6) == []


def test_without_masks_slices_are_chosen_all_the_same(slices: Table) -> None:
    assert len(choose_slices(slices.without_masks(), 3)) == 3


@pytest.mark.parametrize(("figure", "shown"), [("methods", 5), ("ablations", 2)])
def test_as_many_tiles_as_said(comparison: Comparison, figure: str, shown: int) -> None:
    rows = choose_slices(comparison.table, 3)
    pictures = draw_pictures(comparison, figure, rows)
    assert len(pictures.columns) == 1 + shown + 1
    assert [len(tiles) for tiles in pictures.tiles] == [1 + shown + 1] * 3
    assert {tile.shape for tiles in pictures.tiles for tile in tiles} == {(*TILE, 3)}
    page = as_sheet(pictures)
    assert page.size == (
        len(pictures.columns) * (TILE[1] + GAP) + GAP,
        STRIP + HEADING + 3 * (TILE[0] + GAP) + GAP,
    )


def test_upper_bounds_are_labelled_and_every_scale_is_said(comparison: Comparison) -> None:
    pictures = draw_pictures(comparison, "methods", choose_slices(comparison.table, 1))
    columns = {column.name: column for column in pictures.columns}
    assert columns["supervised-b"].more == "(upper bound: masks of b)"
    assert columns["supervised-b"].upper_bound
    assert columns["cam"].scale == f"0 to {brightest(comparison.tallies['cam']):.2g}"
    assert [name for name, _ in columns["outlined by"].parts] == ["a", "b"]


def test_without_a_threshold_nothing_is_called_found(
    slices: Table, make_comparison: Callable[..., Comparison], make_entry: Callable[..., object]
) -> None:
    comparison = make_comparison(slices, (make_entry("decomposition"), make_entry("cam")), threshold=None)
    pictures = draw_pictures(comparison, "methods", choose_slices(comparison.table, 2))
    assert [column.name for column in pictures.columns] == ["outlined by", "decomposition", "cam"]


def test_heat_is_raw_on_one_scale(comparison: Comparison) -> None:
    """A heat map of one value everywhere has one colour inside the lungs, the same in every slice."""
    label = "cam"
    top = brightest(comparison.tallies[label])

    def half(table: Table):
        for scored in next(one for one in comparison.contestants if one.label == label).heat_maps(table):
            yield Scored(np.full_like(scored.score, top / 2), scored.lungs)

    contestants = tuple(replace(one, heat_maps=half) if one.label == label else one for one in comparison.contestants)
    pictures = draw_pictures(
        replace(comparison, contestants=contestants), "methods", choose_slices(comparison.table, 3)
    )
    at = [column.name for column in pictures.columns].index(label)
    colours = {
        tuple(map(int, pixel)) for tiles in pictures.tiles for pixel in np.unique(tiles[at].reshape(-1, 3), axis=0)
    }
    expected = tuple(map(int, heat_tile(np.full((1, 1), top / 2, dtype=np.float32), top)[0, 0]))
    assert colours == {expected, EDGE}


def test_the_brightest_score_is_one_that_a_thousandth_of_the_pixels_exceed() -> None:
    tally = MethodTally(0.5, annotators={"a": AnnotatorTally()})
    scores = np.linspace(0, 1, 10_000, dtype=np.float32).reshape(100, 100)
    tally.annotators["a"].whole.add("s", scores, np.zeros((100, 100), dtype=bool))
    assert brightest(tally) == pytest.approx(np.quantile(scores, 0.999, method="inverted_cdf"), abs=1e-5)


def test_the_brightest_of_hardly_anything_is_the_highest_and_of_nothing_1() -> None:
    faint = MethodTally(0.5, annotators={"a": AnnotatorTally()})
    score = np.zeros((100, 100), dtype=np.float32)
    score[0, 0] = 0.25
    faint.annotators["a"].whole.add("s", score, score > 0)
    assert brightest(faint) == pytest.approx(0.25, abs=1e-4)
    nothing = MethodTally(0.5, annotators={"a": AnnotatorTally()})
    nothing.annotators["a"].whole.add("s", np.zeros((4, 4), dtype=np.float32), np.ones((4, 4), dtype=bool))
    assert brightest(nothing) == 1
    assert brightest(MethodTally(0.5)) == 1

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from lesionsplit.comparison.examples import choose_by_extent, choose_evenly, choose_random
from lesionsplit.data.masks import read_mask
from lesionsplit.data.table import Slice, Table
from lesionsplit.evaluation.slices import SliceNumbers


def numbers(lesion_fraction: float) -> SliceNumbers:
    row = Slice(image=Path("images/7.png"), label="normal", split="val", series="s3", place="line 8")
    return SliceNumbers(row, 0.25, lesion_fraction, 0.1, {})


def test_slices_are_from_the_least_outlined_to_the_most(phantom: Table) -> None:
    extents = {
        row.image: np.mean([read_mask(row, name).mean() for name in row.masks]) for row in phantom.labelled("lesion")
    }
    chosen = choose_by_extent(phantom, 4)
    found = [extents[row.image] for row in chosen]
    assert found == sorted(found)
    assert found[0] == min(extent for extent in extents.values() if extent > 0)
    assert len({row.series for row in chosen}) == 4
    assert max(found) > np.quantile(list(extents.values()), 0.8)


def test_of_fewer_slices_than_asked_for_all_are_chosen(phantom: Table) -> None:
    few = replace(phantom, slices=phantom.labelled("lesion").slices[:2])
    assert {row.image for row in choose_by_extent(few, 6)} == {row.image for row in few}
    assert choose_by_extent(phantom.labelled("normal"), 6) == []


def test_without_masks_slices_are_chosen_all_the_same(phantom: Table) -> None:
    assert len(choose_by_extent(phantom.without_masks(), 3)) == 3


def test_examples_are_from_all_over(phantom: Table) -> None:
    chosen = choose_evenly(phantom, lesion=4, normal=2)
    assert [row.label for row in chosen] == ["lesion"] * 4 + ["normal"] * 2
    assert len({(row.label, row.series) for row in chosen}) == 6
    assert len(choose_evenly(phantom, lesion=500, normal=0)) == 18


def test_random_ones_are_the_same_for_the_same_seed_and_in_order() -> None:
    slices = [numbers(share / 100) for share in range(50)]
    shares = [one.lesion_fraction for one in choose_random(slices, 20, seed=3)]
    assert shares == [one.lesion_fraction for one in choose_random(slices, 20, seed=3)]
    assert shares != [one.lesion_fraction for one in choose_random(slices, 20, seed=4)]
    assert shares == sorted(set(shares))
    assert len(shares) == 20
    assert choose_random(slices[:5], 20) == slices[:5]

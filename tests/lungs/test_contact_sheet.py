from __future__ import annotations

import numpy as np
import pytest

from lesionsplit.lungs.contact_sheet import COLOURS, contact_sheet
from lesionsplit.volumes.decomposed import LEFT, RIGHT


@pytest.mark.parametrize(("slices", "rows"), [(None, 2), (7, 1), (100, 2)])
def test_all_slices_or_some_with_their_outlines(chest, slices: int | None, rows: int) -> None:
    page = contact_sheet(chest.volume, chest.truth, slices=slices, width=90)
    columns = 10 if rows > 1 else 7
    assert page.width == columns * (88 + 4) + 4
    assert page.height == 22 + rows * (72 + 4) + 4
    pixels = np.asarray(page)
    where = {side: np.argwhere((pixels == COLOURS[side]).all(axis=-1)) for side in (RIGHT, LEFT)}
    assert min(map(len, where.values())) > 100


def test_the_right_lung_is_on_the_left_of_the_page(chest) -> None:
    pixels = np.asarray(contact_sheet(chest.volume, chest.truth, slices=1, across=1))
    assert pixels.shape[1] < 200
    empty = np.zeros_like(chest.truth)
    assert not (np.asarray(contact_sheet(chest.volume, empty, slices=3)) == COLOURS[RIGHT]).all(axis=-1).any()
    middle = np.asarray(contact_sheet(chest.volume, chest.truth, slices=3))[:, 188:380]
    right, left = (np.nonzero((middle == COLOURS[side]).all(axis=-1))[1].mean() for side in (RIGHT, LEFT))
    assert right < left

"""A drawn chest whose every part is known; and real slices, where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from lesionsplit.data.raw import find_lungs_raw, otsu
from lesionsplit.errors import DataError
from lesionsplit.images import read_grey

Mask = npt.NDArray[np.bool_]
ROWS, COLUMNS = 200, 260
AIR, LUNG, TISSUE, BONE = 20, 60, 200, 240


def oval(row: float, column: float, down: float, across: float) -> Mask:
    rows, columns = np.ogrid[:ROWS, :COLUMNS]
    found: Mask = ((rows - row) / down) ** 2 + ((columns - column) / across) ** 2 <= 1
    return found


BODY = oval(100, 130, 90, 122)
HEART = oval(92, 138, 38, 32)
SPINE = oval(160, 130, 22, 16)
TRACHEA = oval(120, 130, 8, 7)
LUNGS = (oval(98, 72, 66, 46) | oval(98, 188, 66, 46)) & ~HEART & ~SPINE


def chest(*brighter: Mask, seed: int | None = None) -> npt.NDArray[np.uint8]:
    """A raw slice, in which further parts are as bright as muscle."""
    image = np.full((ROWS, COLUMNS), AIR, dtype=np.float64)
    image[BODY], image[LUNGS], image[SPINE] = TISSUE, LUNG, BONE
    image[TRACHEA] = AIR
    for part in brighter:
        image[part] = TISSUE
    if seed is not None:
        image += np.random.default_rng(seed).normal(0, 12, image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def dice(one: Mask, two: Mask) -> float:
    return float(2 * (one & two).sum() / (one.sum() + two.sum()))


def test_both_lungs_are_found_and_nothing_else() -> None:
    found = find_lungs_raw(chest())
    assert dice(found, LUNGS) > 0.98
    assert not found[TRACHEA].any()
    assert not found[~BODY].any()
    assert found[HEART].mean() < 0.05
    assert not found[SPINE].any()


def test_noise_changes_little() -> None:
    assert dice(find_lungs_raw(chest(seed=3)), find_lungs_raw(chest())) > 0.98


def test_the_grey_scale_does_not_matter() -> None:
    image = chest()
    expected = find_lungs_raw(image)
    np.testing.assert_array_equal(find_lungs_raw(image.astype(np.uint16) * 257), expected)
    faint = (100 + image / 8).astype(np.uint8)  # 20 grey values from air to tissue
    assert dice(find_lungs_raw(faint), expected) > 0.99


@pytest.mark.parametrize("margin", [0, 4, 30])
def test_a_crop_has_the_same_lungs(margin: int) -> None:
    rows, columns = np.flatnonzero(LUNGS.any(axis=1)), np.flatnonzero(LUNGS.any(axis=0))
    window = (
        slice(max(rows[0] - margin, 0), rows[-1] + margin + 1),
        slice(max(columns[0] - margin, 0), columns[-1] + margin + 1),
    )
    assert dice(find_lungs_raw(chest()[window]), LUNGS[window]) > 0.98


def test_dense_disease_stays_in() -> None:
    inside, at_ribs = oval(80, 70, 9, 9), oval(120, 36, 16, 9) & LUNGS
    found = find_lungs_raw(chest(inside, at_ribs))
    assert found[inside].all()
    assert found[at_ribs].mean() > 0.95
    assert dice(found, LUNGS) > 0.98


def test_the_livers_dome_stays_out() -> None:
    dome = oval(110, 70, 32, 26)
    found = find_lungs_raw(chest(dome))
    assert found[dome].mean() < 0.1
    assert dice(found, LUNGS & ~dome) > 0.97


def test_lungs_that_touch_in_front_are_two() -> None:
    image = chest()
    bridge = np.zeros_like(LUNGS)
    bridge[45:49, 80:180] = True
    image[bridge] = LUNG
    found = find_lungs_raw(image)
    assert found[HEART].mean() < 0.1
    assert dice(found, LUNGS | bridge) > 0.97


def test_where_there_is_no_lung_it_says_so() -> None:
    body = np.where(BODY, TISSUE, AIR).astype(np.uint8)
    gas = body.copy()
    gas[oval(60, 90, 6, 9)] = AIR
    shoulders = body.copy()
    for column in (50, 130, 210):
        shoulders[oval(100, column, 30, 20)] = 255
    for image in (body, gas, shoulders, np.zeros_like(body), np.full_like(body, 90)):
        with pytest.raises(DataError, match=r"no lung found: .* give raw axial slices"):
            find_lungs_raw(image)


def test_otsu_is_the_split_with_the_largest_variance_between() -> None:
    histogram = np.random.default_rng(0).integers(0, 50, 40)
    values = np.repeat(np.arange(40), histogram)

    def between(split: int) -> float:
        low, high = values[values <= split], values[values > split]
        return float(len(low) * len(high) * (low.mean() - high.mean()) ** 2)

    assert otsu(histogram) == max(range(39), key=between)


def test_real_lesions_are_inside(medseg: Path) -> None:
    inside = lesion = 0
    for path in sorted((medseg / "images").iterdir())[::5]:
        mask = np.asarray(Image.open(medseg / "masks" / path.name)) > 0
        inside += np.count_nonzero(mask & find_lungs_raw(read_grey(path)))
        lesion += np.count_nonzero(mask)
    assert inside / lesion > 0.9

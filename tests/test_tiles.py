from __future__ import annotations

import numpy as np
import pytest

from lesionsplit.tiles import (
    BACKGROUND,
    GAP,
    HEADING,
    HEAT,
    LINE,
    TEXT,
    grey_tile,
    heat_tile,
    label,
    outline,
    overlay_tile,
    text_tile,
    tile_grid,
)

LEVELS = np.array([[-1.0, 0.0, 0.5, 1.0, 2.0]], dtype=np.float32)


def test_grey_is_clipped_and_rounded() -> None:
    assert grey_tile(LEVELS)[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    assert (grey_tile(LEVELS) == grey_tile(LEVELS)[..., :1]).all()


def test_heat_goes_through_its_colours() -> None:
    assert heat_tile(LEVELS)[0].tolist() == [list(HEAT[0]), list(HEAT[0]), list(HEAT[2]), list(HEAT[4]), list(HEAT[4])]
    assert heat_tile(LEVELS / 2, top=0.5).tolist() == heat_tile(LEVELS).tolist()


def test_more_heat_is_brighter() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    brightness = heat_tile(ramp)[0].astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness) >= -0.5).all()


def test_no_score_leaves_the_picture() -> None:
    image = np.linspace(0, 1, 50, dtype=np.float32).reshape(5, 10)
    assert np.array_equal(overlay_tile(image, np.zeros_like(image)), grey_tile(image))
    assert not np.array_equal(overlay_tile(image, np.full_like(image, 0.1)), grey_tile(image))


def test_an_outline_is_the_inner_edge() -> None:
    mask = np.zeros((7, 7), dtype=bool)
    mask[1:6, 1:6] = True
    drawn = outline(grey_tile(np.zeros((7, 7), dtype=np.float32)), mask, (255, 0, 0))
    inner = np.zeros_like(mask)
    inner[2:5, 2:5] = True
    assert np.array_equal(drawn[..., 0] == 255, mask & ~inner)


def test_words_stay_on_their_tile() -> None:
    tile = text_tile(["a line that is far too long for its tile", [("red", (255, 0, 0)), ("more", TEXT)]], (40, 90))
    assert tile.shape == (40, 90, 3)
    lit = (tile.astype(int) - BACKGROUND).max(axis=2) > 60
    assert lit[: GAP + LINE].any()
    assert not lit[:, -GAP + 1 :].any()
    red = (tile[..., 0] > 200) & (tile[..., 1] < 60)
    assert red[GAP + LINE :].any()
    assert not red[: GAP + LINE].any()
    assert np.array_equal(text_tile(["one", "two", "three"], (2 * LINE + GAP, 90)), text_tile(["one", "two"], (32, 90)))


def test_a_line_that_fits_is_left_whole() -> None:
    assert np.array_equal(
        text_tile(["four words fit here"], (30, 200))[:, :150], text_tile(["four words fit here"], (30, 150))
    )


@pytest.mark.parametrize("names", [[], ["one", "two"]])
def test_a_sheet_has_room_for_all(names: list[str]) -> None:
    tile = np.full((30, 40, 3), 200, dtype=np.uint8)
    page = np.asarray(tile_grid([[tile, tile, tile], [tile, tile, tile]], ("a", "b", "c"), names))
    assert page.shape == (HEADING + 2 * (30 + GAP) + GAP, 3 * (40 + GAP) + GAP, 3)
    assert (page[HEADING + 5, GAP + 5] == 200).all()
    assert (page[-1, -1] == BACKGROUND).all()


def test_a_heading_may_have_colours() -> None:
    tile = np.full((30, 140, 3), 200, dtype=np.uint8)
    page = np.asarray(tile_grid([[tile]], ([("one", (255, 0, 0)), ("two", (0, 0, 255))],)))[:HEADING]
    red, blue = (page[..., 0] > 200) & (page[..., 2] < 60), (page[..., 2] > 200) & (page[..., 0] < 60)
    assert red.any()
    assert blue.any()
    assert np.nonzero(red)[1].max() < np.nonzero(blue)[1].min()


def test_a_label_is_in_the_corner_and_nowhere_else() -> None:
    tile = grey_tile(np.full((60, 200), 0.5, dtype=np.float32))
    labelled = label(tile, "name")
    changed = (labelled != tile).any(axis=-1)
    assert changed[:20, :60].any()
    assert not changed[20:].any()
    assert not changed[:, 60:].any()


def test_a_name_that_is_no_text_is_drawn_with_escapes() -> None:
    black = np.zeros((40, 120, 3), np.uint8)
    np.testing.assert_array_equal(label(black, "a\udcff\x1b"), label(black, "a\\udcff\\x1b"))
    tiles = [text_tile([name], (40, 120)) for name in ("a\udcff", "a\\udcff", "a")]
    np.testing.assert_array_equal(tiles[0], tiles[1])
    assert (tiles[0] != tiles[2]).any()

"""What images are, and their regions."""

from pathlib import Path

import numpy as np
import pytest

from lesionsplit.data.kind import FLOOR, ImageKind, kind_of_images
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.errors import DataError, SettingsError
from lesionsplit.images import read_colour, write_image

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (40, 60)).astype(np.uint8)
COLOUR = RNG.integers(0, 255, (40, 60, 3)).astype(np.uint8)
MASK = np.zeros((40, 60), dtype=bool)
MASK[5:20, 10:50] = True


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_colour_of_8_and_16_bits_is_read_as_it_was_written(tmp_path: Path, depth: type) -> None:
    image = COLOUR.astype(depth) * (257 if depth is np.uint16 else 1)
    write_image(tmp_path / "a.png", image)
    np.testing.assert_array_equal(read_colour(tmp_path / "a.png"), image)


def test_the_kind_follows_from_the_files(tmp_path: Path) -> None:
    for name, image in (("g", GREY), ("same", np.repeat(GREY[..., None], 3, axis=2)), ("c", COLOUR)):
        write_image(tmp_path / f"{name}.png", image)
    grey, same, colour = (tmp_path / f"{name}.png" for name in ("g", "same", "c"))
    assert kind_of_images("whole", [grey, same]).channels == 1
    assert kind_of_images("whole", [colour, same]).channels == 3
    assert kind_of_images("lungs", [colour]) == ImageKind()
    with pytest.raises(DataError, match=r"c\.png: is in colour and .*g\.png grey; give all images in colour"):
        kind_of_images("whole", [grey, colour])
    with pytest.raises(DataError, match=r"g\.png: is grey, and the other images are in colour"):
        ImageKind(region="whole", channels=3).read(grey)
    with pytest.raises(DataError, match=r"c\.png: is in colour, and the other images are grey"):
        ImageKind(region="whole").read(colour)


def test_a_region_is_the_whole_image_or_its_mask() -> None:
    assert ImageKind(region="whole").seen(GREY, None, "a").lungs.all()
    grey, region = ImageKind(region="mask").seen(GREY, MASK, "a")
    np.testing.assert_array_equal(region, MASK)
    np.testing.assert_array_equal(grey, np.where(MASK, GREY, 0))
    for mask, said in ((None, "has no mask"), (MASK[:-1], "39 x 60 pixels and the image 40"), (MASK & False, "empty")):
        with pytest.raises(DataError, match=said):
            ImageKind(region="mask").seen(GREY, mask, "a")


@pytest.mark.parametrize("channels", [1, 3])
def test_the_letterbox_has_an_inverse(channels: int) -> None:
    image = (GREY if channels == 1 else COLOUR).astype(np.float32)
    placed = PlacementSettings(kind="frame", rows=64, columns=64).place(np.ones((40, 60), dtype=bool))
    canvas = placed.apply(image)
    assert canvas.shape == ((64, 64) if channels == 1 else (3, 64, 64))
    assert placed.undo(canvas).shape == image.shape
    flat = np.full_like(image, 0.5)
    np.testing.assert_allclose(placed.undo(placed.apply(flat))[2:-2, 2:-2], 0.5, atol=1e-6)


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (20, 160), (48, 48)])
def test_a_whole_image_fills_the_canvas_and_comes_back(shape: tuple[int, int]) -> None:
    image = np.clip(0.5 + 0.3 * np.sin(np.indices(shape).sum(axis=0) / 5), 0, 1).astype(np.float32)
    placed = PlacementSettings(kind="frame", rows=64, columns=64, margin=8).place(np.ones(shape, dtype=bool))
    canvas, inside = ImageKind(region="whole").place(placed, image, np.ones(shape, dtype=bool))
    assert canvas.shape == inside.shape == (64, 64)
    assert (inside == 1).all()
    assert canvas.min() >= image.min() - 1e-6  # nothing is black
    top, left, rows, columns = placed.box
    assert min(-top, -left, rows + top - shape[0], columns + left - shape[1]) >= 8 * placed.scale - 1
    np.testing.assert_allclose(placed.undo(canvas), image, atol=0.06 * placed.scale)
    mirrored = placed.apply(np.arange(shape[1], dtype=np.float32)[None].repeat(shape[0], axis=0), mirrored=True)
    np.testing.assert_allclose(placed.undo(mirrored)[shape[0] // 2, [0, -1]], [0, shape[1] - 1], atol=placed.scale)


def test_a_margin_leaves_room_for_the_image() -> None:
    with pytest.raises(SettingsError, match=r"placement.margin: is 24 on a canvas of 32 x 64 pixels; at least 16 must"):
        PlacementSettings(kind="frame", rows=32, columns=64, margin=24)


def test_pixels_on_the_rim_of_a_mask_have_the_grey_of_the_part_inside() -> None:
    mask = np.zeros((40, 60), dtype=bool)
    mask[5:21, 10:51] = True
    placed = PlacementSettings(rows=16, columns=16, frame=16).place(mask)
    assert placed.scale > 2
    grey, inside = ImageKind(region="mask").place(placed, np.where(mask, 0.4, 0).astype(np.float32), mask)
    partly = (inside > 0.05) & (inside < 0.95)
    assert partly.sum() > 10
    np.testing.assert_allclose(grey[inside > 0.05], 0.4, atol=1e-5)
    score = placed.undo((inside >= 0.5).astype(np.float32) * 0.7)
    kind = ImageKind(region="mask")
    canvas = kind.on_canvas(np.zeros((16, 16), dtype=np.float32), inside)
    corrected = kind.without_outside(score, canvas, placed)
    np.testing.assert_allclose(corrected[score > 0.01], 0.7, atol=1e-5)


def test_outside_is_apart_from_all_that_is_inside() -> None:
    network_grey = np.array([[-1.0, -0.5, 1.0, 0.0]], dtype=np.float32)
    canvas = ImageKind(region="mask").on_canvas(network_grey, np.array([[1.0, 0.6, 1.0, 0.4]], dtype=np.float32))
    np.testing.assert_allclose(canvas, [[FLOOR, -0.5, 1.0, -1.0]], atol=1e-6)
    assert canvas.dtype == np.float32

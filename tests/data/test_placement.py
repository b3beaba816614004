from __future__ import annotations

import numpy as np
import pytest

from lesionsplit.data.placement import Placement, PlacementSettings
from lesionsplit.images import Mask


def lungs(rows: int, columns: int, box: tuple[int, int, int, int]) -> Mask:
    mask = np.zeros((rows, columns), dtype=bool)
    top, left, height, width = box
    mask[top : top + height, left : left + width] = True
    return mask


FRAME = PlacementSettings(kind="frame", rows=256, columns=256)
LUNGS = PlacementSettings(rows=192, columns=256, frame=320)


def test_the_papers_placement_is_the_whole_frame() -> None:
    placement = FRAME.place(lungs(512, 512, (100, 100, 200, 300)))
    assert placement == Placement(frame=(512, 512), box=(0, 0, 512, 512), canvas=(256, 256))


def test_a_frame_that_is_not_square_is_padded_evenly() -> None:
    assert FRAME.place(lungs(400, 512, (9, 9, 9, 9))).box == (-56, 0, 512, 512)


def test_the_lung_crop_has_the_resolution_asked_for_and_the_lungs_in_its_middle() -> None:
    placement = LUNGS.place(lungs(512, 512, (150, 100, 200, 320)))
    top, left, rows, columns = placement.box
    assert (rows, columns) == (308, 410)  # 192 and 256 pixels of 512 / 320 = 1.6 input pixels each
    assert (top + rows / 2, left + columns / 2) == (250, 260)


def test_lungs_that_do_not_fit_get_a_coarser_resolution() -> None:
    top, left, rows, columns = LUNGS.place(lungs(512, 512, (10, 2, 480, 500))).box
    assert top <= 10
    assert top + rows >= 490
    assert left <= 2
    assert left + columns >= 502
    assert rows / columns == pytest.approx(192 / 256, abs=0.01)


@pytest.mark.parametrize("settings", [FRAME, LUNGS, PlacementSettings(rows=33, columns=77, frame=100)])
@pytest.mark.parametrize("shape", [(512, 512), (300, 517), (97, 61)])
def test_points_go_there_and_back(settings: PlacementSettings, shape: tuple[int, int]) -> None:
    placement = settings.place(lungs(*shape, (shape[0] // 4, shape[1] // 5, shape[0] // 2, shape[1] // 2)))
    for point in np.random.default_rng(0).uniform(0, 300, (20, 2)):
        np.testing.assert_allclose(placement.to_frame(placement.to_canvas(tuple(point))), point, atol=1e-9)


def test_at_equal_resolution_the_way_back_is_exact_to_the_bit() -> None:
    mask = lungs(64, 80, (20, 30, 20, 24))
    placement = PlacementSettings(rows=32, columns=48, frame=80).place(mask)
    image = np.random.default_rng(0).random((64, 80), dtype=np.float32) * mask
    assert placement.box[2:] == placement.canvas
    np.testing.assert_array_equal(placement.undo(placement.apply(image)), image)


def test_what_sticks_out_of_the_frame_is_black_and_comes_back_in_place() -> None:
    mask = lungs(40, 40, (0, 0, 10, 10))
    placement = PlacementSettings(rows=32, columns=32, frame=40).place(mask)
    assert placement.box[:2] == (-11, -11)
    image = np.random.default_rng(0).random((40, 40), dtype=np.float32)
    canvas = placement.apply(image)
    assert (canvas[:11] == 0).all()
    assert (canvas[:, :11] == 0).all()
    back = placement.undo(canvas)
    np.testing.assert_array_equal(back[:21, :21], image[:21, :21])
    assert (back[21:] == 0).all()


@pytest.mark.parametrize("settings", [FRAME, LUNGS])
def test_a_ramp_keeps_its_place(settings: PlacementSettings) -> None:
    """Resampling keeps straight lines straight: a shift by half a pixel would show."""
    placement = settings.place(lungs(512, 512, (150, 100, 200, 300)))
    rows, columns = np.mgrid[:512, :512].astype(np.float32)
    for ramp in (rows, columns):
        back = placement.undo(placement.apply(ramp))
        inside = (slice(170, 330), slice(120, 380))
        np.testing.assert_allclose(back[inside], ramp[inside], atol=0.05)


def test_canvas_values_are_where_the_points_say() -> None:
    placement = LUNGS.place(lungs(512, 512, (150, 100, 200, 300)))
    rows, columns = np.mgrid[:512, :512].astype(np.float32)
    canvas = np.stack([placement.apply(rows), placement.apply(columns)])
    expected = placement.to_frame((80.5, 120.5))  # the middle of a canvas pixel
    np.testing.assert_allclose(canvas[:, 80, 120] + 0.5, expected, atol=0.1)


def test_the_scale_is_input_pixels_a_canvas_pixel() -> None:
    placement = LUNGS.place(lungs(512, 512, (150, 100, 200, 320)))
    assert placement.scale == max(308 / 192, 410 / 256)
    assert FRAME.place(lungs(512, 512, (100, 100, 200, 300))).scale == 2


def test_where_pixels_have_a_size_the_resolution_is_one_in_millimetres() -> None:
    settings = PlacementSettings(rows=192, columns=256, pixel_mm=1.25)
    _, _, rows, columns = settings.place(lungs(512, 512, (150, 100, 100, 200)), (0.5, 0.625)).box
    assert (rows, columns) == (480, 512)  # 192 x 256 pixels of 1.25 mm, in input pixels of 0.5 and 0.625 mm


def test_a_disc_of_pixels_that_are_not_square_is_round_on_the_canvas() -> None:
    rows, columns = np.indices((300, 200))
    disc = np.hypot((rows - 150) * 0.6, (columns - 100) * 0.9) < 50
    placement = PlacementSettings(rows=160, columns=160, pixel_mm=1.0).place(disc, (0.6, 0.9))
    on_canvas = placement.apply(disc.astype(np.float32)) > 0.5
    tall, wide = np.ptp(np.argwhere(on_canvas), axis=0) + 1
    assert tall == pytest.approx(100, abs=1.5)
    assert wide == pytest.approx(100, abs=1.5)
    back = placement.undo(placement.apply(disc.astype(np.float32))) > 0.5
    assert np.mean(back != disc) < 0.005

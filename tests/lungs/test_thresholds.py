from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lesionsplit.lungs.resample import AIR, SIDE
from lesionsplit.lungs.thresholds import body_of, fill_at_ribs, fill_enclosed, threshold_lungs

Bool = npt.NDArray[np.bool_]
FRAME = np.ones((SIDE, SIDE), bool)
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]


def oval(row: float, column: float, down: float, across: float) -> Bool:
    found: Bool = ((ROWS - row) / down) ** 2 + ((COLUMNS - column) / across) ** 2 < 1
    return found


BODY = oval(80, 80, 50, 72)
LUNGS = oval(80, 46, 38, 26) | oval(80, 114, 38, 26)


def stack(*tissue: Bool, air: Bool | None = None, slices: int = 4, lung: float = -850) -> npt.NDArray[np.float32]:
    hu = np.full((SIDE, SIDE), -1000.0)
    hu[BODY] = 40
    hu[LUNGS] = lung
    for part in tissue:
        hu[part] = 40
    if air is not None:
        hu[air] = -1000
    return np.repeat((hu - AIR)[None].astype(np.float32), slices, axis=0)


def dice(one: Bool, two: Bool) -> float:
    return float(2 * (one & two).sum() / (one.sum() + two.sum()))


def test_lungs_without_airway_and_bowel() -> None:
    airway, bowel = oval(80, 80, 4, 4), oval(50, 80, 3, 5)
    found = threshold_lungs(stack(air=airway | bowel), FRAME)
    assert dice(found[1], LUNGS) > 0.97
    assert not found[:, airway | bowel].any()


def test_vessels_and_nodules_are_filled_in() -> None:
    vessels = oval(70, 40, 3, 3) | oval(90, 118, 1, 8)
    found = threshold_lungs(stack(vessels), FRAME)
    assert found[:, vessels].all()


def test_gas_alone_is_no_lung() -> None:
    assert not threshold_lungs(stack(lung=-1000, slices=1), FRAME).any()
    assert not threshold_lungs(stack(LUNGS, air=oval(60, 40, 8, 10)), FRAME).any()
    assert not threshold_lungs(stack(LUNGS), FRAME).any()
    assert not threshold_lungs(np.zeros((2, SIDE, SIDE), np.float32), FRAME).any()


def test_dark_lungs_stay_where_the_end_of_the_scale_clips_the_air_around() -> None:
    clothes = oval(80, 80, 56, 78) & ~oval(80, 80, 53, 75)
    dark = stack(lung=-975)
    dark[:, ~BODY & ~clothes] = 0
    dark[:, clothes] = 64  # -960 HU
    assert dice(threshold_lungs(dark, FRAME)[1], LUNGS) > 0.97


def test_padding_in_the_corners_says_nothing_of_the_air() -> None:
    padded = stack(lung=-950)
    padded[:, ~BODY] = 54  # -970 HU
    padded[:, np.hypot(ROWS - 79.5, COLUMNS - 79.5) > 79] = 0
    assert not threshold_lungs(padded, FRAME).any()


def test_disease_at_the_ribs_is_filled_in_and_the_heart_is_not() -> None:
    at_ribs, heart = oval(80, 24, 6, 7) & LUNGS, oval(80, 100, 16, 14)
    found = threshold_lungs(stack(at_ribs, heart), FRAME)
    whole = fill_at_ribs(found, np.repeat(BODY[None], 4, axis=0))
    assert found[:, at_ribs].mean() < 0.5
    assert whole[:, at_ribs].mean() > 0.65  # but for what a wide disc rounds off
    assert whole[:, heart].mean() < 0.1


def test_what_lungs_enclose_is_lung_but_not_the_dome_of_the_diaphragm() -> None:
    lungs = np.repeat(LUNGS[None], 6, axis=0)
    nodule, dome = oval(80, 46, 6, 6), oval(80, 114, 12, 12)
    lungs[2, nodule] = False
    lungs[:3, dome] = False
    lungs[0] = False  # there the dome is one with all that is below the lungs
    filled = fill_enclosed(lungs)
    assert filled[2, nodule].all()
    assert not filled[:3, dome].any()
    np.testing.assert_array_equal(filled[3:], lungs[3:])


def test_the_body_is_closed_where_the_frame_cuts_the_lungs() -> None:
    frame = np.zeros((SIDE, SIDE), bool)
    frame[45:115, 30:130] = True
    hu = np.where(frame, stack(slices=1)[0] + np.float32(AIR), -1000)
    np.testing.assert_array_equal(body_of(hu, frame)[50:110, 32:128], True)

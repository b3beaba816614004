"""Findings left out as probably normal: drawn by hand, each rule alone, and every array that must agree."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from lesionsplit.inference.left_out import leave_out
from lesionsplit.measurements.measure import measure
from lesionsplit.volumes.decomposed import EDGE, FAINT, DecomposedVolume, levels_from
from lesionsplit.volumes.volume import Intensity, Source, Volume

THRESHOLD = 0.4
SHAPE = (40, 40, 30)
"""Columns to the left, rows to the back, slices to the head: voxels of 2 x 2 x 2.5 mm."""


def findings(*boxes: tuple[tuple[slice, ...], float], between: float = 2.5, intensity: Intensity = "hu") -> Any:
    """Lung of -850 HU in slices 5 to 24, with lesions of so many HU in boxes."""
    hu = np.full(SHAPE, 40, np.int16)
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[5:35, 5:35, 5:25] = 1
    hu[lungs > 0] = -850
    lesion = np.zeros(SHAPE, np.uint8)
    for box, density in boxes:
        hu[box], lesion[box] = density, 1
    affine = np.diag([-2.0, -2.0, between, 1.0])
    source = Source(kind="nifti", path=Path("chest.nii.gz"), name="chest")
    return DecomposedVolume(
        volume=Volume(array=hu, affine=affine, intensity=intensity, source=source),
        score=np.where(lesion, 50_000, 3).astype(np.uint16),
        lesion=lesion.copy(),
        lungs=lungs,
        healthy=np.where(lesion, -850, hu).astype(np.int16),
        threshold=THRESHOLD,
        lungs_from="drawn",
    )


DOME = (np.s_[10:20, 10:20, 5:8], -200.0)
"""7.5 mm high, on the lower edge of the lung."""

CAP = (np.s_[10:20, 10:20, 22:25], -200.0)
TALL = (np.s_[10:20, 10:20, 5:13], -200.0)
NODULE = (np.s_[24:30, 24:30, 12:16], -200.0)
STREAK = (np.s_[24:30, 8:20, 12:16], -720.0)
GLASS = (np.s_[24:30, 8:20, 12:16], -600.0)


@pytest.mark.parametrize(
    ("drawn", "cause"), [(DOME, EDGE), (CAP, EDGE), (STREAK, FAINT), (TALL, None), (NODULE, None), (GLASS, None)]
)
def test_each_rule(drawn: tuple[tuple[slice, ...], float], cause: str | None) -> None:
    found = leave_out(findings(drawn))
    assert [one.cause for one in found.left_out] == ([cause] if cause else [])
    assert found.lesion.any() == (cause is None)


def test_all_that_is_made_of_a_finding_agrees_and_the_others_stay() -> None:
    before, found = findings(DOME, NODULE), leave_out(findings(DOME, NODULE))
    (out,) = found.left_out
    dome, nodule = (np.zeros(SHAPE, bool) for _ in range(2))
    dome[DOME[0]], nodule[NODULE[0]] = True, True
    np.testing.assert_array_equal(found.lesion > 0, nodule)
    np.testing.assert_array_equal(found.lesion > 0, found.score >= levels_from(THRESHOLD))
    np.testing.assert_array_equal(found.score[~dome], before.score[~dome])
    np.testing.assert_array_equal(found.healthy[dome], found.volume.array[dome])
    np.testing.assert_array_equal(found.healthy[~dome], before.healthy[~dome])
    assert (out.volume_ml, out.mean_hu) == (pytest.approx(3.0), -200.0)
    assert (out.side, out.first_slice, out.last_slice) == ("right", 6, 8)
    x, y, z = found.volume.affine[:3] @ [14.5, 14.5, 6, 1]
    assert out.centre_ras_mm == pytest.approx((x, y, z))
    numbers = measure(found)
    assert numbers.lesion_count == 1
    assert numbers.left_out == [out]
    assert any(note.startswith("1 finding of 3.0 mL left out as probably normal") for note in numbers.notes)


def test_two_findings_in_one_box_are_told_apart() -> None:
    """An L of faint shadow around a nodule that it does not touch."""
    lower, side = np.s_[10:30, 10:12, 12:16], np.s_[10:12, 10:30, 12:16]
    found = leave_out(findings((lower, -720.0), (side, -720.0), (np.s_[20:26, 20:26, 13:15], -200.0)))
    assert [one.cause for one in found.left_out] == [FAINT]
    assert ndimage.label(found.lesion)[1] == 1
    assert found.lesion[22, 22, 14] == 1


def test_grey_one_slice_and_slices_far_apart_are_not_judged() -> None:
    for kept in (findings(DOME, intensity="grey"), findings(DOME, between=8.0)):
        assert leave_out(kept).left_out == ()
        assert kept.lesion.any()


def test_large_and_very_small_findings_are_not_judged() -> None:
    small, large = (np.s_[10:11, 10:12, 5:7], -200.0), (np.s_[5:35, 5:35, 5:8], -200.0)
    for drawn, ml in ((small, 0.04), (large, 27.0)):
        found = findings(drawn)
        assert found.lesion.sum() * 0.01 == pytest.approx(ml)
    assert leave_out(findings(small)).left_out == ()
    assert [one.cause for one in leave_out(findings(large)).left_out] == [EDGE]
    huge = (np.s_[5:35, 5:35, 5:11], -700.0)
    assert leave_out(findings(huge)).left_out == ()


def test_in_coarse_pixels_what_is_narrow_is_not_counted() -> None:
    vessel, glass = (np.s_[10:30, 10:13, 10:13], -600.0), (np.s_[20:26, 20:26, 12:20], -600.0)
    found = findings(vessel, glass)
    coarse = replace(found, volume=replace(found.volume, affine=np.diag([-4.0, -4.0, 2.5, 1.0])))
    drawn = coarse.score.copy()
    kept = leave_out(coarse)
    ball = np.array(  # of 16 mm
        [
            [[math.dist((i * 4, j * 4, k * 2.5), (6, 6, 6.25)) <= 8 for k in range(6)] for j in range(4)]
            for i in range(4)
        ]
    )
    expected = ndimage.grey_opening(drawn, footprint=ball)
    np.testing.assert_array_equal(kept.score, expected)
    np.testing.assert_array_equal(kept.lesion > 0, expected >= levels_from(THRESHOLD))
    assert kept.lesion[22, 22, 15] == 1
    assert not kept.lesion[vessel[0]].any()
    np.testing.assert_array_equal(kept.healthy[vessel[0]], kept.volume.array[vessel[0]])
    assert "lesions narrower than 16 mm" in kept.notes[-1]
    assert not any("narrower" in note for note in leave_out(findings(glass)).notes)

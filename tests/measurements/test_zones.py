"""Six zones: equal thirds of each lung's height, against counting by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lesionsplit.measurements.measure import measure
from lesionsplit.measurements.result import NO_SIZE, ONE_SLICE, Missing
from lesionsplit.measurements.settings import MeasurementSettings
from lesionsplit.measurements.zones import zone_grade, zones
from lesionsplit.volumes.decomposed import DecomposedVolume

Make = Callable[..., DecomposedVolume]

NAMES = [f"{part} zone, {side} lung" for side in ("right", "left") for part in ("upper", "middle", "lower")]


@pytest.mark.parametrize(
    ("share", "grade"),
    [(0, 0), (1e-9, 1), (0.249, 1), (0.25, 2), (0.499, 2), (0.5, 3), (0.749, 3), (0.75, 4), (1, 4)],
)
def test_grades_change_where_the_papers_say(share: float, grade: int) -> None:
    assert zone_grade(share) == grade


def test_thirds_of_each_lungs_own_height_are_counted(make_findings: Make) -> None:
    """Right lung in 9 slices, left in 6 higher ones; the lesion fills what is listed, by slice from the feet."""
    lungs, lesion = np.zeros((10, 8, 12), np.uint8), np.zeros((10, 8, 12), bool)
    lungs[:5, :, 1:10], lungs[5:, :, 5:11] = 1, 2
    lesion[:5, :4, 1:4] = True  # half of the lowest three slices of the right lung
    lesion[:5, :2, 9] = True  # a quarter of its highest slice: 10 of 120 pixels
    lesion[5:, :, 9:11] = True  # the highest third of the left lung
    lesion[5:, :6, 5] = True  # three quarters of its lowest slice, 30 of 80
    findings = make_findings(lesion, np.diag([1.0, 1.0, 2.0, 1.0]), lungs=lungs)
    found = measure(findings, MeasurementSettings(smallest_lesion_ml=0.0))
    assert [zone.name for zone in found.zones] == NAMES
    percent = {zone.name: zone.opacity_percent for zone in found.zones}
    expected = [100 * 10 / 120, 0, 50, 100, 0, 100 * 30 / 80]
    assert percent == pytest.approx(dict(zip(NAMES, expected, strict=True)))
    assert [zone.grade for zone in found.zones] == [1, 0, 3, 4, 0, 2]
    assert found.zone_score == 10
    assert [zone.lung_ml for zone in found.zones] == pytest.approx([0.24] * 3 + [0.16] * 3)
    both = found.region("both lungs")
    assert sum(float(zone.lesion_ml) for zone in found.zones) == pytest.approx(both.lesion_ml)  # type: ignore[arg-type]


def test_the_feet_are_where_the_affine_says(make_findings: Make) -> None:
    lungs, lesion = np.zeros((6, 4, 9), np.uint8), np.zeros((6, 4, 9), bool)
    lungs[:3], lungs[3:] = 1, 2
    lesion[:3, :, :3] = True
    up, down = np.eye(4), np.diag([1.0, 1.0, -1.0, 1.0])
    settings = MeasurementSettings(smallest_lesion_ml=0.0)
    graded = [measure(make_findings(lesion, affine, lungs=lungs), settings).zones for affine in (up, down)]
    assert [zone.name for zone in graded[0] if zone.grade == 4] == ["lower zone, right lung"]
    assert [zone.name for zone in graded[1] if zone.grade == 4] == ["upper zone, right lung"]


def test_specks_that_nobody_would_see_are_graded_0(make_findings: Make) -> None:
    lesion = np.zeros((6, 4, 9), bool)
    lesion[3:5, 0, 0] = True
    for smallest, score in ((0.002, 1), (0.0021, 0)):  # two voxels of 0.001 mL
        found = measure(make_findings(lesion, np.eye(4)), MeasurementSettings(smallest_lesion_ml=smallest))
        assert found.zone_score == score
        assert found.lesion_slices == 1


def test_what_there_is_not_is_missing(make_findings: Make) -> None:
    lungs = np.ones((5, 5, 6), np.uint8)
    one_lung = measure(make_findings(np.zeros(lungs.shape, bool), np.eye(4), lungs=lungs))
    assert one_lung.zone_score == Missing("not computed: no voxel of the upper zone, left lung")
    assert one_lung.zones[3].grade == Missing("not computed: no lung")
    flat = measure(make_findings(np.zeros((5, 5, 1), bool), np.eye(4), kind="image", intensity="grey"))
    assert flat.zone_score == ONE_SLICE
    assert flat.zones[0].lung_ml == NO_SIZE


def test_every_voxel_is_in_one_zone() -> None:
    random = np.random.default_rng(2)
    for _ in range(50):
        slices = int(random.integers(1, 40))
        lung: Any = random.integers(0, 4, (slices, 2)) * random.integers(0, 2, (slices, 2))
        lesion = random.integers(0, lung + 1)
        found = zones(lung, lesion, 1.0, 0.1)
        for side in (0, 1):
            assert sum(float(zone.lung_ml) for zone in found[3 * side : 3 * side + 3]) == lung[:, side].sum()  # type: ignore[arg-type]

"""The numbers of a volume, against numpy on its voxels and by hand."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from lesionsplit import scores as reading
from lesionsplit.errors import DataError
from lesionsplit.measurements.lobes import LOBES
from lesionsplit.measurements.measure import measure
from lesionsplit.measurements.result import LEFT_LUNG, LUNGS, RIGHT_LUNG, Lesion, Measurements, Missing, Region
from lesionsplit.measurements.settings import MeasurementSettings
from lesionsplit.volumes.decomposed import TOP, DecomposedVolume
from lesionsplit.volumes.scratch import Scratch

Array = npt.NDArray[Any]
Make = Callable[..., DecomposedVolume]

AFFINE = np.array([[0.0, -0.7, 0, 9], [0.9, 0, 0.3, -4], [0, 0, 2.5, 60], [0, 0, 0, 1]])
"""Columns of the file run to the front, rows to the left; sheared."""

SHAPE = (13, 14, 15)


def drawn(make: Make, **given: Any) -> tuple[DecomposedVolume, Array]:
    """Lungs with a gap, noise in HU, a lesion that leaves them here and there; and lobes."""
    random = np.random.default_rng(8)
    lungs = np.zeros(SHAPE, dtype=np.uint8)
    lungs[1:-1, 1:6, 2:-1], lungs[1:-1, 8:-2, 1:-2] = 1, 2
    lobes = np.where(lungs == 1, 3, 1).astype(np.uint8)
    lobes[:, :, 8:] += 1
    lobes[5:, 1:6, 8:] = 5
    lobes[:, 6:8] = 0
    hu = random.normal(-600, 260, SHAPE).round().astype(np.int16)
    given = {"hu": hu, "lungs": lungs, "score": random.integers(0, TOP + 1, SHAPE).astype(np.uint16)} | given
    return make(random.random(SHAPE) < 0.3, AFFINE, **given), lobes


def expected(findings: DecomposedVolume, inside: Array) -> dict[str, float]:
    """The numbers of a region, straight from its voxels."""
    ml = 0.9 * 0.7 * 2.5 / 1000
    hu, lesion = np.maximum(findings.volume.array, -1024), inside & (findings.lesion != 0)  # nothing is below air
    of_lung, of_lesion = np.rint(hu[inside].astype(np.float64)), np.rint(hu[lesion].astype(np.float64))
    glass, dense = ((low <= of_lesion) & (of_lesion < high) for low, high in ((-750, -300), (-300, 50)))
    aerated = (of_lung >= -950) & (of_lung < -700)
    return {
        "lung_ml": inside.sum() * ml,
        "lesion_ml": lesion.sum() * ml,
        "opacity_percent": 100 * lesion.sum() / inside.sum(),
        "high_opacity_percent": 100 * (of_lesion >= -200).sum() / inside.sum(),
        "ground_glass_ml": glass.sum() * ml,
        "consolidation_ml": dense.sum() * ml,
        "other_lesion_ml": (~glass & ~dense).sum() * ml,
        "well_aerated_ml": aerated.sum() * ml,
        "well_aerated_percent": 100 * aerated.mean(),
        "lung_mean_hu": of_lung.mean(),
        "lesion_mean_hu": of_lesion.mean(),
        "lesion_sd_hu": of_lesion.std(),
        "lesion_mass_g": (of_lesion + 1000).sum() / 1000 * ml,
        **{f"lesion_p{p}_hu": np.percentile(of_lesion, p) for p in (5, 25, 50, 75, 95)},
    }


@pytest.mark.usefixtures("_slabs")
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_regions_are_what_numpy_says_of_their_voxels(make_findings: Make, dtype: Any) -> None:
    findings, lobes = drawn(make_findings)
    hu = findings.volume.array.astype(dtype)
    if dtype == np.float32:
        hu += np.random.default_rng(1).random(SHAPE).astype(dtype)
    findings, lobes = drawn(make_findings, hu=hu)
    found = measure(findings, lobes=lobes)
    lungs = findings.lungs
    parts = {LUNGS: lungs > 0, RIGHT_LUNG: lungs == 1, LEFT_LUNG: lungs == 2}
    parts |= {name: (lobes == label) & (lungs > 0) for label, name in enumerate(LOBES, 1)}
    assert [region.name for region in found.regions] == list(parts)
    for name, inside in parts.items():
        assert msgspec.structs.asdict(found.region(name)) == {"name": name} | {
            key: pytest.approx(value, rel=1e-12, abs=1e-9) for key, value in expected(findings, inside).items()
        }
    with pytest.raises(KeyError):
        measure(findings).region(LOBES[0])


def test_ranges_are_those_of_the_settings_and_hold_their_lower_end(make_findings: Make) -> None:
    hu = np.array([-501, -500, -401, -400, -351, -350, -301, -300, -101, -100], dtype=np.int16).reshape(10, 1, 1)
    settings = MeasurementSettings(
        ground_glass=(-500.0, -400.0),
        consolidation=(-350.0, -300.0),
        well_aerated=(-501.0, -500.0),
        high_opacity=-300.0,
    )
    findings = make_findings(np.ones((10, 1, 1), dtype=bool), np.diag([10.0, 10, 10, 1]), hu=hu)
    both = measure(findings, settings).region(LUNGS)
    assert (both.ground_glass_ml, both.consolidation_ml, both.other_lesion_ml) == pytest.approx((2, 2, 6))
    assert (both.well_aerated_ml, both.high_opacity_percent) == pytest.approx((1, 30))


@pytest.mark.usefixtures("_slabs")
def test_slices_are_counted_from_the_feet(make_findings: Make) -> None:
    findings, _ = drawn(make_findings)
    found = measure(findings)
    axial = (findings.lungs.transpose(2, 0, 1), findings.lesion.transpose(2, 0, 1), findings.score.transpose(2, 0, 1))
    pixels = [int((lungs > 0).sum()) for lungs in axial[0]]
    lesion = [int(((lungs > 0) & (one > 0)).sum()) for lungs, one in zip(*axial[:2], strict=True)]
    assert (found.profile.lung_pixels, found.profile.lesion_pixels) == (pixels, lesion)
    assert (found.slices, found.lung_slices, found.lesion_slices) == (15, 13, 13)
    assert (found.first_lesion_slice, found.last_lesion_slice) == (2, 14)
    worst = int(np.argmax(lesion))
    assert found.most_affected_slice == worst + 1
    assert found.most_affected_percent == pytest.approx(100 * lesion[worst] / pixels[worst])
    assert found.lesion_slices_percent == 100
    inside = findings.score[findings.lungs > 0]
    assert found.highest_score == inside.max() / TOP
    assert found.threshold == 0.25


@pytest.mark.usefixtures("_slabs")
def test_a_slice_score_is_that_of_a_slice(make_findings: Make) -> None:
    random = np.random.default_rng(4)
    score = random.integers(0, TOP + 1, (30, 40, 3)).astype(np.uint16)
    score[..., 1] //= 2
    lungs = np.ones(score.shape, dtype=np.uint8)
    lungs[9:, :, 2] = 0  # 360 pixels of 1 mm²: too few
    score[..., 2] = TOP
    found = measure(make_findings(np.zeros(score.shape, dtype=bool), np.eye(4), score=score, lungs=lungs))
    scaled = score.astype(np.float32) / TOP
    one, other = (reading.slice_score(scaled[..., k], lungs[..., k] > 0) for k in range(2))
    assert found.profile.score == [pytest.approx(one, rel=1e-6), pytest.approx(other, rel=1e-6), None]
    assert found.highest_slice_score == pytest.approx(one, rel=1e-6)
    assert found.highest_score_slice == 1
    assert found.highest_score == 1.0


def test_only_lesion_inside_the_lungs_counts(make_findings: Make) -> None:
    lesion = np.ones((4, 4, 4), dtype=bool)
    lungs = np.zeros(lesion.shape, dtype=np.uint8)
    lungs[1:3, 1:3, 1:3] = 1
    found = measure(make_findings(lesion, np.eye(4), lungs=lungs), MeasurementSettings(smallest_lesion_ml=0.0))
    assert found.region(LUNGS).lesion_ml == pytest.approx(0.008)
    (one,) = found.lesions
    assert one.volume_ml == pytest.approx(0.008)
    assert one.diameter_mm == pytest.approx(np.sqrt(12))


def missing(of: Measurements | Region | Lesion) -> dict[str, str]:
    """Which numbers are missing, and why."""
    fields = {name: getattr(of, name) for name in of.__struct_fields__}
    return {name: value.missing for name, value in fields.items() if isinstance(value, Missing)}


HU_FIELDS = {
    *("high_opacity_percent", "ground_glass_ml", "consolidation_ml", "other_lesion_ml", "well_aerated_ml"),
    *("well_aerated_percent", "lung_mean_hu", "lesion_mean_hu", "lesion_sd_hu", "lesion_mass_g"),
    *(f"lesion_p{percent}_hu" for percent in (5, 25, 50, 75, 95)),
}
NO_LOBES = "not computed: no lobes"


def test_grey_has_no_hounsfield_units(make_findings: Make) -> None:
    findings, lobes = drawn(make_findings, intensity="grey")
    found = measure(findings, MeasurementSettings(smallest_slice_mm2=0.0), lobes)
    for region in found.regions:
        assert missing(region) == dict.fromkeys(HU_FIELDS, "not available: no HU")
    assert missing(found.lesions[0]) == {"mean_hu": "not available: no HU"}
    assert missing(found) == {"high_opacity_score": "not available: no HU"}


def test_an_image_has_no_size(make_findings: Make) -> None:
    lesion = np.zeros((40, 40, 1), dtype=bool)
    lesion[3, 4] = lesion[10:20, 10:20] = True
    found = measure(make_findings(lesion, np.eye(4), intensity="grey", kind="image"))
    reason = "not available: pixels of unknown size"
    both = missing(found.region(LUNGS))
    assert {name for name, why in both.items() if why == reason} == {"lung_ml", "lesion_ml"}
    assert found.region(LUNGS).opacity_percent == pytest.approx(100 * 101 / 1600)
    assert (found.lesion_count, found.small_lesion_count) == (2, 0)
    one = missing(found.lesions[0])
    assert {name for name, why in one.items() if why == reason} == {
        *("volume_ml", "axial_diameter_mm", "diameter_mm", "centre_ras_mm"),
        *("axial_diameter_from_ras_mm", "axial_diameter_to_ras_mm"),
    }
    assert found.largest_axial_diameter_mm == Missing(reason)
    assert found.notes[0].startswith("the pixel size of an image is unknown")


def test_one_slice_says_that_it_is_one(make_findings: Make) -> None:
    lesion = np.zeros((40, 40, 1), dtype=bool)
    lesion[10:20, 10:16] = True
    found = measure(make_findings(lesion, np.diag([1.0, 1, 2, 1])))
    assert missing(found.lesions[0]) == {"diameter_mm": "not computed: one slice", "lobe": NO_LOBES}
    assert found.lesions[0].axial_diameter_mm == pytest.approx(np.hypot(10, 6))
    assert found.largest_diameter_mm == Missing("not computed: one slice")
    assert found.region(LUNGS).lesion_ml == pytest.approx(0.12)
    assert found.notes[0] == "one slice, with an assumed thickness of 2 mm: volumes are of this slice, not of the lungs"


def test_no_lesion_and_no_left_lung(make_findings: Make) -> None:
    lungs = np.ones((30, 30, 2), dtype=np.uint8)
    lesion = np.zeros(lungs.shape, dtype=bool)
    found = measure(
        make_findings(lesion, np.eye(4), lungs=lungs, source_notes=("of files",), notes=("of files", "of lungs"))
    )
    no_lesion = {name for name, why in missing(found).items() if why == "not computed: no lesion"}
    assert no_lesion == {
        *("largest_axial_diameter_mm", "largest_diameter_mm", "first_lesion_slice", "last_lesion_slice"),
        *("most_affected_slice", "most_affected_percent"),
    }
    assert found.region(LUNGS).lesion_ml == 0
    assert found.region(LUNGS).opacity_percent == 0
    assert (found.lesion_count, found.lesion_slices, found.lesion_slices_percent) == (0, 0, 0)
    left = found.region(LEFT_LUNG)
    assert left.lung_ml == 0
    assert left.opacity_percent == left.lung_mean_hu == Missing("not computed: no lung")
    assert left.lesion_mean_hu == Missing("not computed: no lesion")
    assert found.notes == ["of files", "of lungs", "no left lung found"]


def test_no_lung_at_all(make_findings: Make) -> None:
    nothing = np.zeros((5, 5, 2), dtype=np.uint8)
    found = measure(make_findings(nothing > 0, np.eye(4), lungs=nothing))
    assert found.highest_score == found.lesion_slices_percent == Missing("not computed: no lung")
    assert found.highest_slice_score == Missing("not computed: no slice with enough lung")
    assert found.profile.score == [None, None]


def test_a_lesion_has_the_lung_and_the_lobe_of_most_of_its_voxels(make_findings: Make) -> None:
    lesion = np.zeros((8, 9, 2), dtype=bool)
    lesion[1:4, 0], lesion[3:6, 3], lesion[5:8, 6] = True, True, True  # rows 0 to 3 left, 4 to 7 right
    lungs = np.repeat(np.array([2, 1], dtype=np.uint8), 72).reshape(8, 9, 2)
    lobes = np.where(lungs == 2, 1, 3).astype(np.uint8)
    lobes[6:, 6] = 0
    lobes[5, 6], lobes[0, 1], lobes[7, 0], lobes[7, 1] = 5, 2, 4, 5
    found = measure(make_findings(lesion, np.diag([20.0, 20, 20, 1]), lungs=lungs), lobes=lobes)
    by_place = sorted((one.centre_ras_mm, one.side, one.lobe) for one in found.lesions)  # type: ignore[type-var]
    assert [one[1:] for one in by_place] == [("left", LOBES[0]), ("right", LOBES[2]), ("right", LOBES[4])]
    lobes[5, 6] = 0
    found = measure(make_findings(lesion, np.diag([20.0, 20, 20, 1]), lungs=lungs), lobes=lobes)
    assert Missing("not computed: in no lobe") in [one.lobe for one in found.lesions]


def test_the_largest_diameter_need_not_be_that_of_the_largest_lesion(make_findings: Make) -> None:
    lesion = np.zeros((12, 12, 2), dtype=bool)
    lesion[:4, :4], lesion[11, :, 0] = True, True  # 32 voxels, and a line of 12
    findings = make_findings(lesion, np.diag([10.0, 10, 10, 1]))
    found = measure(findings)
    assert [one.volume_ml for one in found.lesions] == pytest.approx([32, 12])
    assert found.lesions[0].axial_diameter_mm == pytest.approx(10 * 32**0.5)
    assert found.lesions[0].diameter_mm == pytest.approx(10 * 36**0.5)  # two slices are deep
    assert found.largest_axial_diameter_mm == found.lesions[1].axial_diameter_mm == pytest.approx(10 * 145**0.5)
    only = measure(findings, MeasurementSettings(lesions_listed=1))
    assert only.lesions == found.lesions[:1]
    none = measure(findings, MeasurementSettings(lesions_listed=0))
    assert none.largest_axial_diameter_mm == Missing("not computed: no lesion is listed")
    assert (none.lesion_count, none.lesions) == (2, [])


def test_slices_with_less_lung_than_the_smallest_have_no_score(make_findings: Make) -> None:
    lungs, score = np.zeros((5, 4, 3), dtype=np.uint8), np.zeros((5, 4, 3), dtype=np.uint16)
    lungs.reshape(20, 3)[:9, 0], lungs.reshape(20, 3)[:10, 1], lungs[0, 0, 2] = 1, 1, 1
    score[..., 0], score[..., 1], score[..., 2] = TOP, TOP // 5, TOP // 3
    findings = make_findings(np.zeros((5, 4, 3), dtype=bool), np.diag([2.0, 2, 1, 1]), lungs=lungs, score=score)
    found = measure(findings, MeasurementSettings(smallest_slice_mm2=40))
    assert [one is None for one in found.profile.score] == [True, False, True]
    assert (found.highest_slice_score, found.highest_score_slice) == (pytest.approx(0.2), 2)
    assert [one is None for one in measure(findings, MeasurementSettings(smallest_slice_mm2=0)).profile.score] == [
        False
    ] * 3


def test_a_score_of_zero_is_a_score(make_findings: Make) -> None:
    found = measure(make_findings(np.zeros((3, 3, 3), dtype=bool), np.eye(4)))
    assert found.highest_score == 0.0


def test_densities_beyond_the_range_count_as_its_ends(make_findings: Make) -> None:
    hu = np.array([-30000, 30000, 0, 1], dtype=np.int16).reshape(4, 1, 1)
    found = measure(make_findings(np.array([0, 1, 1, 1], dtype=bool).reshape(4, 1, 1), np.eye(4), hu=hu)).region(LUNGS)
    assert found.lesion_mean_hu == pytest.approx((8191 + 0 + 1) / 3)
    hu[1] = 1
    found = measure(make_findings(np.array([0, 0, 1, 1], dtype=bool).reshape(4, 1, 1), np.eye(4), hu=hu)).region(LUNGS)
    assert found.lesion_sd_hu == 0.5


@pytest.mark.parametrize(("label", "missing"), [(1, "left lung"), (2, "right lung")])
def test_a_lung_that_is_missing_is_noted(make_findings: Make, label: int, missing: str) -> None:
    lungs = np.full((3, 3, 3), label, dtype=np.uint8)
    assert f"no {missing} found" in measure(make_findings(lungs > 3, np.eye(4), lungs=lungs)).notes


def test_a_lung_voxel_that_is_no_number_is_refused(make_findings: Make) -> None:
    hu = np.zeros((3, 3, 3), dtype=np.float32)
    hu[1, 1, 1] = np.nan
    with pytest.raises(DataError, match="not numbers"):
        measure(make_findings(np.zeros(hu.shape, dtype=bool), np.eye(4), hu=hu))


def test_memory_does_not_grow_with_the_scan(make_findings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lesionsplit.measurements.chunks.VOXELS", 128 * 128 * 4)
    peaks = []
    for slices in (24, 24, 192):  # the first time warms up what is imported late
        with Scratch() as scratch:
            shape = (128, 128, slices)
            arrays = [scratch.array(shape, dtype) for dtype in (np.int16, np.uint8, np.uint8, np.uint16)]
            arrays[1][20:100, 20:100], arrays[2][...] = 1, 1
            arrays[1][20:100, 60:100] = 0
            for k in range(0, slices, 12):
                arrays[1][40:50, 70:80, k : k + 8] = 1
            findings = make_findings(
                arrays[1], np.diag([-1.0, -1, 1, 1]), hu=arrays[0], lungs=arrays[2], score=arrays[3]
            )
            tracemalloc.start()
            measure(findings)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    voxels = 128 * 128 * 192
    assert peaks[2] < 1.2 * peaks[1] + voxels // 8


def test_numbers_need_no_torch() -> None:
    code = (
        "import sys; import lesionsplit.measurements.measure, lesionsplit.measurements.tables; "
        "print(sorted({'torch', 'highdicom', 'SimpleITK'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

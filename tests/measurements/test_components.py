"""Lesions told apart chunk by chunk, against scipy on the whole and ITK in the patient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from lesionsplit.measurements.components import Labeller
from lesionsplit.measurements.measure import measure
from lesionsplit.measurements.result import Missing
from lesionsplit.measurements.settings import MeasurementSettings
from lesionsplit.volumes.decomposed import DecomposedVolume

ALL = MeasurementSettings(smallest_lesion_ml=0.0, lesions_listed=10_000)

SPACING = np.array([0.8, 1.1, 2.5])


def noise(share: float, shape: tuple[int, int, int] = (14, 15, 16), seed: int = 3) -> Any:
    return np.random.default_rng(seed).random(shape) < share


@pytest.mark.parametrize("share", [0.005, 0.03, 0.06, 0.2, 0.6])
@pytest.mark.parametrize("depth", [1, 2, 5, 16])
def test_slabs_make_the_components_that_the_whole_makes(share: float, depth: int) -> None:
    lesion = noise(share)
    expected, count = ndimage.label(lesion, structure=np.ones((3, 3, 3)))
    label = Labeller()
    labels = np.concatenate([label(lesion[first : first + depth]) for first in range(0, len(lesion), depth)])
    found = label.components()[labels]
    assert found.max() == count
    pairs = {(int(one), int(other)) for one, other in zip(found.ravel(), expected.ravel(), strict=True)}
    assert len(pairs) == count + 1  # one to one, and nothing to nothing
    assert (0, 0) in pairs


def test_two_arms_that_meet_only_at_the_top_are_one_lesion(make_findings: Callable[..., DecomposedVolume]) -> None:
    lesion = np.zeros((9, 3, 40), dtype=bool)
    lesion[1, 1, 2:39] = lesion[7, 1, 2:39] = lesion[1:8, 1, 38] = True
    lesion[4, 1, 5] = True  # between the arms, touching neither
    lesion[0, 0, 39] = True  # touches by a corner
    found = measure(make_findings(lesion, np.eye(4)), ALL)
    assert found.lesion_count == 2
    one, other = found.lesions
    assert one.volume_ml == pytest.approx((2 * 37 + 5 + 1) / 1000)
    assert (one.first_slice, one.last_slice, other.first_slice, other.last_slice) == (3, 40, 6, 6)


@pytest.mark.usefixtures("_slabs")
def test_volumes_and_centres_are_those_of_itk(make_findings: Callable[..., DecomposedVolume]) -> None:
    lesion = noise(0.05)
    turn = np.linalg.qr(np.eye(3) + 0.2 * np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0.0]]))[0]
    turn *= np.sign(np.diag(turn))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * SPACING, (5, -8, 100)
    found = measure(make_findings(lesion, affine), ALL)

    lps = np.diag([-1.0, -1.0, 1.0])
    image = SimpleITK.GetImageFromArray(lesion.T.astype(np.uint8))
    image.SetSpacing(SPACING.tolist())
    image.SetOrigin((lps @ affine[:3, 3]).tolist())
    image.SetDirection((lps @ turn).ravel().tolist())
    statistics = SimpleITK.LabelShapeStatisticsImageFilter()
    statistics.Execute(SimpleITK.ConnectedComponent(image, True))  # fully connected
    expected = sorted(
        (statistics.GetPhysicalSize(label) / 1000, *(lps @ statistics.GetCentroid(label)))
        for label in statistics.GetLabels()
    )
    ours = sorted((lesion.volume_ml, *lesion.centre_ras_mm) for lesion in found.lesions)  # type: ignore[misc]
    assert len(ours) == len(expected) > 20
    np.testing.assert_allclose([size for size, *_ in ours], [size for size, *_ in expected])
    ours_by_centre, expected_by_centre = (sorted(one[1:] for one in table) for table in (ours, expected))
    np.testing.assert_allclose(ours_by_centre, expected_by_centre, atol=1e-6)


def test_small_ones_are_counted_apart_and_the_rest_listed_largest_first(
    make_findings: Callable[..., DecomposedVolume],
) -> None:
    lesion = np.zeros((30, 20, 20), dtype=bool)
    lesion[1:6, 1:5, 1:6] = True  # 100 voxels of 1 mm³: just large enough
    lesion[10:19, 1:5, 1:4] = True  # 108
    lesion[1:4, 10:13, 10:21] = True  # 90
    lesion[20, 15, 15] = True
    found = measure(make_findings(lesion, np.eye(4)))
    assert [one.volume_ml for one in found.lesions] == pytest.approx([0.108, 0.1])
    assert (found.lesion_count, found.small_lesion_count) == (2, 2)
    assert found.small_lesions_ml == pytest.approx(0.091)
    assert found.regions[0].lesion_ml == pytest.approx(0.299)  # holds all
    listed = measure(make_findings(lesion, np.eye(4)), MeasurementSettings(lesions_listed=1))
    assert (listed.lesion_count, len(listed.lesions)) == (2, 1)
    assert [one.number for one in found.lesions] == [1, 2]
    none = measure(make_findings(lesion, np.eye(4)), MeasurementSettings(smallest_lesion_ml=0.5))
    assert (none.lesion_count, none.small_lesion_count) == (0, 4)
    assert none.largest_diameter_mm == Missing("not computed: no lesion of 0.5 mL or more")


def test_a_lesion_just_large_enough_is_not_lost_to_rounding(make_findings: Callable[..., DecomposedVolume]) -> None:
    lesion = np.zeros((3, 13, 3), dtype=bool)
    lesion[1, 1:12, 1] = True
    findings = make_findings(lesion, np.diag([0.7, 0.7, 1.25, 1]))
    smallest = 0.0067375  # eleven voxels, and divided by one a little more than eleven
    assert smallest / findings.volume.voxel_ml > 11
    assert measure(findings, MeasurementSettings(smallest_lesion_ml=smallest)).lesion_count == 1


@pytest.mark.usefixtures("_slabs")
def test_side_lobe_and_density_of_a_lesion(make_findings: Callable[..., DecomposedVolume]) -> None:
    lesion = np.zeros((8, 4, 4), dtype=bool)
    lesion[1:6, 1, 1:3] = True  # columns 1 to 3 in one lung, 4 and 5 in the other
    lungs = np.ones(lesion.shape, dtype=np.uint8)
    lungs[4:] = 2
    lobes = np.where(lungs == 1, 4, 1)
    lobes[:, :, 0] = np.where(lungs[:, :, 0] == 1, 5, 2)
    hu = np.full(lesion.shape, -900, dtype=np.int16)
    hu[lesion] = np.arange(10) * 7 - 300
    (one,) = measure(make_findings(lesion, np.diag([-1, 1, 1, 1]), lungs=lungs, hu=hu), ALL, lobes).lesions
    assert (one.side, one.lobe) == ("right", "right middle lobe")
    assert one.mean_hu == pytest.approx(-300 + 4.5 * 7)

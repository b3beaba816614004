"""Lobe label maps and what needs them: scores by hand, and maps that are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lesionsplit.errors import DataError
from lesionsplit.measurements.lobes import LOBES, check_labels
from lesionsplit.measurements.measure import measure
from lesionsplit.measurements.result import Missing
from lesionsplit.measurements.severity import lobe_grade, pan_grade
from lesionsplit.volumes.decomposed import DecomposedVolume

Array = npt.NDArray[Any]
Make = Callable[..., DecomposedVolume]

SHAPE = (5, 10, 20)
"""A lobe a sheet of 200 voxels along the first axis, so that a voxel is half a per cent."""

LUNGS = np.repeat(np.array([2, 2, 1, 1, 1], dtype=np.uint8), 200).reshape(SHAPE)
OF_LOBES = np.repeat(np.arange(1, 6, dtype=np.uint8), 200).reshape(SHAPE)


def with_shares(make: Make, counts: list[int], **given: Any) -> DecomposedVolume:
    """DecomposedVolume with so many voxels of lesion in each lobe."""
    lesion = np.zeros((5, 200), dtype=bool)
    for lobe, count in zip(lesion, counts, strict=True):
        lobe[:count] = True
    return make(lesion.reshape(SHAPE), np.eye(4), lungs=LUNGS, **given)


@pytest.mark.parametrize(
    ("share", "pan", "chaganti"),
    [
        (0, 0, 0),
        (1e-9, 1, 1),
        (0.0499, 1, 1),
        (0.05, 2, 1),
        (0.25, 2, 1),
        (0.2501, 3, 2),
        (0.4999, 3, 2),
        (0.50, 4, 2),
        (0.5001, 4, 3),
        (0.75, 4, 3),
        (0.7501, 5, 4),
        (1, 5, 4),
    ],
)
def test_grades_at_their_borders(share: float, pan: int, chaganti: int) -> None:
    assert (pan_grade(share), lobe_grade(share)) == (pan, chaganti)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_scores_add_up_over_lobes(make_findings: Make, dtype: Any) -> None:
    findings = with_shares(make_findings, [0, 9, 50, 100, 151])
    found = measure(findings, lobes=OF_LOBES.astype(dtype))
    assert [found.region(lobe).opacity_percent for lobe in LOBES] == [0, 4.5, 25, 50, 75.5]
    assert found.severity_score == 0 + 1 + 2 + 4 + 5
    assert found.lung_severity_score == 0 + 1 + 1 + 2 + 4
    assert found.high_opacity_score == 0  # at -500 HU
    hu = np.full(SHAPE, -800, dtype=np.int16)
    hu[4], hu[3] = -200, -201
    dense = measure(with_shares(make_findings, [0, 9, 50, 100, 151], hu=hu), lobes=OF_LOBES)
    assert dense.high_opacity_score == 4
    assert dense.severity_score == found.severity_score


@pytest.mark.parametrize("share", [10, 50, 100, 150])
def test_a_share_on_a_border_of_printed_bins_is_not_lost_to_rounding(make_findings: Make, share: int) -> None:
    found = measure(with_shares(make_findings, [share] * 5), lobes=OF_LOBES)
    assert found.severity_score == 5 * {10: 2, 50: 2, 100: 4, 150: 4}[share]


def test_high_opacity_is_graded_as_lesion_is(make_findings: Make) -> None:
    findings = with_shares(make_findings, [0, 9, 50, 100, 151], hu=np.full(SHAPE, -200, dtype=np.int16))
    found = measure(findings, lobes=OF_LOBES)
    assert (found.lung_severity_score, found.high_opacity_score) == (8, 8)  # 0 + 1 + 1 + 2 + 4


def test_without_lobes_no_score_is_guessed(make_findings: Make) -> None:
    found = measure(with_shares(make_findings, [0, 9, 50, 100, 151]))
    no_lobes = Missing("not computed: no lobes")
    assert found.severity_score == found.lung_severity_score == found.high_opacity_score == no_lobes
    assert found.lesions[0].lobe == no_lobes
    assert len(found.regions) == 3


def test_a_lobe_that_is_not_there_makes_the_score_uncertain(make_findings: Make) -> None:
    lobes = OF_LOBES.copy()
    lobes[lobes == 4] = 5
    found = measure(with_shares(make_findings, [0, 9, 50, 100, 151]), lobes=lobes)
    assert found.severity_score == Missing("not computed: no voxel of the right middle lobe")


@pytest.mark.usefixtures("_slabs")
def test_lobes_and_lungs_that_do_not_agree_are_noted(make_findings: Make) -> None:
    lobes = OF_LOBES.copy()
    lobes[0, :8] = 0
    found = measure(with_shares(make_findings, [0] * 5), lobes=lobes)
    assert found.notes == ["16 % of the lungs lie outside all lobes: the lobes do not add up to the lungs"]
    lungs = LUNGS.copy()
    lungs[4, 5:] = 0
    found = measure(make_findings(np.zeros(SHAPE, dtype=bool), np.eye(4), lungs=lungs), lobes=OF_LOBES)
    assert found.notes == ["10 % of the lobes lie outside the lungs and are left out"]
    assert found.region(LOBES[4]).lung_ml == pytest.approx(0.1)


ALLOWED = (
    "allowed: 0 none, 1 left upper lobe, 2 left lower lobe, 3 right upper lobe, 4 right middle lobe, "
    "5 right lower lobe; renumber the label map"
)


@pytest.mark.parametrize(
    ("lobes", "line"),
    [
        (OF_LOBES[:4], "lobes: 4 x 10 x 20 voxels, the volume has 5 x 10 x 20; give a label map on the volume's grid"),
        (OF_LOBES + 9, f"lobes: label 10, 11, 12, 13, 14 found; {ALLOWED}"),
        (OF_LOBES - 2.5, f"lobes: label -1.5, -0.5, 0.5, 1.5, 2.5 found; {ALLOWED}"),
        (np.where(OF_LOBES == 1, np.nan, OF_LOBES), f"lobes: label nan found; {ALLOWED}"),
        (
            OF_LOBES[::-1],
            f"lobes: most of labels 1, 2 lies outside the left lung; {ALLOWED}, or check that it is not mirrored",
        ),
        (
            np.where(OF_LOBES < 3, 0, OF_LOBES)[::-1],
            f"lobes: most of labels 3, 4, 5 lies outside the right lung; {ALLOWED}, or check that it is not mirrored",
        ),
        (
            np.arange(OF_LOBES.size).reshape(OF_LOBES.shape),
            f"lobes: label 6, 7, 8, 9, 10 found; {ALLOWED}",
        ),
    ],
    ids=["another grid", "TotalSegmentator's numbers", "no labels", "NaN", "mirrored", "right mirrored", "many labels"],
)
def test_maps_that_are_refused(make_findings: Make, lobes: Array, line: str) -> None:
    with pytest.raises(DataError) as caught:
        measure(with_shares(make_findings, [1] * 5), lobes=lobes)
    assert str(caught.value) == line


def test_labels_are_looked_at_before_anything_else(make_findings: Make) -> None:
    volume = with_shares(make_findings, [0] * 5).volume
    check_labels(OF_LOBES, volume, "lobes.nii.gz")
    with pytest.raises(DataError, match=r"others.nii.gz: label 10.* found; allowed: 0 none, 1 left upper lobe"):
        check_labels(OF_LOBES + 9, volume, "others.nii.gz")

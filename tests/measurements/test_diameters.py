"""How far across lesions are: boxes by hand, balls in millimetres, noise against every corner of every voxel."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage
from scipy.spatial.distance import pdist

from lesionsplit.measurements.measure import measure
from lesionsplit.measurements.result import Lesion, Measurements
from lesionsplit.measurements.settings import MeasurementSettings
from lesionsplit.volumes.decomposed import DecomposedVolume

Array = npt.NDArray[Any]
Make = Callable[..., DecomposedVolume]

ALL = MeasurementSettings(smallest_lesion_ml=0.0, lesions_listed=10_000)
SPACING = np.array([0.7, 0.9, 1.5])


def turned(degrees: float = 14) -> Array:
    """A rotation about all three axes, no axis leaving its octant."""
    a, b, c = np.deg2rad([degrees, -degrees / 2, degrees / 3])
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(x @ y @ z)


def grids() -> list[Any]:
    """Orders and directions of axes; straight, oblique, sheared as by a gantry."""
    found = []
    gantry = np.array([[1, 0, 0], [0, 1, np.tan(np.deg2rad(18))], [0, 0, 1.0]])
    for order in permutations(range(3)):
        for signs in ((1, 1, 1), (-1, -1, 1), (1, -1, -1)):
            straight = ((np.eye(3) * signs) * SPACING)[:, list(order)]
            for name, change in (("straight", np.eye(3)), ("oblique", turned()), ("sheared", gantry)):
                found.append(pytest.param(change @ straight, id=f"{name}-{order}-{signs}"))
    return found


def ball(matrix: Array, diameter: float) -> tuple[Array, Array, Array]:
    """A ball about the origin on a grid with some room: lesion, affine and its centre."""
    reach = np.ceil(np.abs(np.linalg.inv(matrix)).sum(axis=1) * diameter / 2).astype(int) + 2
    affine = np.eye(4)
    centre = np.array([30.0, -12.0, 250.0])
    affine[:3, :3], affine[:3, 3] = matrix, centre - matrix @ reach + 0.2
    index = np.indices(2 * reach + 1)
    world = np.einsum("ij,jabc->iabc", matrix, index) + affine[:3, 3].reshape(3, 1, 1, 1)
    lesion = ((world - centre.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) < (diameter / 2) ** 2
    return lesion, affine, centre


@pytest.mark.parametrize("matrix", grids())
def test_a_ball_is_as_wide_and_where_it_is_on_every_grid(matrix: Array, make_findings: Make) -> None:
    diameter = 18.0
    lesion, affine, centre = ball(matrix, diameter)
    found = measure(make_findings(lesion, affine))
    (one,) = found.lesions
    corner_to_corner = np.linalg.norm(np.abs(matrix).sum(axis=1))
    assert isinstance(one.diameter_mm, float)
    assert isinstance(one.axial_diameter_mm, float)
    assert diameter - corner_to_corner / 2 < one.diameter_mm < diameter + corner_to_corner
    assert diameter - 1.5 < one.axial_diameter_mm < diameter + 1.3  # about a voxel of the slice
    assert one.volume_ml == pytest.approx(np.pi / 6 * diameter**3 / 1000, rel=0.02)
    np.testing.assert_allclose(one.centre_ras_mm, centre, atol=0.1)  # type: ignore[arg-type]
    assert one.side == "right"
    assert found.largest_axial_diameter_mm == one.axial_diameter_mm
    assert found.largest_diameter_mm == one.diameter_mm


def box(make: Make, columns: list[list[float]]) -> Measurements:
    """A lesion of 2 x 3 x 4 voxels on a grid with these edges of a voxel."""
    lesion = np.zeros((6, 7, 8), dtype=bool)
    lesion[2:4, 2:5, 1:5] = True
    affine = np.eye(4)
    affine[:3, :3] = np.array(columns).T
    return measure(make(lesion, affine), ALL)


@pytest.mark.usefixtures("_slabs")
def test_boxes_by_hand(make_findings: Make) -> None:
    (one,) = box(make_findings, [[2, 0, 0], [0, 3, 0], [0, 0, 5]]).lesions
    assert one.axial_diameter_mm == pytest.approx(np.sqrt(4**2 + 9**2))
    assert one.diameter_mm == pytest.approx(np.sqrt(4**2 + 9**2 + 20**2))
    assert one.axial_diameter_slice == one.first_slice == 2  # of equal slices the lowest
    # sheared in the slice: edges (2, 0, 0) twice and (1, 3, 0) three times make (7, 9, 0) from corner to corner
    (one,) = box(make_findings, [[2, 0, 0], [1, 3, 0], [0, 0, 5]]).lesions
    assert one.axial_diameter_mm == pytest.approx(np.sqrt(7**2 + 9**2))
    # sheared along the patient: four times (0, 2, 5) more
    (one,) = box(make_findings, [[2, 0, 0], [0, 3, 0], [0, 2, 5]]).lesions
    assert one.axial_diameter_mm == pytest.approx(np.sqrt(4**2 + 9**2))
    assert one.diameter_mm == pytest.approx(np.sqrt(4**2 + 17**2 + 20**2))
    # slices along the first axis: they are 3 x 4 voxels
    (one,) = box(make_findings, [[0, 0, -5], [2, 0, 0], [0, 3, 0]]).lesions
    assert one.axial_diameter_mm == pytest.approx(np.sqrt(6**2 + 12**2))
    assert (one.first_slice, one.last_slice) == (3, 4)  # indices 2 and 3 of six, of which 5 is lowest


def corners(voxels: Array, affine: Array) -> Array:
    """All corners of voxels, (n, 3), in millimetres."""
    halves = np.array(list(product((-0.5, 0.5), repeat=3)))
    return np.asarray((voxels[:, None] + halves).reshape(-1, 3) @ affine[:3, :3].T)


@pytest.mark.usefixtures("_slabs")
def test_noise_against_every_corner_of_every_voxel(make_findings: Make) -> None:
    lesion = np.random.default_rng(5).random((11, 12, 13)) < 0.06
    affine = np.eye(4)
    affine[:3, :3] = turned() * SPACING
    affine[1, 2] += 0.4
    found = measure(make_findings(lesion, affine), ALL)
    labels, count = ndimage.label(lesion, structure=np.ones((3, 3, 3)))
    expected = []
    for label in range(1, count + 1):
        voxels = np.argwhere(labels == label)
        slices = [voxels[voxels[:, 2] == k] for k in np.unique(voxels[:, 2])]
        flat = [corners(one, affine)[(np.arange(len(one) * 8) % 2) == 0] for one in slices]  # their lower faces
        centre = affine[:3, :3] @ voxels.mean(axis=0)
        expected.append((*centre, max(pdist(one).max() for one in flat), pdist(corners(voxels, affine)).max()))
    ours = [_numbers(one) for one in found.lesions]
    assert len(ours) == count > 10
    np.testing.assert_allclose(sorted(ours), sorted(expected), rtol=1e-6)


def _numbers(one: Lesion) -> Any:
    return (*one.centre_ras_mm, one.axial_diameter_mm, one.diameter_mm)  # type: ignore[misc]


@pytest.mark.parametrize("matrix", grids()[::5])
def test_the_ends_of_the_axial_diameter_are_so_far_apart_and_in_its_slice(make_findings: Make, matrix: Array) -> None:
    lesion, affine, _ = ball(matrix, 14.0)
    findings = make_findings(lesion, affine)
    one = measure(findings, ALL).lesions[0]
    ends = np.array([one.axial_diameter_from_ras_mm, one.axial_diameter_to_ras_mm])
    assert np.linalg.norm(ends[0] - ends[1]) == pytest.approx(one.axial_diameter_mm)
    places = np.linalg.solve(findings.volume.axial_affine, np.column_stack([ends, [1, 1]]).T)[:3].T
    assert places[:, 0] == pytest.approx(one.axial_diameter_slice - 1, abs=1e-6)
    area = np.asarray(findings.volume.axial(lesion))[one.axial_diameter_slice - 1]
    for row, column in places[:, 1:]:  # each is a corner of a pixel of the lesion
        corners = [(round(row + up), round(column + over)) for up in (-0.5, 0.5) for over in (-0.5, 0.5)]
        assert (row % 1, column % 1) == (pytest.approx(0.5), pytest.approx(0.5))
        assert any(area[corner] for corner in corners)

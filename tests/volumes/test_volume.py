"""The one place where conventions meet, against nibabel and by hand."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lesionsplit.volumes.volume import Affine, Source, Volume

SOURCE = Source(kind="nifti", path=Path("ct.nii"), name="ct")
SPACING = np.array([0.7, 0.9, 2.5])


def volume(affine: Affine, shape: tuple[int, int, int] = (3, 4, 5)) -> Volume:
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    return Volume(array=array, affine=affine, intensity="hu", source=SOURCE)


def affines() -> list[Affine]:
    """All 48 orders and directions of axes, each straight and oblique."""
    tilt = np.eye(4)
    tilt[:3, :3] = np.linalg.qr(np.eye(3) + 0.2 * np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0.0]]))[0]
    tilt[:3, :3] *= np.sign(np.diag(tilt)[:3])
    found = []
    for order, signs in product(permutations(range(3)), product((-1, 1), repeat=3)):
        straight = np.eye(4)
        straight[:3, :3] = (np.eye(3) * signs)[:, list(order)] * SPACING
        straight[:3, 3] = 11, -7, 30
        found += [straight, tilt @ straight]
    return found


@pytest.mark.parametrize("affine", affines())
def test_axial_slices_run_up_back_and_left_and_are_a_view(affine: Affine) -> None:
    one = volume(affine)
    axial = one.axial()
    assert nib.aff2axcodes(one.axial_affine) == ("S", "P", "L")
    for index in np.ndindex(axial.shape):
        world = one.axial_affine @ [*index, 1]
        there = np.rint(np.linalg.inv(affine) @ world)[:3].astype(int)
        assert axial[index] == one.array[tuple(there)]
    np.testing.assert_allclose(one.axial_spacing, np.linalg.norm(one.axial_affine[:3, :3], axis=0))
    assert np.shares_memory(one.from_axial(axial), one.array)
    np.testing.assert_array_equal(one.from_axial(axial), one.array)
    result = np.zeros(one.shape, dtype=np.uint8)
    one.axial(result)[1, 0, 2] = 1
    assert result.sum() == 1


def test_a_voxel_of_a_sheared_grid_is_its_determinant() -> None:
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[0, 2] = 1.5  # gantry tilt
    assert volume(affine).voxel_ml == pytest.approx(0.024)

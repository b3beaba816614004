"""A mask that the user gives: which lung is which."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lesionsplit.errors import NoLungError
from lesionsplit.lungs.user_mask import lungs_from_user_mask
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Source, Volume

SOURCE = Source(kind="nifti", path=Path("ct.nii"), name="ct")


@pytest.fixture
def volume(make: ModuleType) -> Volume:
    return Volume(array=make.chest().hu, affine=make.affine_of(), intensity="hu", source=SOURCE)


@pytest.mark.parametrize(("right", "left"), [(1, 2), (2, 1), (20, 10)])
def test_two_labels_are_right_and_left_by_where_they_lie(
    right: int, left: int, volume: Volume, make: ModuleType
) -> None:
    lungs = make.chest().lungs
    with Scratch() as scratch:
        found = lungs_from_user_mask(volume, np.choose(lungs, [0, right, left]).astype(np.uint8), scratch)
        np.testing.assert_array_equal(found.labels, lungs)
        assert found.method == "mask of the user"


@pytest.mark.parametrize("flip", [False, True])
def test_one_label_is_split_into_the_patients_sides(flip: bool, volume: Volume, make: ModuleType) -> None:
    lungs = make.chest().lungs
    if flip:  # the file's columns run to the patient's right
        affine = volume.affine.copy()
        affine[:3, 3] += affine[:3, 0] * (volume.shape[0] - 1)
        affine[:3, 0] *= -1
        volume = Volume(array=volume.array[::-1], affine=affine, intensity="hu", source=SOURCE)
        lungs = lungs[::-1]
    with Scratch() as scratch:
        found = lungs_from_user_mask(volume, (lungs > 0).astype(np.uint8), scratch)
        np.testing.assert_array_equal(found.labels, lungs)


def test_one_lung_alone_is_of_its_side(volume: Volume, make: ModuleType) -> None:
    lungs = make.chest().lungs
    given = np.zeros_like(lungs)
    given[lungs == 1] = np.random.default_rng(0).integers(1, 4, np.count_nonzero(lungs == 1))  # three lobes
    with Scratch() as scratch:
        found = lungs_from_user_mask(volume, given, scratch)
        np.testing.assert_array_equal(found.labels > 0, lungs == 1)
        assert len(np.unique(found.labels[lungs == 1])) == 1


def test_an_empty_mask_is_refused(volume: Volume) -> None:
    with Scratch() as scratch, pytest.raises(NoLungError, match="the lung mask is empty"):
        lungs_from_user_mask(volume, np.zeros(volume.shape, np.uint8), scratch)

"""Label maps on a volume's grid."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from lesionsplit.errors import DataError
from lesionsplit.io.files import open_file
from lesionsplit.io.label_maps import read_labels
from lesionsplit.volumes.grid import difference
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Source, Volume

SMALL = (24, 20, 6)


def volume_of(make: ModuleType, **options: Any) -> Volume:
    source = Source(kind="nifti", path=Path("ct.nii"), name="ct")
    hu = make.chest(SMALL).hu
    return Volume(array=hu, affine=make.affine_of(**options), intensity="hu", source=source)


@pytest.mark.parametrize("name", ["lungs.nii", "lungs.nii.gz", "lungs.nrrd", "lungs.mha"])
def test_labels_on_the_grid(name: str, make: ModuleType, tmp_path: Path) -> None:
    lungs = make.chest(SMALL).lungs
    made = make.make_nifti if "nii" in name else make.make_itk
    with Scratch() as scratch:
        labels = read_labels(made(tmp_path / name, lungs), volume_of(make), scratch)
        np.testing.assert_array_equal(labels, lungs)
        assert labels.dtype == np.uint8


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_other_orders_and_directions_of_axes_are_turned_exactly(
    order: tuple[int, int, int], make: ModuleType, tmp_path: Path
) -> None:
    lungs = make.chest(SMALL).lungs
    lungs[3, 4, 5] = 9
    image = nib.Nifti1Image(lungs, make.affine_of())
    for flips in product((-1, 1), repeat=3):
        turned = image.as_reoriented(np.column_stack([order, flips]))
        nib.save(turned, tmp_path / "lungs.nii")
        with Scratch() as scratch:
            labels = read_labels(tmp_path / "lungs.nii", volume_of(make), scratch)
            np.testing.assert_array_equal(labels, lungs)


def test_labels_above_255(make: ModuleType, tmp_path: Path) -> None:
    labels = make.chest(SMALL).lungs.astype(np.int32) * 30000
    with Scratch() as scratch:
        read = read_labels(make.make_nifti(tmp_path / "lobes.nii", labels), volume_of(make), scratch)
        np.testing.assert_array_equal(read, labels)
        assert read.dtype == np.uint16


def refusal(path: Path, make: ModuleType) -> str:
    with Scratch() as scratch, pytest.raises(DataError) as caught:
        read_labels(path, volume_of(make), scratch)
    return str(caught.value).replace(str(path.parent), "P")


def test_other_grids_are_refused(make: ModuleType, tmp_path: Path) -> None:
    lungs = make.chest(SMALL).lungs
    end = "; give labels made on this volume, or resample them"
    start = "P/a.nii: is not on the grid of ct.nii: "
    path = make.make_nifti(tmp_path / "a.nii", lungs[:-1])
    assert refusal(path, make) == f"{start}23 x 20 x 6 voxels, not 24 x 20 x 6{end}"
    path = make.make_nifti(tmp_path / "a.nii", lungs, affine=make.affine_of(spacing=(4, 4, 5)))
    assert refusal(path, make) == f"{start}voxels of 4 x 4 x 5 mm, not 4 x 4 x 10 mm{end}"
    path = make.make_nifti(tmp_path / "a.nii", lungs, affine=make.affine_of(origin=(-190, -158, -399)))
    assert refusal(path, make) == f"{start}the same shape, but up to 1 mm away{end}"
    path = make.make_nifti(tmp_path / "a.nii", lungs, affine=make.affine_of(orientation=(0.8, 0.6, 0, -0.6, 0.8, 0)))
    assert refusal(path, make).startswith(f"{start}the same shape, but up to ")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([0, -1], "P/a.nii: has values from -1 to 0, which are not labels; allowed: whole numbers from 0 to 65535"),
        (
            [0, 0.5],
            "P/a.nii: has values from 0 to 0.5, with fractions, which are not labels; allowed: whole numbers from 0 to "
            "65535",
        ),
        (
            [0, 70000],
            "P/a.nii: has values from 0 to 70000, which are not labels; allowed: whole numbers from 0 to 65535",
        ),
        (
            [0, np.nan],
            "P/a.nii: has values from -1024 to 0, which are not labels; allowed: whole numbers from 0 to 65535",
        ),
    ],
)
def test_what_are_no_labels_is_refused(values: list[float], line: str, make: ModuleType, tmp_path: Path) -> None:
    array = np.full(SMALL, values[0], np.float64)
    array[3, 4, 5] = values[1]
    assert refusal(make.make_nifti(tmp_path / "a.nii", array), make) == line


def test_a_slight_rounding_is_the_same_grid(make: ModuleType) -> None:
    volume, near, far = (volume_of(make, origin=(x, -158, -400)) for x in (-190, -190.01, -191))
    assert difference(volume, near.shape, near.affine) == ""
    assert difference(volume, far.shape, far.affine) == "the same shape, but up to 1 mm away"


def test_a_real_label_map(make: ModuleType) -> None:
    folder = Path(__file__).parents[3] / "shared" / "data" / "cip-ct64"
    if not folder.is_dir():
        pytest.skip(f"the real series is not here: {folder}")
    with Scratch() as scratch:
        volume = open_file(folder / "ct-64.nrrd").volume(scratch, name="ct")
        labels = read_labels(folder / "lm-64.nrrd", volume, scratch)
        inside = volume.array[np.isin(labels & 255, range(9, 15))]
        assert labels.dtype == np.uint16
    assert len(inside) == 65624  # counted with SimpleITK
    assert -960 < np.median(inside) < -880

"""NRRD and MetaImage in, against SimpleITK and against files written by hand."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lesionsplit.errors import DataError
from lesionsplit.io.itk import open_itk
from lesionsplit.volumes.scratch import Scratch

SMALL = (24, 20, 6)


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.nhdr", "ct.mha", "ct.mhd", "CT.NRRD", "Größe 肺.mha"])
@pytest.mark.parametrize("compress", [False, True])
def test_array_and_affine(name: str, compress: bool, make: ModuleType, tmp_path: Path) -> None:
    hu = make.chest(SMALL).hu
    turn = np.linalg.qr(np.eye(3) + 0.3 * np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0.0]]))[0]
    affine = make.affine_of(spacing=(0.7, 0.8, 2.5))
    affine[:3, :3] = turn * np.sign(np.linalg.det(turn)) @ affine[:3, :3]
    path = make.make_itk(tmp_path / name, hu, affine=affine, compress=compress)
    with Scratch() as scratch:
        volume = open_itk(path).volume(scratch, name="ct")
        np.testing.assert_array_equal(volume.array, hu)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-6)
    assert volume.array.dtype == np.int16
    assert volume.source.notes == ()
    assert volume.source.kind == ("nrrd" if path.suffix.lower() in (".nrrd", ".nhdr") else "metaimage")


HEADER = """NRRD0004
type: short
dimension: 3
{space}sizes: 2 3 4
{directions}
endian: little
encoding: raw

"""


@pytest.mark.parametrize(
    ("space", "signs"),
    [("right-anterior-superior", (1, 1, 1)), ("left-posterior-superior", (-1, -1, 1)), ("LAS", (-1, 1, 1))],
)
def test_spaces_become_ras(space: str, signs: tuple[int, int, int], tmp_path: Path) -> None:
    directions = "space directions: (2,0,0) (0,3,0) (0,0,4)\nspace origin: (10,20,30)"
    header = HEADER.format(space=f"space: {space}\n", directions=directions)
    voxels = np.array([-1000] * 12 + [40] * 12, "<i2")
    path = tmp_path / "a.nrrd"
    path.write_bytes(header.encode() + voxels.tobytes())
    with Scratch() as scratch:
        volume = open_itk(path).volume(scratch, name="a")
        np.testing.assert_array_equal(volume.array.ravel(order="F"), voxels)
    np.testing.assert_allclose(volume.affine[:3, :3], np.diag(signs) @ np.diag([2, 3, 4]))
    np.testing.assert_allclose(volume.affine[:3, 3], np.array(signs) * [10, 20, 30])


def test_without_a_space_it_is_said_that_sides_may_be_swapped(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    header = HEADER.format(space="", directions="spacings: 2 3 4")
    path.write_bytes(header.encode() + np.array([-1000] * 12 + [40] * 12, "<i2").tobytes())
    with Scratch() as scratch:
        notes = open_itk(path).volume(scratch, name="a").source.notes
    assert notes == ("the file has no orientation (no space): left and right may be swapped",)


def test_a_slice_is_a_volume(make: ModuleType, tmp_path: Path) -> None:
    import SimpleITK

    hu = make.chest(SMALL).hu[..., 2]
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.ascontiguousarray(hu.T)), str(tmp_path / "a.mha"))
    with Scratch() as scratch:
        volume = open_itk(tmp_path / "a.mha").volume(scratch, name="a")
        np.testing.assert_array_equal(volume.array[..., 0], hu)
    assert volume.shape == (24, 20, 1)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.mha: no such file"):
        open_itk(tmp_path / "a.mha")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("NDims", "83", "NDims"), ("DimSize", "24 20", "DimSize"), ("TransformMatrix", "1 0 0", "TransformMatrix")],
)
def test_a_header_that_itk_would_trip_over_is_refused(
    field: str, value: str, said: str, make: ModuleType, tmp_path: Path
) -> None:
    path = make.make_itk(tmp_path / "a.mha", make.chest(SMALL).hu)
    lines = path.read_bytes().split(b"\n", 13)
    changed = [f"{field} = {value}".encode() if line.startswith(field.encode()) else line for line in lines]
    assert changed != lines
    path.write_bytes(b"\n".join(changed))
    with pytest.raises(DataError, match=rf"a.mha: is not a MetaImage file that can be read \(no valid {said}\)"):
        open_itk(path)

"""What headers of NIfTI say that cannot be true."""

from __future__ import annotations

import struct
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from lesionsplit.errors import DataError
from lesionsplit.io.files import open_file
from lesionsplit.io.nifti import open_nifti, write_nifti
from lesionsplit.volumes.intensity import ReadOptions
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Volume

SMALL = (24, 20, 6)
SLOPE, UNITS, QFORM, QUATERNION, PIXDIM = 112, 123, 252, 256, 76  # bytes of a header where fields begin


def patched(path: Path, at: int, *values: float, kind: str = "f") -> Path:
    data = bytearray(path.read_bytes())
    content = struct.pack(f"<{len(values)}{kind}", *values)
    data[at : at + len(content)] = content
    path.write_bytes(data)
    return path


def read(path: Path, scratch: Scratch, *, force: bool = False) -> Volume:
    return open_file(path).volume(scratch, name="ct", options=ReadOptions(force=force))


def refused(path: Path, said: str) -> tuple[str, ...]:
    """A file is refused with a line, and read with it as a note where that is forced."""
    with Scratch() as scratch:
        with pytest.raises(DataError) as caught:
            read(path, scratch)
        assert str(caught.value) == f"{path}: {said}; correct the header, or use --force to continue"
        notes = read(path, scratch, force=True).source.notes
    assert said in notes
    return notes


@pytest.mark.parametrize("turns", [(0.0, 1.0000002, 0.01), (0.6, 0.0, 0.8002), (0.0, 0.0, -1.004)])
def test_a_quaternion_just_over_1_is_normalised_as_itk_does(
    turns: tuple[float, float, float], make: ModuleType, tmp_path: Path
) -> None:
    path = patched(make.make_nifti(tmp_path / "ct.nii", codes=(0, 1)), QUATERNION, *turns)
    with Scratch() as scratch:
        volume = read(path, scratch)
        write_nifti(tmp_path / "out.nii", volume, volume.array)
    itk = SimpleITK.ReadImage(str(path))
    direction = np.reshape(itk.GetDirection(), (3, 3)) * itk.GetSpacing()
    np.testing.assert_allclose(volume.affine[:3, :3], np.diag([-1, -1, 1]) @ direction, atol=1e-5)
    length = np.sum(np.square(np.float32(turns).astype(float)))
    assert volume.source.notes == (
        f"its quaternion has b2 + c2 + d2 = {length:.6g}, more than 1, and was normalised with a = 0",
    )
    np.testing.assert_allclose(nib.load(tmp_path / "out.nii").affine, volume.affine, atol=1e-4)  # nibabel reads it


def test_rounding_of_a_quaternion_is_not_mentioned(make: ModuleType, tmp_path: Path) -> None:
    path = patched(make.make_nifti(tmp_path / "ct.nii", codes=(0, 1)), QUATERNION, 0, 1.0000001, 0)
    with Scratch() as scratch:
        assert read(path, scratch).source.notes == ()


def test_a_quaternion_far_over_1_is_refused(make: ModuleType, tmp_path: Path) -> None:
    path = patched(make.make_nifti(tmp_path / "ct.nii", codes=(0, 1)), QUATERNION, 1, 1, 0)
    refused(path, "its quaternion has b2 + c2 + d2 = 2, more than 1, and was normalised with a = 0")


@pytest.mark.parametrize(
    ("spacing", "said"),
    [
        ((-4, 4, 10), "its spacing (pixdim) is -4 x 4 x 10, which was read as 4 x 4 x 10 mm"),
        ((4, 4, 0), "its spacing (pixdim) is 4 x 4 x 0, which was read as 4 x 4 x 1 mm"),
    ],
)
@pytest.mark.parametrize("code", [0, 1])
def test_a_spacing_that_nibabel_repairs_is_refused(
    spacing: tuple[float, ...], said: str, code: int, make: ModuleType, tmp_path: Path
) -> None:
    refused(patched(make.make_nifti(tmp_path / "ct.nii", codes=(0, code)), PIXDIM + 4, *spacing), said)


def test_a_spacing_that_is_no_number_is_refused(make: ModuleType, tmp_path: Path) -> None:
    path = patched(make.make_nifti(tmp_path / "ct.nii", codes=(0, 1)), PIXDIM + 4, np.nan)
    for force in (False, True):
        with Scratch() as scratch, pytest.raises(DataError, match="its affine has values that are not numbers"):
            read(path, scratch, force=force)


@pytest.mark.parametrize("qfac", [-0.5, 3.0])
def test_a_qfac_that_is_no_sign_is_refused(qfac: float, make: ModuleType, tmp_path: Path) -> None:
    path = patched(make.make_nifti(tmp_path / "ct.nii", codes=(0, 1)), PIXDIM, qfac)
    refused(path, f"its qfac (pixdim[0]) is {qfac:g}, not 1 or -1, and was read as 1")


def test_a_code_without_meaning_is_refused(make: ModuleType, tmp_path: Path) -> None:
    path = patched(make.make_nifti(tmp_path / "ct.nii", codes=(0, 1)), QFORM, 99, kind="h")
    said = "its qform_code is 99, which has no meaning: the qform was not used"
    assert refused(path, said)[0].startswith("the file has no orientation")


def forms(path: Path, make: ModuleType, qform: np.ndarray, code: int = 1) -> Path:
    image = nib.Nifti1Image(make.chest(SMALL).hu, None)
    image.set_sform(make.affine_of(), 1)
    image.set_qform(qform, code)
    nib.save(image, path)
    return path


def test_forms_of_different_volume_are_refused(make: ModuleType, tmp_path: Path) -> None:
    path = forms(tmp_path / "ct.nii", make, make.affine_of((2.0, 2.0, 10.0)))
    refused(path, "its sform has voxels of 4 x 4 x 10 mm, its pixdim of 2 x 2 x 10 mm: the sform was used")


def test_forms_in_different_places_are_noted(make: ModuleType, tmp_path: Path) -> None:
    shifted, mirrored = make.affine_of(), make.affine_of() @ np.diag([-1.0, 1, 1, 1])
    shifted[0, 3] += 7
    with Scratch() as scratch:
        for qform, said in ((shifted, "7 mm apart"), (mirrored, "184 mm apart and in other directions")):
            volume = read(forms(tmp_path / "ct.nii", make, qform), scratch)
            assert volume.source.notes == (f"its sform and qform place it up to {said}: the sform was used",)
            np.testing.assert_allclose(volume.affine, make.affine_of(), atol=1e-4)
        assert read(forms(tmp_path / "ct.nii", make, make.affine_of()), scratch).source.notes == ()


def test_a_pixdim_that_was_forgotten_is_noted(make: ModuleType, tmp_path: Path) -> None:
    path = patched(make.make_nifti(tmp_path / "ct.nii", codes=(1, 0)), PIXDIM + 4, 1, 1, 1)
    with Scratch() as scratch:
        assert read(path, scratch).source.notes == (
            "its sform has voxels of 4 x 4 x 10 mm, its pixdim of 1 x 1 x 1 mm: the sform was used",
        )


@pytest.mark.parametrize("scale", [(np.nan, np.nan), (0, 0), (0, np.nan), (np.nan, 0), (1, 0)])
def test_what_means_no_scale_is_none(scale: tuple[float, float], make: ModuleType, tmp_path: Path) -> None:
    path = patched(make.make_nifti(tmp_path / "ct.nii"), SLOPE, *scale)
    with Scratch() as scratch:
        volume = read(path, scratch)
        np.testing.assert_array_equal(volume.array, make.chest().hu)
        assert volume.source.notes == ()


@pytest.mark.parametrize("scale", [(np.inf, 0), (0, -1024), (np.nan, 5), (-np.inf, np.nan)])
def test_a_scale_that_nibabel_leaves_out_is_refused(
    scale: tuple[float, float], make: ModuleType, tmp_path: Path
) -> None:
    path = patched(make.make_nifti(tmp_path / "ct.nii"), SLOPE, *scale)
    refused(path, f"its scale is {scale[0]:g} (scl_slope) and {scale[1]:g} (scl_inter): values were read unscaled")


@pytest.mark.parametrize("scale", [(1, np.nan), (2, np.inf), (1e30, 0)])
def test_an_absurd_scale_is_one_line(scale: tuple[float, float], make: ModuleType, tmp_path: Path) -> None:
    path = patched(make.make_nifti(tmp_path / "ct.nii"), SLOPE, *scale)
    with Scratch() as scratch, pytest.raises(DataError) as caught:
        read(path, scratch)
    assert "\n" not in str(caught.value)


def test_a_unit_that_is_none_is_refused(make: ModuleType, tmp_path: Path) -> None:
    path = patched(make.make_nifti(tmp_path / "ct.nii"), UNITS, 5, kind="b")
    with pytest.raises(DataError, match=r"has no unit of length; allowed: mm, meter, micron"):
        open_nifti(path)


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_a_chest_of_another_size_is_refused(scale: float, make: ModuleType, tmp_path: Path) -> None:
    affine = np.diag([scale, scale, scale, 1]) @ make.affine_of((2.5, 2.5, 5.0))
    path = make.make_nifti(tmp_path / "ct.nii", make.chest((130, 128, 6)).hu, affine=affine)
    side = f"{325 * scale:.4g} x {320 * scale:.4g} x {30 * scale:.4g}"
    with Scratch() as scratch:
        with pytest.raises(DataError, match=f"its 130 x 128 x 6 voxels extend over {side} mm; allowed: 100 to 2500"):
            read(path, scratch)
        read(path, scratch, force=True)
        read(make.make_nifti(tmp_path / "ct.nii", make.chest((130, 128, 6)).hu), scratch)

"""NIfTI in and out, against nibabel."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from isal import igzip

from lesionsplit.errors import DataError
from lesionsplit.io.files import open_file
from lesionsplit.io.nifti import GEOMETRY, open_nifti, write_nifti
from lesionsplit.volumes.intensity import ReadOptions
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Source, Volume

SMALL = (24, 20, 6)


def oblique(make: ModuleType) -> Any:
    turn = np.linalg.qr(np.eye(3) + 0.3 * np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0.0]]))[0]
    affine = make.affine_of()
    affine[:3, :3] = turn @ affine[:3, :3]
    return affine


def read(path: Path, scratch: Scratch, **options: Any) -> Volume:
    return open_nifti(path).volume(scratch, name="ct", options=ReadOptions(**options))


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "Größe 肺.NII.GZ"])
@pytest.mark.parametrize("dtype", ["i2", ">i2", "i4", "f4", "f8"])
def test_whole_numbers_are_read_as_int16(name: str, dtype: str, make: ModuleType, tmp_path: Path) -> None:
    hu = make.chest(SMALL).hu
    path = make.make_nifti(tmp_path / name, hu.astype(dtype), affine=oblique(make), codes=(1, 0))
    with Scratch() as scratch:
        volume = read(path, scratch)
        np.testing.assert_array_equal(volume.array, hu)
        assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.affine, nib.load(path).affine)
    assert volume.source.notes == ()


def test_scale_factors_are_heeded(make: ModuleType, tmp_path: Path) -> None:
    path = make.make_nifti(tmp_path / "ct.nii", make.chest(SMALL).hu)
    data = bytearray(path.read_bytes())
    data[112:120] = np.array([0.5, -300], "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(data)
    with Scratch() as scratch:
        volume = read(path, scratch)
        assert volume.array.dtype == np.float32
        np.testing.assert_array_equal(volume.array, nib.load(path).get_fdata())
        np.testing.assert_array_equal(volume.array, make.chest(SMALL).hu * 0.5 - 300)


def test_fractions_that_come_late_are_kept(make: ModuleType, tmp_path: Path) -> None:
    hu = make.chest(SMALL).hu.astype(np.float32)
    hu[3, 3, 4] = 12.25
    with Scratch() as scratch:
        volume = read(make.make_nifti(tmp_path / "ct.nii", hu), scratch)
        assert volume.array.dtype == np.float32
        np.testing.assert_array_equal(volume.array, hu)


@pytest.mark.parametrize(("codes", "wanted"), [((1, 2), "sform"), ((0, 2), "qform")])
def test_the_sform_goes_before_the_qform(codes: tuple[int, int], wanted: str, make: ModuleType, tmp_path: Path) -> None:
    image = nib.Nifti1Image(make.chest(SMALL).hu, None)
    forms = {"sform": make.affine_of(), "qform": oblique(make)}
    image.set_sform(forms["sform"], codes[0])
    image.set_qform(forms["qform"], codes[1])
    nib.save(image, tmp_path / "ct.nii")
    with Scratch() as scratch:
        np.testing.assert_allclose(read(tmp_path / "ct.nii", scratch).affine, forms[wanted], atol=1e-4)


def test_without_forms_it_is_said_that_sides_may_be_swapped(make: ModuleType, tmp_path: Path) -> None:
    path = make.make_nifti(tmp_path / "ct.nii", make.chest(SMALL).hu, codes=(0, 0))
    with Scratch() as scratch:
        assert read(path, scratch).source.notes == (
            "the file has no orientation (sform and qform codes are 0): left and right may be swapped",
        )


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("micron", 0.001)])
def test_lengths_are_turned_into_millimetres_and_back(
    unit: str, factor: float, make: ModuleType, tmp_path: Path
) -> None:
    affine = np.diag([1 / factor] * 3 + [1]) @ make.affine_of()
    image = nib.Nifti1Image(make.chest(SMALL).hu, affine)
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "ct.nii")
    with Scratch() as scratch:
        volume = read(tmp_path / "ct.nii", scratch)
        np.testing.assert_allclose(volume.affine, make.affine_of(), rtol=1e-6)
        assert volume.source.notes == (f"its lengths, in {unit}, were converted to millimetres",)
        write_nifti(tmp_path / "out.nii", volume, np.zeros(SMALL, np.uint8))
    np.testing.assert_array_equal(nib.load(tmp_path / "out.nii").affine, image.affine.astype(np.float32))


@pytest.mark.parametrize("shape", [(24, 20, 6, 1), (24, 20, 6, 1, 1), (24, 20), (24, 20, 1)])
def test_a_dimension_of_one_is_none(shape: tuple[int, ...], make: ModuleType, tmp_path: Path) -> None:
    hu = make.chest((24, 20, 6)).hu[..., : 6 if 6 in shape else 1].reshape(shape)
    path = make.make_nifti(tmp_path / "ct.nii", hu)
    with Scratch() as scratch:
        volume = read(path, scratch)
        assert volume.shape == (24, 20, 6 if 6 in shape else 1)
        np.testing.assert_array_equal(volume.array, hu.reshape(volume.shape))


@pytest.mark.parametrize(("dtype", "low"), [("i2", -3024), ("f4", -2047.9999), ("i4", -100000)])
def test_values_below_air_are_kept_to_the_bit_and_seen_as_air(
    dtype: str, low: float, make: ModuleType, tmp_path: Path
) -> None:
    hu = make.chest(SMALL).hu.astype(dtype)
    hu[:2] = low
    with Scratch() as scratch:
        volume = read(make.make_nifti(tmp_path / "ct.nii", hu), scratch)
        np.testing.assert_array_equal(volume.array, hu)
        np.testing.assert_array_equal(volume.seen(volume.array), np.maximum(hu, -1024))


def header_of(path: Path) -> Any:
    return nib.load(path).header


@pytest.mark.parametrize("version", [nib.Nifti1Image, nib.Nifti2Image])
def test_what_is_written_has_the_inputs_geometry_byte_for_byte(version: Any, make: ModuleType, tmp_path: Path) -> None:
    image = version(make.chest(SMALL).hu, None)
    image.set_sform(oblique(make), 2)
    image.set_qform(make.affine_of(), 3)
    image.header["pixdim"][4:] = 7
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "ct.nii.gz")
    with Scratch() as scratch:
        volume = read(tmp_path / "ct.nii.gz", scratch)
        write_nifti(tmp_path / "out.nii.gz", volume, np.ones(SMALL, bool), label="lesion")
    written = nib.load(tmp_path / "out.nii.gz")
    assert type(written) is version
    for field in GEOMETRY:
        assert written.header[field].tobytes() == header_of(tmp_path / "ct.nii.gz")[field].tobytes()
    assert written.get_data_dtype() == np.uint8
    assert written.header["descrip"].item() == b"lesion"
    assert (np.asarray(written.dataobj) == 1).all()


def volume_of(affine: Any) -> Volume:
    source = Source(kind="dicom", path=Path("ct"), name="ct")
    return Volume(array=np.zeros(SMALL, np.int16), affine=affine, intensity="hu", source=source)


@pytest.mark.parametrize("name", ["out.nii", "out.nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4"])
def test_other_readers_see_what_was_written(name: str, dtype: str, make: ModuleType, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 250, SMALL).astype(dtype)
    with Scratch() as scratch:
        kept = scratch.array(SMALL, dtype)
        kept[...] = array
        write_nifti(tmp_path / name, volume_of(oblique(make)), kept)
    image = nib.load(tmp_path / name)
    np.testing.assert_array_equal(np.asarray(image.dataobj), array)
    assert image.get_data_dtype() == np.dtype(dtype)
    np.testing.assert_allclose(image.affine, oblique(make), atol=1e-4)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    np.testing.assert_allclose(image.get_qform(), oblique(make), atol=1e-3)
    itk = SimpleITK.ReadImage(str(tmp_path / name))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(itk).T, array)
    np.testing.assert_allclose(itk.GetOrigin(), oblique(make)[:3, 3] * [-1, -1, 1], atol=1e-4)


def test_scores_are_seen_as_0_to_1(make: ModuleType, tmp_path: Path) -> None:
    levels = np.linspace(0, 65535, np.prod(SMALL)).astype(np.uint16).reshape(SMALL)
    write_nifti(tmp_path / "score.nii", volume_of(make.affine_of()), levels, slope=1 / 65535)
    image = nib.load(tmp_path / "score.nii")
    np.testing.assert_allclose(image.get_fdata(), levels / 65535, atol=1e-7)
    np.testing.assert_array_equal(image.dataobj.get_unscaled(), levels)


def test_a_slanted_grid_is_written_without_a_qform(make: ModuleType, tmp_path: Path) -> None:
    affine = make.affine_of()
    affine[1, 2] = -3
    write_nifti(tmp_path / "out.nii", volume_of(affine), np.zeros(SMALL, np.uint8))
    image = nib.load(tmp_path / "out.nii")
    np.testing.assert_allclose(image.affine, affine)
    assert int(image.header["qform_code"]) == 0


def test_the_same_bytes_every_time(make: ModuleType, tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(tmp_path / name, volume_of(make.affine_of()), make.chest(SMALL).hu)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_nothing_half_written_stays(make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(igzip.IGzipFile, "write", full)
    with pytest.raises(DataError, match=r"out.nii.gz: cannot be written \(No space left on device\); choose another"):
        write_nifti(tmp_path / "out.nii.gz", volume_of(make.affine_of()), make.chest(SMALL).hu)
    assert not list(tmp_path.iterdir())


def test_another_shape_is_a_mistake_of_ours(make: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not on a grid"):
        write_nifti(tmp_path / "out.nii", volume_of(make.affine_of()), np.zeros((2, 2, 2), np.uint8))


def test_what_is_no_volume_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.txt: is not a volume; allowed: .nii, .nii.gz, .nrrd"):
        open_file(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"a.nii: no such file"):
        open_file(tmp_path / "a.nii")

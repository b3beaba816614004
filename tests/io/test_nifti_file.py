"""Files of NIfTI that are not what their names say, and pairs of files."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

from lesionsplit.errors import DataError
from lesionsplit.io.cases import find_cases
from lesionsplit.io.files import open_file
from lesionsplit.io.nifti import write_nifti
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Volume


def read(path: Path, scratch: Scratch) -> Volume:
    return open_file(path).volume(scratch, name="ct")


def test_packed_or_not_whatever_the_name_says(make: ModuleType, tmp_path: Path) -> None:
    plain = make.make_nifti(tmp_path / "ct.nii")
    (tmp_path / "packed.nii").write_bytes(gzip.compress(plain.read_bytes()))
    shutil.copy(plain, tmp_path / "plain.nii.gz")
    for name in ("packed.nii", "plain.nii.gz"):
        with Scratch() as scratch:
            volume = read(tmp_path / name, scratch)
            np.testing.assert_array_equal(volume.array, make.chest().hu)
            write_nifti(tmp_path / "out.nii.gz", volume, volume.array)
        np.testing.assert_array_equal(nib.load(tmp_path / "out.nii.gz").affine, nib.load(plain).affine)


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
def test_a_pair_of_files_is_a_volume(kind: type[nib.Nifti1Pair], make: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "pair"
    folder.mkdir()
    image = kind(make.chest().hu, make.affine_of())
    nib.save(image, folder / "ct.hdr")
    shutil.make_archive(str(tmp_path / "zipped"), "zip", folder)
    for path, name in ((folder / "ct.hdr", "ct"), (folder, "pair-ct"), (tmp_path / "zipped.zip", "zipped")):
        found = find_cases([path], recursive=False)
        (case,) = found.cases
        assert (case.name, case.kind, found.refused) == (name, "nifti", [])
        with Scratch() as scratch:
            volume = case.read(scratch)
            np.testing.assert_array_equal(volume.array, make.chest().hu)
            write_nifti(tmp_path / "out.nii", volume, volume.array)
        np.testing.assert_allclose(nib.load(tmp_path / "out.nii").affine, make.affine_of(), atol=1e-4)
    assert find_cases([folder / "ct.img"], recursive=False).refused == [
        f"{folder / 'ct.img'}: holds the voxels of ct.hdr; give that file"
    ]
    (folder / "ct.img").rename(tmp_path / "secret")
    (folder / "ct.img").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match=r"ct.hdr: its voxels should be in ct.img, a link to another folder; copy the"):
        open_file(folder / "ct.hdr")
    (folder / "ct.img").unlink()
    with pytest.raises(DataError, match=r"ct.hdr: its voxels should be in ct.img, which does not exist"):
        open_file(folder / "ct.hdr")


def test_analyze_and_other_files_called_hdr(make: ModuleType, tmp_path: Path) -> None:
    nib.save(nib.AnalyzeImage(make.chest().hu, np.eye(4)), tmp_path / "ct.img")
    with pytest.raises(DataError) as refused:
        open_file(tmp_path / "ct.hdr")
    assert str(refused.value) == (
        f"{tmp_path / 'ct.hdr'}: is Analyze, not NIfTI, and has no orientation; convert it to .nii"
    )
    (tmp_path / "other.hdr").write_text("ENVI\n")
    (said,) = find_cases([tmp_path / "other.hdr"], recursive=False).refused
    assert "other.hdr: is not a volume or a slice" in said


def test_a_packed_pair_is_a_volume(make: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "pair"
    folder.mkdir()
    nib.save(nib.Nifti1Pair(make.chest().hu, make.affine_of()), folder / "ct.hdr")
    for name in ("ct.hdr", "ct.img"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    shutil.make_archive(str(tmp_path / "zipped"), "zip", folder)
    for path, name in ((folder / "ct.hdr.gz", "ct"), (folder, "pair-ct"), (tmp_path / "zipped.zip", "zipped")):
        found = find_cases([path], recursive=False)
        assert [(case.name, case.kind) for case in found.cases] == [(name, "nifti")]
        assert found.refused == []
        with Scratch() as scratch:
            volume = found.cases[0].read(scratch)
            np.testing.assert_array_equal(volume.array, make.chest().hu)
            np.testing.assert_allclose(volume.affine, make.affine_of(), atol=1e-4)
    assert find_cases([folder / "ct.img.gz"], recursive=False).refused == [
        f"{folder / 'ct.img.gz'}: holds the voxels of ct.hdr.gz; give that file"
    ]
    cut = folder / "cut.hdr.gz"
    cut.write_bytes((folder / "ct.hdr.gz").read_bytes()[:60])
    (case,) = find_cases([cut], recursive=False).cases
    with Scratch() as scratch, pytest.raises(DataError, match=r"cut.hdr.gz: is not a NIfTI file that can be read"):
        case.read(scratch)

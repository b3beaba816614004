"""Label maps of every format, written by others."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import highdicom as hd
import numpy as np
import pytest
from pydicom.sr.codedict import codes

from lesionsplit.errors import DataError
from lesionsplit.io.cases import find_cases
from lesionsplit.io.label_maps import label_map, read_labels
from lesionsplit.io.names import safe, stem
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Volume, Voxels

SMALL = (24, 20, 6)


def segmentation(path: Path, volume: Volume, lungs: Voxels, *, overlapping: bool = False) -> Path:
    """Written with highdicom, without empty frames: a segment for each lung."""
    masks = np.stack([lungs == 1, lungs > 0 if overlapping else lungs == 2], axis=-1).transpose(2, 1, 0, 3)
    lung = codes.SCT.AnatomicalStructure, codes.SCT.Lung, "MANUAL"
    described = [hd.seg.SegmentDescription(number, f"lung {number}", *lung) for number in (1, 2)]
    made = hd.seg.Segmentation(
        list(volume.source.instances), np.ascontiguousarray(masks), "BINARY", described, hd.UID(), 1, hd.UID(), 1,
        "Maker", "Model", "1", "1", omit_empty_frames=True,
    )  # fmt: skip
    made.save_as(path)
    return path


def test_a_dicom_segmentation_is_a_label_map(make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path / "ct", SMALL)
    (case,) = find_cases([tmp_path / "ct"], recursive=False).cases
    lungs = make.chest(SMALL).lungs
    lungs[..., 3] = 0  # a gap, beside the outermost slices, which have no lung
    with Scratch() as scratch:
        volume = case.read(scratch)
        path = segmentation(tmp_path / "lungs.dcm", volume, lungs)
        labels = read_labels(path, volume, scratch)
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, lungs)


def test_a_segmentation_of_another_series_is_refused(make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path / "ct", SMALL)
    make.make_series(tmp_path / "other", SMALL, origin=(-190, -158, -405))
    one, other = find_cases([tmp_path / "ct", tmp_path / "other"], recursive=False).cases
    with Scratch() as scratch:
        path = segmentation(tmp_path / "lungs.dcm", one.read(scratch), make.chest(SMALL).lungs)
        with pytest.raises(DataError, match=r"lungs.dcm: is not on the grid of .*other; give a segmentation of"):
            read_labels(path, other.read(scratch), scratch)


def test_what_is_no_label_map_is_refused(make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(tmp_path / "ct", SMALL)
    (case,) = find_cases([tmp_path / "ct"], recursive=False).cases
    (tmp_path / "a.txt").write_text("hello")
    with Scratch() as scratch:
        volume = case.read(scratch)
        overlap = segmentation(tmp_path / "lungs.dcm", volume, make.chest(SMALL).lungs, overlapping=True)
        for path in (overlap, files[0]):
            with pytest.raises(DataError, match=r"dcm: is not a segmentation with one label per voxel"):
                read_labels(path, volume, scratch)
        for path in (tmp_path / "a.txt", tmp_path / "nothing", tmp_path):
            with pytest.raises(DataError, match=r"is not a label map; allowed: .nii, .*, or a DICOM segmentation"):
                read_labels(path, volume, scratch)


@pytest.mark.parametrize("name", ["lungs.nii.gz", "lungs.nrrd"])
def test_volume_files_are_label_maps(name: str, make: ModuleType, tmp_path: Path) -> None:
    lungs = make.chest(SMALL).lungs
    ct = make.make_nifti(tmp_path / "ct.nii", make.chest(SMALL).hu)
    path = (make.make_itk if name.endswith("nrrd") else make.make_nifti)(tmp_path / name, lungs)
    (case,) = find_cases([ct], recursive=False).cases
    with Scratch() as scratch:
        np.testing.assert_array_equal(read_labels(path, case.read(scratch), scratch), lungs)


@pytest.mark.parametrize("name", ["Größe 肺.nii.gz", "Gro\u0308\u00dfe 肺.nii.gz", "a b(1).nrrd"])
def test_a_label_map_of_the_name_of_the_scan_is_found(name: str, tmp_path: Path) -> None:
    assert label_map(tmp_path, safe(stem(name))) is None
    (tmp_path / name).touch()
    (tmp_path / "other.nii.gz").touch()
    assert label_map(tmp_path, safe(stem(name))) == tmp_path / name

"""Enhanced multi-frame CT is read frame by frame, as if each were a slice."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage, JPEGLSLossless, LegacyConvertedEnhancedCTImageStorage

from lesionsplit.errors import DataError
from lesionsplit.io.cases import find_cases
from lesionsplit.io.dicom.source import why_no_objects
from lesionsplit.volumes.intensity import ReadOptions
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Volume

SMALL = (24, 20, 8)


def group(**elements: Any) -> list[Dataset]:
    one = Dataset()
    for keyword, value in elements.items():
        setattr(one, keyword, value)
    return [one]


def enhanced(make: ModuleType, path: Path, hu: Any, order: list[int], *, shared: bool = True, **tags: Any) -> Path:
    """Write frames of slices of ``hu`` in an order, their rescale in the shared or in their own groups."""
    data = make.make_slice(hu[..., 0], ImagePositionPatient=None, ImageOrientationPatient=None, PixelSpacing=None)
    for keyword in ("SliceThickness", "RescaleSlope", "RescaleIntercept", "RescaleType", "AcquisitionNumber"):
        delattr(data, keyword)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    data.NumberOfFrames = len(order)
    common, own = Dataset(), []
    common.PlaneOrientationSequence = group(ImageOrientationPatient=list(make.AXIAL))
    common.PixelMeasuresSequence = group(PixelSpacing=[4.0, 4.0], SliceThickness=10.0)
    frames = []
    for number, k in enumerate(order):
        one = Dataset()
        one.PlanePositionSequence = group(ImagePositionPatient=[-190.0, -158.0, -400.0 + 10 * k])
        one.FrameContentSequence = group(FrameAcquisitionNumber=1)
        intercept = -1024 if shared else -1024 - number
        frames.append((hu[..., k].T - intercept).astype("<i2"))
        rescale = group(RescaleSlope=1, RescaleIntercept=intercept, RescaleType="HU")
        (common if shared else one).PixelValueTransformationSequence = rescale
        own.append(one)
    data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = [common], own
    data["PixelData"].value = np.stack(frames).tobytes()
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    written: Path = make.write_slice(path, data)
    return written


def read(path: Path, scratch: Scratch, **options: Any) -> Volume:
    found = find_cases([path], recursive=False)
    assert not found.refused
    (case,) = found.cases
    return case.read(scratch, ReadOptions(**options))


@pytest.mark.parametrize("shared", [True, False], ids=["shared rescale", "a rescale for each frame"])
@pytest.mark.parametrize(
    "order", [[0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0], [3, 0, 7, 1, 5, 2, 4, 6]], ids=str
)
def test_frames_are_slices(order: list[int], shared: bool, make: ModuleType, tmp_path: Path) -> None:
    hu = make.chest(SMALL).hu
    path = enhanced(make, tmp_path / "ct.dcm", hu, order, shared=shared)
    with Scratch() as scratch:
        volume = read(path, scratch)
        np.testing.assert_array_equal(volume.array, hu)
        np.testing.assert_allclose(volume.affine, make.affine_of())
        assert volume.source.notes == ()
        assert why_no_objects(volume).startswith("its slices are of SOP class 1.2.840.10008.5.1.4.1.1.2.1")


def test_packed_frames(make: ModuleType, tmp_path: Path) -> None:
    hu = make.chest(SMALL).hu
    path = enhanced(make, tmp_path / "ct.dcm", hu, [0, 2, 1, 3, 4, 5, 6, 7])
    data = pydicom.dcmread(path)
    data.compress(JPEGLSLossless, generate_instance_uid=False)
    make.write_slice(path, data)
    with Scratch() as scratch:
        np.testing.assert_array_equal(read(path, scratch).array, hu)


def test_frames_of_several_files_are_one_volume(make: ModuleType, tmp_path: Path) -> None:
    hu = make.chest(SMALL).hu
    enhanced(make, tmp_path / "ct" / "b.dcm", hu, [0, 1, 2], SOPClassUID=LegacyConvertedEnhancedCTImageStorage)
    enhanced(make, tmp_path / "ct" / "a.dcm", hu, [3, 4, 5, 6, 7], SOPClassUID=LegacyConvertedEnhancedCTImageStorage)
    with Scratch() as scratch:
        np.testing.assert_array_equal(read(tmp_path / "ct", scratch).array, hu)


def test_frames_of_two_phases_are_refused_and_one_is_taken_whole(make: ModuleType, tmp_path: Path) -> None:
    hu = make.chest(SMALL).hu
    both = np.concatenate([hu, hu + 30], axis=2).astype(np.int16)
    path = enhanced(make, tmp_path / "ct.dcm", both, list(range(16)))
    data = pydicom.dcmread(path)
    for number, one in enumerate(data.PerFrameFunctionalGroupsSequence):
        one.PlanePositionSequence[0].ImagePositionPatient[2] = -400.0 + 10 * (number % 8)
        one.FrameContentSequence[0].TemporalPositionIndex = number // 8 + 1
    make.write_slice(path, data)
    with Scratch() as scratch:
        with pytest.raises(DataError, match="8 and 8 slices that differ in TemporalPositionIndex"):
            read(path, scratch)
        np.testing.assert_array_equal(read(path, scratch, force=True).array, hu)


def test_frames_without_a_description_are_refused(make: ModuleType, tmp_path: Path) -> None:
    path = enhanced(make, tmp_path / "ct.dcm", make.chest(SMALL).hu, list(range(8)))
    data = pydicom.dcmread(path)
    del data.PerFrameFunctionalGroupsSequence[3]
    make.write_slice(path, data)
    with Scratch() as scratch, pytest.raises(DataError) as error:
        read(path, scratch)
    assert str(error.value) == f"{path}: has 8 frames but describes 7; export it again"


def test_frames_that_are_cut_short_are_refused(make: ModuleType, tmp_path: Path) -> None:
    path = enhanced(make, tmp_path / "ct.dcm", make.chest(SMALL).hu, list(range(8)))
    path.write_bytes(path.read_bytes()[:-1000])
    with Scratch() as scratch, pytest.raises(DataError, match="its pixels are truncated, 6680 of 7680 bytes"):
        read(path, scratch)

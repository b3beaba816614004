"""Small volumes for tests, in every format that is read: a chest drawn by hand, whose parts are known.

Tests get this module through the fixture ``make`` (tests/conftest.py): ``make.make_series(tmp_path / "ct")``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

Array = npt.NDArray[Any]

SHAPE = (96, 80, 24)
SPACING = (4.0, 4.0, 10.0)
"""Millimetres along columns, rows and slices: the chest is some 35 cm wide."""

ORIGIN = (-190.0, -158.0, -400.0)
"""LPS millimetres of the first voxel."""

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
"""ImageOrientationPatient: columns run to the patient's left, rows to the back."""

AIR, LUNG, GLASS, TISSUE, VESSEL, BONE = -1000, -850, -550, 40, 60, 400


class Chest(NamedTuple):
    """Columns run to the patient's left, rows to the back, slices to the head: all (I, J, K)."""

    hu: Array
    """int16."""

    lungs: Array
    """uint8: 1 in the right lung, 2 in the left; the airless outermost slices have none. Vessels and lesion count."""

    lesion: Array
    """bool: a ball of ground glass in the right lung."""


def chest(shape: tuple[int, int, int] = SHAPE, *, noise: float = 12.0, seed: int = 0, lesion: bool = True) -> Chest:
    """A body of soft tissue in air, a spine, two lungs with vessels, and ground glass in the right one."""
    i, j, k = (np.linspace(-1, 1, size).reshape(place) for size, place in zip(shape, _PLACES, strict=True))
    hu = np.full(shape, float(AIR))
    hu[np.broadcast_to((i / 0.92) ** 2 + (j / 0.8) ** 2 < 1, shape)] = TISSUE
    hu[np.broadcast_to(i**2 + (j - 0.55) ** 2 < 0.13**2, shape)] = BONE
    lungs = np.zeros(shape, np.uint8)
    for label, side in ((1, -1), (2, 1)):
        inside = ((i - side * 0.43) / 0.3) ** 2 + (j / 0.55) ** 2 + (np.maximum(abs(k), 1e-9) / 0.9) ** 4 < 1
        lungs[inside] = label
        hu[inside] = LUNG
        for angle in np.linspace(0, 2 * np.pi, 7)[:-1]:  # from the hilum outwards, up and down
            for t in np.linspace(0, 1, 4 * max(shape)):
                at = (side * (0.16 + 0.4 * t), 0.35 * t * np.cos(angle), 0.6 * t * np.sin(angle))
                voxel = tuple(round((a + 1) / 2 * (size - 1)) for a, size in zip(at, shape, strict=True))
                if inside[voxel]:
                    hu[voxel] = VESSEL
    ball = ((i + 0.45) / 0.14) ** 2 + ((j - 0.15) / 0.16) ** 2 + ((k - 0.1) / 0.3) ** 2 < 1
    glass = ball & (lungs == 1) & lesion
    hu[glass & (hu == LUNG)] = GLASS
    hu += np.random.default_rng(seed).normal(0, noise, shape) if noise else 0
    return Chest(np.clip(np.rint(hu), -1024, 3071).astype(np.int16), lungs, glass)


_PLACES = ((-1, 1, 1), (1, -1, 1), (1, 1, -1))


def affine_of(
    spacing: Sequence[float] = SPACING, origin: Sequence[float] = ORIGIN, orientation: Sequence[float] = AXIAL
) -> Array:
    """(4, 4): indices (column, row, slice, 1) to RAS+ millimetres of what `make_series` writes, by the standard."""
    along_columns, along_rows = np.array(orientation[:3]), np.array(orientation[3:])
    lps = np.eye(4)
    lps[:3, 0] = along_columns * spacing[0]
    lps[:3, 1] = along_rows * spacing[1]
    lps[:3, 2] = np.cross(along_columns, along_rows) * spacing[2]
    lps[:3, 3] = origin
    flip: Array = np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps
    return flip


def make_slice(
    hu: Array, *, position: Sequence[float] = ORIGIN, number: int = 1, spacing: Sequence[float] = SPACING, **tags: Any
) -> FileDataset:
    """A CT slice, (columns, rows) in HU, as a DICOM data set; ``tags`` replace its own, None takes one out."""
    patient, study, series = (str(tags.get(k, "1")) for k in ("PatientID", "StudyID", "SeriesNumber"))
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)  # type: ignore[arg-type]
    data.SOPClassUID = CTImageStorage
    data.SOPInstanceUID = generate_uid(entropy_srcs=[patient, study, series, str(number), str(list(position))])
    data.StudyInstanceUID = generate_uid(entropy_srcs=[patient, study])
    data.SeriesInstanceUID = generate_uid(entropy_srcs=[patient, study, series])
    data.FrameOfReferenceUID = generate_uid(entropy_srcs=[patient, study, "frame"])
    data.PatientName, data.PatientID = "Doe^Jane", "P-4711"
    data.PatientBirthDate, data.PatientSex = "19610203", "F"
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = "20200401"
    data.StudyTime = data.SeriesTime = data.AcquisitionTime = data.ContentTime = "101112"
    data.StudyID, data.AccessionNumber, data.ReferringPhysicianName = "1", "A-1", "Roe^Richard"
    data.Modality, data.Manufacturer, data.ImageType = "CT", "Maker", ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.SeriesNumber, data.AcquisitionNumber, data.InstanceNumber = 1, 1, number
    data.SeriesDescription, data.PatientPosition, data.PositionReferenceIndicator = "Lung 1.0", "HFS", ""
    data.Laterality, data.KVP = "", "120"
    data.ImagePositionPatient = [float(x) for x in position]
    data.ImageOrientationPatient = list(AXIAL)
    data.PixelSpacing = [spacing[1], spacing[0]]  # of rows (along j) first
    data.SliceThickness = spacing[2]
    data.Rows, data.Columns = hu.shape[1], hu.shape[0]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.RescaleSlope, data.RescaleIntercept, data.RescaleType = 1, -1024, "HU"
    stored = np.rint(hu.T.astype(np.float64) + 1024).astype("<i2")
    data.PixelData = stored.tobytes()
    data["PixelData"].VR = "OW"
    for name, value in tags.items():
        if value is not None:
            setattr(data, name, value)
        elif name in data:
            delattr(data, name)
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    return data


def make_series(
    folder: Path,
    shape: tuple[int, int, int] = SHAPE,
    *,
    hu: Array | None = None,
    spacing: Sequence[float] = SPACING,
    origin: Sequence[float] = ORIGIN,
    orientation: Sequence[float] = AXIAL,
    change: Callable[[int, FileDataset], None] | None = None,
    **tags: Any,
) -> list[Path]:
    """Write a DICOM series of a chest; the order of its file names is not that of its slices.

    Args:
        folder: is made.
        shape: columns, rows and slices of the chest, unless ``hu`` is given.
        hu: (columns, rows, slices).
        spacing: millimetres along columns, rows and slices.
        origin: ImagePositionPatient of the first slice.
        orientation: ImageOrientationPatient.
        change: called with a slice's index and data set before it is written.
        tags: DICOM keywords and values for every slice, as of `make_slice`.

    Returns:
        The files, in the order of the slices along the normal.
    """
    hu = chest(shape).hu if hu is None else hu
    folder.mkdir(parents=True, exist_ok=True)
    count = hu.shape[2]
    names = np.random.default_rng(count).permutation(count)
    normal = np.cross(orientation[:3], orientation[3:])
    paths = []
    for k in range(count):
        position = np.array(origin) + k * spacing[2] * normal
        data = make_slice(
            hu[..., k],
            position=position,
            number=count - k,
            spacing=spacing,
            **{"ImageOrientationPatient": list(orientation), **tags},
        )
        if change is not None:
            change(k, data)
        path = folder / f"IM{names[k]:04d}.dcm"
        write_slice(path, data)
        paths.append(path)
    return paths


def write_slice(path: Path, data: Dataset) -> Path:
    """Write a data set as a DICOM file, in the transfer syntax that its meta information names."""
    data.save_as(path, enforce_file_format=True)
    return path


def edit(path: Path, **tags: Any) -> Path:
    """Set tags of a DICOM file, None takes one out."""
    data = pydicom.dcmread(path)
    for name, value in tags.items():
        if value is not None:
            setattr(data, name, value)
        else:
            delattr(data, name)
    data.save_as(path)
    return path


def make_nifti(
    path: Path, hu: Array | None = None, *, affine: Array | None = None, codes: tuple[int, int] = (1, 1), **header: Any
) -> Path:
    """Write a NIfTI file of a chest on the grid that `make_series` has, in the array's own dtype.

    Args:
        path: .nii or .nii.gz.
        hu: any array that NIfTI holds.
        affine: (4, 4), to RAS+ millimetres.
        codes: of the sform and the qform.
        header: fields of the header and their values, set last.
    """
    hu = chest().hu if hu is None else hu
    affine = affine_of() if affine is None else affine
    image = nib.Nifti1Image(hu, affine, dtype=hu.dtype)
    image.set_sform(affine, codes[0])
    image.set_qform(affine, codes[1])
    for name, value in header.items():
        image.header[name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def make_itk(path: Path, hu: Array | None = None, *, affine: Array | None = None, compress: bool = False) -> Path:
    """Write an NRRD or MetaImage file of a chest with SimpleITK; ``affine`` is to RAS+ and not sheared."""
    import SimpleITK

    hu = chest().hu if hu is None else hu
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ (affine_of() if affine is None else affine)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(hu.T))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path), useCompression=compress)
    return path

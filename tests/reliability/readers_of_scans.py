"""Readers of scans, images and masks: what each is given, and what counts as a valid result."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from nibabel.filebasedimages import ImageFileError
from pydicom.uid import CTImageStorage

from lesionsplit.data.lung_slice import read_lung_slice
from lesionsplit.data.table import read_table
from lesionsplit.errors import DataError, LesionsplitError
from lesionsplit.images import read_grey, read_mask_file
from lesionsplit.io.cases import find_cases
from lesionsplit.io.label_maps import read_labels
from lesionsplit.lungs.user_mask import lungs_from_user_mask
from lesionsplit.pipeline.options import PredictOptions
from lesionsplit.pipeline.scan import read_image
from lesionsplit.volumes.intensity import ReadOptions
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import AIR, Volume

from .mutate import changed_csv, changed_header_lines
from .mutate_formats import changed_dicom, changed_nifti, changed_png, changed_zip
from .reader import Reader
from .seeds import (
    SHAPE,
    SPACING,
    SYNTAXES,
    Seed,
    files_of,
    image_files,
    make,
    packed_slice,
    phantom,
    real_seeds,
    zipped,
)
from .seeds import series as write_series

NOT_READ = (ValueError, TypeError, AttributeError, KeyError, RuntimeError, NotImplementedError, OSError, ImageFileError)
"""Where pydicom or nibabel refuses what we read, there is nothing to compare with."""


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="seed-") as folder:
        yield Path(folder)


def _one(path: Path, name: str = "") -> Seed:
    return Seed(name or path.name, path.name, {path.name: path.read_bytes()})


@cache
def slices() -> list[Seed]:
    """DICOM slices of every transfer syntax."""
    with _folder() as folder:
        found = [_one(packed_slice(folder / f"{syntax}.dcm", syntax)) for syntax in SYNTAXES]
    return found + [_one(path) for path in real_seeds() if path.suffix == ".dcm"]


@cache
def series() -> list[Seed]:
    """DICOM series, of which one slice is changed."""
    with _folder() as folder:
        files = files_of(write_series(folder / "ct"))
        odd = files_of(write_series(folder / "padded", PixelPaddingValue=-2000, RescaleSlope=0.5))
    names = sorted(files)
    return [Seed(f"slice {at}", names[at], files) for at in (0, 2)] + [Seed("padded", names[1], odd)]


@cache
def nifti() -> list[Seed]:
    """NIfTI files, plain and packed."""
    hu, affine = make().chest(SHAPE).hu, make().affine_of(SPACING)
    with _folder() as folder:
        return [
            _one(make().make_nifti(folder / "a.nii", hu, affine=affine)),
            _one(make().make_nifti(folder / "b.nii.gz", hu, affine=affine)),
            _one(make().make_nifti(folder / "c.nii", hu.astype(np.float32) + 0.25, affine=affine, codes=(0, 1))),
            _one(make().make_nifti(folder / "d.nii", hu, affine=affine, scl_slope=0.5, scl_inter=3)),
        ]


@cache
def itk() -> list[Seed]:
    """NRRD and MetaImage files, with the voxels inside or beside."""
    hu, affine = make().chest(SHAPE).hu, make().affine_of(SPACING)
    with _folder() as folder:
        one = [_one(make().make_itk(folder / f"a{end}", hu, affine=affine)) for end in (".nrrd", ".mha")]
        one += [
            _one(make().make_itk(folder / f"b{end}", hu, affine=affine, compress=True)) for end in (".nrrd", ".mha")
        ]
        two = []
        for end in (".mhd", ".nhdr"):
            path = make().make_itk(folder / end[1:] / f"c{end}", hu, affine=affine)
            two.append(Seed(f"c{end}", f"c{end}", files_of(path.parent)))
    return one + two


@cache
def archives() -> list[Seed]:
    """Archives of a series, a NIfTI file, and a header with its voxels."""
    with _folder() as folder:
        one = zipped(write_series(folder / "ct"), folder / "series.zip")
        make().make_nifti(folder / "v" / "v.nii.gz", make().chest(SHAPE).hu, affine=make().affine_of(SPACING))
        two = zipped(folder / "v", folder / "volume.zip")
        make().make_itk(folder / "m" / "v.mhd", make().chest(SHAPE).hu, affine=make().affine_of(SPACING))
        three = zipped(folder / "m", folder / "header.zip")
        return [_one(one), _one(two), _one(three)]


@cache
def images() -> list[Seed]:
    """Slices as image files."""
    with _folder() as folder:
        found = [_one(path) for path in image_files(folder / "i") if path.stem not in ("mask", "bit")]
    return found + [_one(path) for path in real_seeds() if path.suffix != ".dcm"]


@cache
def masks() -> list[Seed]:
    """Masks as image files, with the slice that they belong to."""
    with _folder() as folder:
        files = files_of(folder) if image_files(folder / "i") is None else files_of(folder / "i")
    return [Seed(name, name, {name: files[name], "eight.png": files["eight.png"]}) for name in ("mask.png", "bit.png")]


@cache
def label_maps() -> list[Seed]:
    """Lung masks of a volume, as NIfTI and NRRD, with the volume."""
    chest, affine = make().chest(SHAPE), make().affine_of(SPACING)
    with _folder() as folder:
        make().make_nifti(folder / "ct.nii", chest.hu, affine=affine)
        make().make_nifti(folder / "lungs.nii.gz", chest.lungs, affine=affine)
        make().make_itk(folder / "lungs.nrrd", chest.lungs, affine=affine)
        files = files_of(folder)
    return [Seed(name, name, {name: files[name], "ct.nii": files["ct.nii"]}) for name in files if name != "ct.nii"]


@cache
def tables() -> list[Seed]:
    """A data set, of which slices.csv is changed."""
    with _folder() as folder:
        return [Seed("slices.csv", "slices.csv", files_of(phantom(folder / "p")))]


def wrong_volume(volume: Volume) -> str:
    """What is wrong with a volume that was read; empty if nothing is."""
    if not np.isfinite(volume.array).all() or volume.array.size == 0:
        return "voxels that are not numbers"
    if not np.isfinite(volume.affine).all() or not volume.voxel_ml > 0:
        return "an affine that cannot be"
    if volume.array.dtype not in (np.int16, np.float32):
        return f"voxels of {volume.array.dtype}"
    if any("\n" in note for note in volume.source.notes):
        return "a note of several lines"
    return ""


def read_scan(path: Path) -> str:
    """Find and read what a path holds, then once more with ``--force`` if it was refused."""
    try:
        return _read(path, force=False)
    except LesionsplitError as refused:
        try:
            wrong = _read(path, force=True)
        except LesionsplitError:
            raise refused from None
        if wrong:
            return f"with --force: {wrong}"
        raise


def _read(path: Path, *, force: bool) -> str:
    found = find_cases([path], recursive=False)
    if not found.cases:
        if found.images:
            return ""
        if not found.refused:
            return "nothing found and nothing said"
        raise DataError(found.refused[0])
    with Scratch() as scratch:
        volume = found.cases[0].read(scratch, ReadOptions(force=force))
        wrong = wrong_volume(volume)
        with suppress(*NOT_READ):
            if not wrong and not force and path.is_dir():
                wrong = _differs_from_pydicom(volume, path)
            if not wrong and path.suffix in (".nii", ".gz"):
                wrong = _differs_from_nibabel(volume, path)
    return wrong


def _differs_from_pydicom(volume: Volume, folder: Path) -> str:
    """Whether a series that was read without ``--force`` is not all of its slices, as pydicom reads them."""
    if volume.source.notes:
        return ""
    stored = []
    for file in sorted(folder.iterdir()):
        data = pydicom.dcmread(file, force=True)
        if data.get("SOPClassUID", CTImageStorage) != CTImageStorage:
            return "a file was left out without a note"
        if "PixelPaddingValue" in data or "PixelPaddingRangeLimit" in data:
            return ""
        hu = data.pixel_array.astype(np.float64) * float(data.RescaleSlope) + float(data.RescaleIntercept)
        normal = np.cross(data.ImageOrientationPatient[:3], data.ImageOrientationPatient[3:])
        stored.append((float(normal @ np.array(data.ImagePositionPatient, float)), hu.T))
    stored.sort(key=lambda one: one[0])
    if len(stored) != volume.shape[2]:
        return f"{volume.shape[2]} of {len(stored)} slices without a note"
    expected = np.maximum(np.stack([hu for _, hu in stored], axis=2), AIR)
    found = np.maximum(volume.array, AIR)
    return "" if np.allclose(found, expected, atol=1e-2, rtol=1e-5) else "other voxels than pydicom reads"


def _differs_from_nibabel(volume: Volume, path: Path) -> str:
    """Whether a NIfTI file was read otherwise than nibabel reads it."""
    image = nib.load(path)
    values = np.squeeze(np.asarray(image.dataobj, np.float64))
    if values.shape != tuple(np.squeeze(volume.array).shape):
        return "another shape than nibabel reads"
    expected = np.maximum(np.nan_to_num(values, nan=AIR, posinf=AIR, neginf=AIR), AIR)
    found = np.maximum(np.squeeze(np.asarray(volume.array, np.float64)), AIR)
    if np.abs(expected).max() > 1e9 or np.allclose(found, expected, atol=1e-2, rtol=1e-5):
        return ""
    return "other voxels than nibabel reads"


def _read_series(path: Path) -> str:
    return read_scan(path.parent)


def _read_image(path: Path) -> str:
    problems = []
    for options in (PredictOptions(), PredictOptions(intensity="8-bit")):
        try:
            grey = read_grey(path)
            one = read_lung_slice(path).grey if options.intensity == "auto" else read_image(path, options).image
            if one.dtype not in (np.uint8, np.uint16) or one.ndim != 2 or not one.size or one.shape != grey.shape:
                return "not a grey slice"
        except LesionsplitError as error:  # noqa: PERF203
            problems.append(error)
    if len(problems) == 2:
        raise problems[0]
    return ""


def _read_mask(path: Path) -> str:
    mask = read_mask_file(path, "lung")
    seen = read_lung_slice(path.parent / "eight.png", path)
    return "" if mask.dtype == bool and np.array_equal(seen.lungs, mask) else "not the mask of the slice"


def _read_label_map(path: Path) -> str:
    with Scratch() as scratch:
        volume = find_cases([path.parent / "ct.nii"], recursive=False).cases[0].read(scratch)
        labels = read_labels(path, volume, scratch)
        lungs = lungs_from_user_mask(volume, labels, scratch)
        fits = labels.shape == volume.shape and labels.dtype.kind == "u" and lungs.labels.max() <= 2
    return "" if fits else "labels off the grid"


def _read_table(path: Path) -> str:
    table = read_table(path.parent)
    rows = list(table)
    fine = all(row.label in ("normal", "lesion") and row.split and row.image.is_file() for row in rows)
    return "" if fine and rows else "rows that are no slices"


SCANS = (
    Reader("DICOM slice", slices, read_scan, changed_dicom),
    Reader("DICOM series", series, _read_series, changed_dicom),
    Reader("NIfTI", nifti, read_scan, changed_nifti),
    Reader("NRRD and MetaImage", itk, read_scan, changed_header_lines),
    Reader("zip archive", archives, read_scan, changed_zip),
    Reader("slice as image", images, _read_image, changed_png),
    Reader("mask as image", masks, _read_mask, changed_png),
    Reader("label map", label_maps, _read_label_map, changed_nifti),
    Reader("data table", tables, _read_table, changed_csv),
)

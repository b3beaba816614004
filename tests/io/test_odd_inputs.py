"""What is broken, mistaken or odd, and the one line that a user sees of it; P is the folder that it is in."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import gdcm
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
import SimpleITK
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import JPEGLSLossless, MRImageStorage, SecondaryCaptureImageStorage

from lesionsplit.errors import DataError
from lesionsplit.io.cases import find_cases
from lesionsplit.volumes.intensity import ReadOptions
from lesionsplit.volumes.scratch import Scratch

SMALL = (24, 20, 6)

RESAMPLED = (
    " | its 5 slices were resampled to 6, 10 mm apart: 1 slice is missing: they are 10 mm apart, but none is between "
    "-390.0 and -370.0 mm | no DICOM objects are written of it: its slices were resampled"
)
"""Notes of a series whose third slice is missing."""

Make = ModuleType
Build = Callable[[Make, Path], Path]


class Odd(NamedTuple):
    build: Build
    line: str
    forced: str


ODD: list[Any] = []


def odd(line: str, forced: str = "") -> Callable[[Build], Build]:
    """An input, the line it is refused with, and where it can be forced the notes, or another line."""

    def add(build: Build) -> Build:
        ODD.append(pytest.param(Odd(build, line, forced), id=build.__name__))
        return build

    return add


def said_of(path: Path, below: Path, **options: Any) -> str:
    """The line an input is refused with; or, if it is read, its notes."""
    try:
        found = find_cases([path], recursive=False)
        if found.refused:
            assert not found.cases
            said = found.refused[0]
        else:
            (case,) = found.cases
            with Scratch() as scratch:
                said = " | ".join(("read", *case.read(scratch, ReadOptions(**options)).source.notes))
    except DataError as error:
        said = str(error)
    assert "\n" not in said
    return said.replace(str(below), "P")


def series(make: Make, path: Path, **options: Any) -> Path:
    make.make_series(path / "ct", **{"hu": make.chest(SMALL).hu, **options})
    return path / "ct"


def third_slice(make: Make, path: Path, **options: Any) -> tuple[Path, Path]:
    """A series' folder, and the file of its third slice from below."""
    files = make.make_series(path / "ct", hu=make.chest(SMALL).hu, **options)
    return path / "ct", files[2]


def nifti(make: Make, path: Path, hu: npt.NDArray[Any] | None = None, name: str = "ct.nii", **options: Any) -> Path:
    made: Path = make.make_nifti(path / name, make.chest(SMALL).hu if hu is None else hu, **options)
    return made


def cut(path: Path, share: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def patched(path: Path, at: int, content: bytes) -> Path:
    data = bytearray(path.read_bytes())
    data[at : at + len(content)] = content
    path.write_bytes(data)
    return path


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@odd(
    "P/nothing: no such file or folder",
)
def missing(make: Make, path: Path) -> Path:
    return path / "nothing"


@odd(
    "P/empty: holds nothing readable; allowed: DICOM, .nii, .nii.gz, .nrrd, .nhdr, .mha, "
    ".mhd, .png, .jpg, .jpeg, .tif, .tiff, a folder or a .zip of them",
)
def empty_folder(make: Make, path: Path) -> Path:
    (path / "empty").mkdir()
    return path / "empty"


@odd(
    "P/a.txt: is not a volume or a slice; allowed: DICOM, .nii, .nii.gz, .nrrd, .nhdr, .mha, "
    ".mhd, .png, .jpg, .jpeg, .tif, .tiff, a folder or a .zip of them",
)
def text(make: Make, path: Path) -> Path:
    (path / "a.txt").write_text("hello")
    return path / "a.txt"


@odd(
    "P/Lungë Größe 肺.xyz: is not a volume or a slice; allowed: DICOM, .nii, .nii.gz, .nrrd, "
    ".nhdr, .mha, .mhd, .png, .jpg, .jpeg, .tif, .tiff, a folder or a .zip of them",
)
def non_ascii_name_of_nothing_readable(make: Make, path: Path) -> Path:
    (path / "Lungë Größe 肺.xyz").write_text("hello")
    return path / "Lungë Größe 肺.xyz"


@odd(
    "P/a.dcm: is not DICOM despite its name; is it complete?",
)
def picture_called_dicom(make: Make, path: Path) -> Path:
    (path / "a.dcm").write_bytes(b"\xff\xd8\xff\xe0" + b"JFIF" * 100)
    return path / "a.dcm"


@odd(
    "P/a.dcm: is not DICOM despite its name; is it complete?",
)
def empty_dicom(make: Make, path: Path) -> Path:
    (path / "a.dcm").touch()
    return path / "a.dcm"


@odd(
    "P/ct/IM0000.dcm: is not DICOM despite its name; is it complete? Remove it, or use --force to leave it out",
    "read | left out because broken: 1 of 6 files" + RESAMPLED,
)
def one_broken_file_among_many(make: Make, path: Path) -> Path:
    folder, third = third_slice(make, path)
    third.write_bytes(b"x" * 500)
    return folder


@odd(
    "P/ct/IM0000.dcm: ends inside its header; is it complete? Remove it, or use --force to leave it out",
    "read | left out because broken: 1 of 6 files" + RESAMPLED,
)
def a_header_cut_short(make: Make, path: Path) -> Path:
    folder, third = third_slice(make, path)
    patched(third, 0, b"")
    third.write_bytes(third.read_bytes()[:700])
    return folder


@odd(
    "P/ct/IM0000.dcm: ends inside its header; is it complete? Remove it, or use --force to leave it out",
    "read | left out because broken: 1 of 6 files" + RESAMPLED,
)
def meta_information_cut_short(make: Make, path: Path) -> Path:
    folder, third = third_slice(make, path)
    third.write_bytes(third.read_bytes()[:180])
    return folder


@odd(
    "P/ct/IM0000.dcm: its pixels are truncated, 660 of 960 bytes; copy the file again",
)
def pixels_cut_short(make: Make, path: Path) -> Path:
    folder, third = third_slice(make, path)
    third.write_bytes(third.read_bytes()[:-300])
    return folder


@odd(
    "P/ct/IM0000.dcm: ends inside its header; is it complete? Remove it, or use --force to leave it out",
    "read | left out because broken: 1 of 6 files" + RESAMPLED,
)
def no_pixels(make: Make, path: Path) -> Path:
    folder, third = third_slice(make, path)
    make.edit(third, PixelData=None)
    return folder


@odd(
    "read | its 6 slices have 2 different values of SeriesInstanceUID: they were read as one volume",
)
def no_series(make: Make, path: Path) -> Path:
    folder, third = third_slice(make, path)
    make.edit(third, SeriesInstanceUID=None)
    return folder


@odd(
    'P/ct: holds 2 series of 2 patients: 1 "Lung 1.0" from ct/IM0000.dcm (6 slices), 1 "Lung 1.0" from '
    "ct/other-IM0000.dcm (6 slices); give the files of one of them, or use --recursive to read each as a case",
)
def two_patients_in_a_folder(make: Make, path: Path) -> Path:
    other = series(make, path / "other", PatientID="P-0815", PatientName="Roe^Anna")
    folder = series(make, path)
    for file in sorted(other.iterdir()):
        file.rename(folder / f"other-{file.name}")
    return folder


@odd(
    "P/ct: the series has slices of several patients; export it again",
)
def two_patients_in_a_series(make: Make, path: Path) -> Path:
    folder, third = third_slice(make, path)
    make.edit(third, PatientID="P-0815")
    return folder


@odd(
    'P/study: holds 2 series: 1 "Lung 1.0" (6 slices), 2 "Body 5.0" (6 slices); give one of them, or use '
    "--recursive to read each as a case",
)
def two_series_below_a_folder(make: Make, path: Path) -> Path:
    series(make, path / "study" / "1")
    series(make, path / "study" / "2", SeriesNumber=2, SeriesDescription="Body 5.0")
    return path / "study"


@odd(
    "P/ct: 1 slice is missing: they are 10 mm apart, but none is between -390.0 and -370.0 mm; give the "
    "complete series, or use --force to resample its 5 slices to 6, 10 mm apart",
    "read" + RESAMPLED,
)
def a_slice_missing(make: Make, path: Path) -> Path:
    folder, third = third_slice(make, path)
    third.unlink()
    return folder


@odd(
    "P/ct: its slices are unevenly spaced, 8 to 12 mm apart; give the complete series, or use --force to "
    "resample its 6 slices to 6, 10 mm apart",
    "read | its 6 slices were resampled to 6, 10 mm apart: its slices are unevenly spaced, 8 to 12 mm apart | "
    "no DICOM objects are written of it: its slices were resampled",
)
def uneven_steps(make: Make, path: Path) -> Path:
    folder, third = third_slice(make, path)
    make.edit(third, ImagePositionPatient=[-190.0, -158.0, -378.0])
    return folder


@odd(
    "P/ct: its slices are shifted against each other by up to 10 mm; give the complete series, or --force "
    "treats its 6 slices as straight",
    "read | slices were treated as straight: its slices are shifted against each other by up to 10 mm",
)
def shifted_sideways(make: Make, path: Path) -> Path:
    folder, third = third_slice(make, path)
    make.edit(third, ImagePositionPatient=[-180.0, -158.0, -380.0])
    return folder


@odd(
    "P/ct: at 1 of 6 positions there are several different slices, for example IM0000.dcm and twin.dcm; give "
    "one acquisition, or use --force to read the first slice at each position",
    "read | at 1 of 6 positions there are several different slices, for example IM0000.dcm and twin.dcm: the "
    "first was read",
)
def two_different_slices_at_a_place(make: Make, path: Path) -> Path:
    folder, third = third_slice(make, path)
    twin = pydicom.dcmread(third)
    twin.SOPInstanceUID, twin.AcquisitionNumber = "1.2.3.4", 2
    twin["PixelData"].value = bytes(len(twin.PixelData))
    twin.save_as(folder / "twin.dcm")
    return folder


@odd(
    "P/ct: its 6 slices differ: 5 of 24 x 20 pixels of 4 x 4 mm along 1 \\ 0 \\ 0 \\ 0 \\ 1 \\ 0; 1 of 24 x "
    "20 pixels of 4 x 4 mm along 0 \\ 1 \\ 0 \\ 0 \\ 0 \\ -1; give slices of one kind, or use --force to "
    "read the 5",
    "read | 5 of 6 slices were read, those of one kind: 5 of 24 x 20 pixels of 4 x 4 mm along 1 \\ 0 \\ 0 "
    "\\ 0 \\ 1 \\ 0; 1 of 24 x 20 pixels of 4 x 4 mm along 0 \\ 1 \\ 0 \\ 0 \\ 0 \\ -1" + RESAMPLED,
)
def another_orientation(make: Make, path: Path) -> Path:
    folder, third = third_slice(make, path)
    make.edit(third, ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    return folder


@odd(
    "P/ct: its 6 slices differ: 5 of 24 x 20 pixels of 4 x 4 mm along 1 \\ 0 \\ 0 \\ 0 \\ 1 \\ 0; 1 of 12 x "
    "20 pixels of 4 x 4 mm along 1 \\ 0 \\ 0 \\ 0 \\ 1 \\ 0; give slices of one kind, or use --force to read "
    "the 5",
    "read | 5 of 6 slices were read, those of one kind: 5 of 24 x 20 pixels of 4 x 4 mm along 1 \\ 0 \\ 0 "
    "\\ 0 \\ 1 \\ 0; 1 of 12 x 20 pixels of 4 x 4 mm along 1 \\ 0 \\ 0 \\ 0 \\ 1 \\ 0" + RESAMPLED,
)
def another_size(make: Make, path: Path) -> Path:
    folder, third = third_slice(make, path)
    hu = make.chest((12, 20, 6)).hu[..., 2]
    make.write_slice(third, make.make_slice(hu, position=(-190.0, -158.0, -380.0), number=3))
    return folder


@odd(
    "read | its 6 slices have 2 different values of FrameOfReferenceUID: they were read as one volume",
)
def another_frame_of_reference(make: Make, path: Path) -> Path:
    folder, third = third_slice(make, path)
    make.edit(third, FrameOfReferenceUID="1.2.3")
    return folder


@odd(
    "P/ct/IM0000.dcm: has no position (missing ImagePositionPatient); export it again",
)
def no_position(make: Make, path: Path) -> Path:
    return series(make, path, ImagePositionPatient=None)


@odd(
    "P/ct/IM0000.dcm: has no position (missing ImagePositionPatient); export it again",
)
def an_empty_position(make: Make, path: Path) -> Path:
    return series(make, path, ImagePositionPatient=[])


@odd(
    "P/ct/IM0000.dcm: has no position (missing ImageOrientationPatient, PixelSpacing); export it again",
)
def no_orientation_no_spacing(make: Make, path: Path) -> Path:
    return series(make, path, ImageOrientationPatient=None, PixelSpacing=None)


@odd(
    "P/ct/IM0000.dcm: its ImageOrientationPatient is not two perpendicular directions; correct the header",
)
def directions_that_are_one(make: Make, path: Path) -> Path:
    return series(make, path, orientation=(1, 0, 0, 1, 0, 0))


@odd(
    "P/ct/IM0000.dcm: has pixels of 0 x 0 mm; correct the header",
)
def no_space_between_pixels(make: Make, path: Path) -> Path:
    return series(make, path, PixelSpacing=[0, 0])


@odd(
    "P/ct/IM0002.dcm: has no rescale to HU (RescaleSlope, RescaleIntercept); --force reads its values as HU",
    "read | the headers have no rescale to HU: the values were read as HU",
)
def no_rescale(make: Make, path: Path) -> Path:
    def in_hu(k: int, data: pydicom.Dataset) -> None:
        data["PixelData"].value = np.ascontiguousarray(make.chest(SMALL).hu[..., k].T).tobytes()
        del data.RescaleSlope

    return series(make, path, change=in_hu)


@odd(
    "P/ct/IM0002.dcm: has no rescale to HU (RescaleSlope, RescaleIntercept); --force reads its values as HU",
    "P/ct: values are from 0 to 1450, none below 0: not HU (air -1000, water 0), perhaps stored values "
    "before rescaling; convert them to HU; --intensity hu reads the values as HU anyway",
)
def no_rescale_of_values_that_need_it(make: Make, path: Path) -> Path:
    return series(make, path, RescaleIntercept=None)


@odd(
    "P/ct: holds no CT slices but: 6 x localiser; give a CT series with one file per slice, or NIfTI",
)
def only_localisers(make: Make, path: Path) -> Path:
    return series(make, path, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])


@odd(
    "P/ct: its images are projections of many slices (MIP), not slices; give the original slices, or use "
    "--force to continue",
    "read | its images are projections of many slices (MIP), not slices",
)
def projections(make: Make, path: Path) -> Path:
    return series(make, path, ImageType=["DERIVED", "SECONDARY", "MIP"])


@odd(
    "P/ct: holds no CT slices but: 6 x MR; give a CT series with one file per slice, or NIfTI",
)
def mr(make: Make, path: Path) -> Path:
    return series(make, path, SOPClassUID=MRImageStorage, Modality="MR")


@odd(
    "P/ct: holds no CT slices but: 6 x Secondary Capture; give a CT series with one file per slice, or NIfTI",
)
def screenshots(make: Make, path: Path) -> Path:
    return series(make, path, SOPClassUID=SecondaryCaptureImageStorage)


@odd(
    "P/ct/IM0000.dcm: has 3 frames; give a series with one file per slice, or NIfTI",
)
def several_frames(make: Make, path: Path) -> Path:
    return series(make, path, NumberOfFrames=3)


@odd(
    "P/ct/IM0000.dcm: is RGB; a CT is MONOCHROME2",
)
def dicom_in_colour(make: Make, path: Path) -> Path:
    return series(make, path, PhotometricInterpretation="RGB", SamplesPerPixel=3)


@odd(
    "P/ct/IM0000.dcm: is PALETTE COLOR; a CT is MONOCHROME2",
)
def dicom_with_a_palette(make: Make, path: Path) -> Path:
    return series(make, path, PhotometricInterpretation="PALETTE COLOR")


@odd(
    "P/ct/IM0000.dcm: has an unknown transfer syntax, '1.2.840.10008.1.2.9'; is it complete? "
    "Remove it, or use --force to leave it out",
    "read | left out because broken: 1 of 6 files" + RESAMPLED,
)
def an_unknown_transfer_syntax(make: Make, path: Path) -> Path:
    folder, third = third_slice(make, path)
    known, unknown = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"
    third.write_bytes(third.read_bytes().replace(known, unknown))
    return folder


@odd(
    "P/ct/IM0000.dcm: its pixels cannot be decoded (pyjpegls: Decoding error: Invalid JPEG-LS "
    "stream, the encoded bit stream contains a general structural problem); is the file complete?",
)
def packed_pixels_cut_short(make: Make, path: Path) -> Path:
    folder, third = third_slice(
        make, path, change=lambda _, data: data.compress(JPEGLSLossless, generate_instance_uid=False)
    )
    data = pydicom.dcmread(third)
    frame = get_frame(data.PixelData, 0, number_of_frames=1)
    data["PixelData"].value = encapsulate([frame[: len(frame) // 2]])
    data.save_as(third)
    return folder


@odd(
    "P/ct/IM0000.dcm: its pixels cannot be decoded (its JPEG data have 21 x 24 pixels of 1 x 16 bits, not 20 "
    "x 24 of 16); is the file complete?",
)
def a_jpeg_of_another_size(make: Make, path: Path) -> Path:
    _, third = third_slice(make, path)
    reader, writer, change = gdcm.ImageReader(), gdcm.ImageWriter(), gdcm.ImageChangeTransferSyntax()
    reader.SetFileName(str(third))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(third))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    content = third.read_bytes()
    at = content.index(b"\xff\xc3")
    return patched(third, at + 5, b"\x00\x15").parent


@odd(
    "P/ct/IM0000.dcm: its pixels cannot be decoded (its JPEG data are broken); is the file complete?",
)
def a_jpeg_cut_short(make: Make, path: Path) -> Path:
    folder = a_jpeg_of_another_size(make, path)
    (third,) = (file for file in folder.iterdir() if pydicom.dcmread(file).file_meta.TransferSyntaxUID.is_compressed)
    data = pydicom.dcmread(third)
    frame = get_frame(data.PixelData, 0, number_of_frames=1)
    data["PixelData"].value = encapsulate([frame[: len(frame) // 2]])
    data.save_as(third)
    return folder


@odd(
    "P/ct: values are from -426 to 1024, 59% of them above 500: inverted, or not HU (air -1000, water 0); "
    "convert them to HU; --intensity hu reads the values as HU anyway",
)
def inverted_dicom(make: Make, path: Path) -> Path:
    return series(make, path, hu=-make.chest(SMALL).hu)


@odd(
    "P/ct: every voxel is 0; give a chest CT",
)
def constant_dicom(make: Make, path: Path) -> Path:
    return series(make, path, hu=np.zeros(SMALL, np.int16))


@odd(
    "P/ct: values are from 0 to 1450, none below 0: not HU (air -1000, water 0), perhaps stored values "
    "before rescaling; convert them to HU; --intensity hu reads the values as HU anyway",
)
def dicom_that_was_not_rescaled(make: Make, path: Path) -> Path:
    return series(make, path, RescaleIntercept=0)


@odd(
    "P/ct: its voxels are 4 x 4 x 400 mm; allowed: 0.02 to 100 mm a side; correct the header, or use --force "
    "to continue",
    "read",
)
def slices_far_apart(make: Make, path: Path) -> Path:
    return series(make, path, spacing=(4.0, 4.0, 400.0))


@odd(
    "P/a.nii: is not a NIfTI file that can be read (it has no header of NIfTI); is it complete?",
)
def nifti_of_text(make: Make, path: Path) -> Path:
    (path / "a.nii").write_text("hello" * 200)
    return path / "a.nii"


@odd(
    "P/a.nii: is not a NIfTI file that can be read (it is empty); is it complete?",
)
def empty_nifti(make: Make, path: Path) -> Path:
    (path / "a.nii").touch()
    return path / "a.nii"


@odd(
    "P/a.nii.gz: is not a NIfTI file that can be read (it has no header of NIfTI); is it complete?",
)
def packed_nifti_that_is_not_packed(make: Make, path: Path) -> Path:
    (path / "a.nii.gz").write_text("hello" * 200)
    return path / "a.nii.gz"


@odd(
    "P/ct.nii: its header declares 24 x 20 x 6 voxels, 5760 bytes, but the file has 3056; is it complete?",
)
def nifti_cut_short(make: Make, path: Path) -> Path:
    return cut(nifti(make, path), 0.5)


@odd(
    "P/ct.nii.gz: is broken at slice 4 of 6 (Compressed file ended before the end-of-stream marker was reached)",
)
def packed_nifti_cut_short(make: Make, path: Path) -> Path:
    return cut(nifti(make, path, name="ct.nii.gz"), 0.67)


LIE = np.array([1024, 1024, 1536], "<i2").tobytes()


@odd(
    "P/ct.nii: its header declares 1024 x 1024 x 1536 voxels, 3221225472 bytes, but the file has 6112; is it complete?",
)
def nifti_that_promises_3_gb(make: Make, path: Path) -> Path:
    return patched(nifti(make, path), 42, LIE)


@odd(
    "P/ct.nii.gz: its header declares 1024 x 1024 x 1536 voxels, 3221225472 bytes, but the file has 3546; is it "
    "complete?",
)
def packed_nifti_that_promises_3_gb(make: Make, path: Path) -> Path:
    plain = patched(nifti(make, path), 42, LIE)
    (path / "ct.nii.gz").write_bytes(gzip.compress(plain.read_bytes()))
    return path / "ct.nii.gz"


@odd(
    "P/ct.nii.gz: is broken at slice 7 of 9 (Whoops, not enough data in file)",
)
def packed_nifti_that_promises_too_much(make: Make, path: Path) -> Path:
    plain = patched(nifti(make, path), 42, np.array([24, 20, 9], "<i2").tobytes())
    (path / "ct.nii.gz").write_bytes(gzip.compress(plain.read_bytes()))
    return path / "ct.nii.gz"


@odd(
    "P/ct.nii: is 4-dimensional (24 x 20 x 6 x 2); give one volume, of 3 dimensions",
)
def nifti_of_four_dimensions(make: Make, path: Path) -> Path:
    return nifti(make, path, np.stack([make.chest(SMALL).hu] * 2, axis=3))


@odd(
    "P/ct.nii: is 1-dimensional (9); give one volume, of 3 dimensions",
)
def nifti_of_one_dimension(make: Make, path: Path) -> Path:
    return nifti(make, path, np.arange(9, dtype=np.int16))


@odd(
    "P/ct.nii: is in colour; a CT has one value per voxel",
)
def nifti_in_colour(make: Make, path: Path) -> Path:
    return nifti(make, path, np.zeros(SMALL, [("R", "u1"), ("G", "u1"), ("B", "u1")]))


@odd(
    "P/ct.nii: has values of type complex64; allowed: integers and floats",
)
def complex_nifti(make: Make, path: Path) -> Path:
    return nifti(make, path, make.chest(SMALL).hu.astype(np.complex64))


@odd(
    "P/ct.nii: 4 voxels are not numbers (NaN or infinite); repair the file, or use --force to replace them "
    "with air (-1024)",
    "read | 4 voxels that are not numbers were replaced with air (-1024)",
)
def not_numbers(make: Make, path: Path) -> Path:
    hu = make.chest(SMALL).hu.astype(np.float32)
    hu[0, 0, :3], hu[1, 1, 1] = np.nan, np.inf
    return nifti(make, path, hu)


@odd(
    "P/ct.nii: every voxel is -1000; give a chest CT",
)
def constant(make: Make, path: Path) -> Path:
    return nifti(make, path, np.full(SMALL, -1000, np.int16))


@odd(
    "P/ct.nii: values are from -426 to 1024, 59% of them above 500: inverted, or not HU (air -1000, water "
    "0); convert them to HU; --intensity hu reads the values as HU anyway",
)
def inverted(make: Make, path: Path) -> Path:
    return nifti(make, path, -make.chest(SMALL).hu)


@odd(
    "P/ct.nii: values are from 0 to 237, not HU; --intensity 8-bit reads them as grey, --intensity hu reads "
    "the values as HU anyway",
)
def grey_of_8_bit(make: Make, path: Path) -> Path:
    return nifti(make, path, np.clip((make.chest(SMALL).hu.astype(int) + 1000) // 6, 0, 255).astype(np.uint8))


@odd(
    "P/ct.nii: values are from 0 to 1, not HU; --intensity 8-bit reads them as grey, --intensity hu reads "
    "the values as HU anyway",
)
def values_from_0_to_1(make: Make, path: Path) -> Path:
    return nifti(make, path, np.clip((make.chest(SMALL).hu + np.float32(1000)) / 1400, 0, 1))


@odd(
    "P/ct.nii: values are from 0 to 1450, none below 0: not HU (air -1000, water 0), perhaps stored values "
    "before rescaling; convert them to HU; --intensity hu reads the values as HU anyway",
)
def stored_values(make: Make, path: Path) -> Path:
    return nifti(make, path, (make.chest(SMALL).hu.astype(int) + 1024).astype(np.uint16))


@odd(
    "P/ct.nii: values are from -300 to 426, without air below -500: not HU (air -1000, water 0), or without "
    "lung; convert them to HU; --intensity hu reads the values as HU anyway",
)
def no_air(make: Make, path: Path) -> Path:
    return nifti(make, path, np.maximum(make.chest(SMALL).hu, -300))


@odd(
    "P/ct.nii: values are from -102400 to 42600, but HU are below 32000; convert them to HU; --intensity hu "
    "reads the values as HU anyway",
)
def absurd_values(make: Make, path: Path) -> Path:
    return nifti(make, path, make.chest(SMALL).hu * np.float32(100))


@odd(
    "P/ct.nii: its voxels of 4 x 4 x 10 mm are flat (two axes are parallel); correct the header",
)
def flat_voxels(make: Make, path: Path) -> Path:
    affine = make.affine_of()
    affine[:3, 1] = affine[:3, 0]
    return nifti(make, path, affine=affine, codes=(1, 0))


@odd(
    "P/ct.nii: its affine has values that are not numbers; correct the header",
)
def a_place_that_is_no_number(make: Make, path: Path) -> Path:
    return patched(nifti(make, path), 280, np.array([np.nan], "<f4").tobytes())


@odd(
    "P/ct.nii: its voxels are 0.004 x 0.004 x 0.01 mm; allowed: 0.02 to 100 mm a side; correct the header, "
    "or use --force to continue",
    "read",
)
def metres_that_are_not_said(make: Make, path: Path) -> Path:
    return nifti(make, path, affine=np.diag([1e-3, 1e-3, 1e-3, 1]) @ make.affine_of())


@odd(
    "P/d: holds 2 volume files: ct.nii, lungs.nii.gz; give one of them, or use --recursive to read each as a case",
)
def two_volumes_in_a_folder(make: Make, path: Path) -> Path:
    nifti(make, path / "d")
    nifti(make, path / "d", name="lungs.nii.gz")
    return path / "d"


@odd(
    "P/a.nrrd: is no NRRD file that can be read (it does not begin with NRRD); is it complete?",
)
def nrrd_of_text(make: Make, path: Path) -> Path:
    (path / "a.nrrd").write_text("hello" * 200)
    return path / "a.nrrd"


@odd(
    "P/a.nrrd: its header declares 24 x 20 x 6 voxels, 5760 bytes, but the file has 3032; is it complete?",
)
def nrrd_cut_short(make: Make, path: Path) -> Path:
    return cut(make.make_itk(path / "a.nrrd", make.chest(SMALL).hu), 0.5)


@odd(
    "P/a.nrrd: is incomplete ([nrrd] _nrrdEncodingGzip_read: expected 5760 bytes but received 4432); is it complete?",
)
def packed_nrrd_cut_short(make: Make, path: Path) -> Path:
    return cut(make.make_itk(path / "a.nrrd", make.chest(SMALL).hu, compress=True), 0.8)


@odd(
    "P/a.nrrd: its header declares 1024 x 1024 x 1536 voxels, 3221225472 bytes, but the file has 6072; is it complete?",
)
def nrrd_that_promises_3_gb(make: Make, path: Path) -> Path:
    made: Path = make.make_itk(path / "a.nrrd", make.chest(SMALL).hu)
    made.write_bytes(made.read_bytes().replace(b"sizes: 24 20 6", b"sizes: 1024 1024 1536"))
    return made


@odd(
    "P/a.mha: is not a MetaImage file that can be read (no valid NDims, DimSize, ElementType, "
    "ElementDataFile); is it complete?",
)
def metaimage_of_text(make: Make, path: Path) -> Path:
    (path / "a.mha").write_text("hello" * 200)
    return path / "a.mha"


@odd(
    "P/a.mha: its header declares 24 x 20 x 6 voxels, 5760 bytes, but the file has 3032; is it complete?",
)
def metaimage_cut_short(make: Make, path: Path) -> Path:
    return cut(make.make_itk(path / "a.mha", make.chest(SMALL).hu), 0.5)


@odd(
    "P/a.mha: its header declares 3430 bytes, but the file has 2631; is it complete?",
)
def packed_metaimage_cut_short(make: Make, path: Path) -> Path:
    return cut(make.make_itk(path / "a.mha", make.chest(SMALL).hu, compress=True), 0.7)


@odd(
    "P/a.mhd: its voxels should be in a.raw, which does not exist",
)
def metaimage_without_its_voxels(make: Make, path: Path) -> Path:
    made: Path = make.make_itk(path / "a.mhd", make.chest(SMALL).hu)
    (path / "a.raw").unlink()
    return made


@odd(
    "P/a.mha: has 3 values per voxel (colour?); a CT has one",
)
def vectors(make: Make, path: Path) -> Path:
    image = SimpleITK.GetImageFromArray(np.zeros((4, 4, 4, 3), np.uint8), isVector=True)
    SimpleITK.WriteImage(image, str(path / "a.mha"))
    return path / "a.mha"


@odd(
    "P/a.mha: is 4-dimensional (3 x 4 x 4 x 4); give one volume, of 3 dimensions",
)
def metaimage_of_four_dimensions(make: Make, path: Path) -> Path:
    image = SimpleITK.GetImageFromArray(np.zeros((4, 4, 4, 3), np.uint8), isVector=False)
    SimpleITK.WriteImage(image, str(path / "a.mha"))
    return path / "a.mha"


@odd(
    "P/a.zip: is not a zip archive that can be read (File is not a zip file); is it complete?",
)
def zip_of_text(make: Make, path: Path) -> Path:
    (path / "a.zip").write_text("hello")
    return path / "a.zip"


@odd(
    "P/a.zip: holds nothing readable; allowed: DICOM, .nii, .nii.gz, .nrrd, .nhdr, .mha, "
    ".mhd, .png, .jpg, .jpeg, .tif, .tiff, a folder or a .zip of them",
)
def empty_zip(make: Make, path: Path) -> Path:
    return zipped(path / "a.zip")


@odd(
    "P/a.zip: is not a zip archive that can be read (File is not a zip file); is it complete?",
)
def zip_cut_short(make: Make, path: Path) -> Path:
    return cut(zipped(path / "a.zip", **{"ct.nii": nifti(make, path).read_bytes()}), 0.5)


@odd(
    "P/a.zip: contains a file named '../../ct.dcm', whose path leaves the archive; unpack it yourself",
)
def zip_that_leads_out(make: Make, path: Path) -> Path:
    return zipped(path / "a.zip", **{"../../ct.dcm": b"x"})


@odd(
    "P/a.zip: contains a file named '/etc/ct.dcm', whose path leaves the archive; unpack it yourself",
)
def zip_with_an_absolute_path(make: Make, path: Path) -> Path:
    return zipped(path / "a.zip", **{"/etc/ct.dcm": b"x"})


@odd(
    "P/a.zip: ct.nii would unpack from 0.1 MB to 115.3 MB, more than images do; unpack it first if you trust it",
)
def zip_bomb(make: Make, path: Path) -> Path:
    return zipped(path / "a.zip", **{"ct.nii": bytes(110 << 20)})


@odd(
    "P/a.zip: ct.nii: cannot be unpacked (Error -3 while decompressing data: invalid distance too "
    "far back); is the archive complete?",
)
def zip_with_a_broken_file(make: Make, path: Path) -> Path:
    return patched(zipped(path / "a.zip", **{"ct.nii": nifti(make, path).read_bytes()}), 200, bytes(200))


@odd(
    "P/a.zip: is encrypted; unpack it first",
)
def zip_with_a_password(make: Make, path: Path) -> Path:
    made = zipped(path / "a.zip", **{"ct.nii": nifti(make, path).read_bytes()})
    return patched(patched(made, 6, b"\1"), made.read_bytes().rindex(b"PK\1\2") + 8, b"\1")


@odd(
    "P/a.zip: holds images, which are not read from archives; unpack it",
)
def zip_of_pictures(make: Make, path: Path) -> Path:
    return zipped(path / "a.zip", **{"a.png": b"x"})


@pytest.mark.parametrize("one", ODD)
def test_an_odd_input_is_one_line(one: Odd, make: Make, tmp_path: Path) -> None:
    path = one.build(make, tmp_path)
    assert said_of(path, tmp_path) == one.line
    assert said_of(path, tmp_path, force=True) == (one.forced or one.line)


def test_grey_is_taken_for_grey_where_it_is_said(make: Make, tmp_path: Path) -> None:
    path = grey_of_8_bit(make, tmp_path)
    assert said_of(path, tmp_path, intensity="grey") == "read"
    assert said_of(path, tmp_path, intensity="hu") == "read"


def test_what_is_no_grey_is_not_taken_for_it(make: Make, tmp_path: Path) -> None:
    assert said_of(nifti(make, tmp_path), tmp_path, intensity="grey") == (
        "P/ct.nii: values are from -1024 to 426, not from 0 to 255; leave out --intensity 8-bit if the values are HU"
    )

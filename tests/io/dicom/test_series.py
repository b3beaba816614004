"""DICOM series as volumes, against the standard's equations, SimpleITK's reader and gdcm's encoders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import gdcm
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.config import IGNORE
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from lesionsplit.errors import DataError
from lesionsplit.io.archive import FileEntry
from lesionsplit.io.dicom.files import add_pixels, read_dataset, read_header
from lesionsplit.io.dicom.pixels import SliceReader
from lesionsplit.io.dicom.series import read_series
from lesionsplit.io.dicom.slices import slices_of
from lesionsplit.volumes.intensity import ReadOptions
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Source, Volume

SMALL = (24, 20, 6)


def read(files: Iterable[Path], scratch: Scratch, **options: Any) -> Volume:
    files = sorted(files)
    source = Source(kind="dicom", path=files[0].parent, name="ct")
    return read_series([FileEntry(file) for file in files], scratch, source, options=ReadOptions(**options))


def test_slices_are_in_order_along_the_normal_whatever_the_files_are_called(make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(tmp_path / "ct")
    assert files != sorted(files)
    with Scratch() as scratch:
        volume = read(files, scratch)
        np.testing.assert_array_equal(volume.array, make.chest().hu)
        np.testing.assert_allclose(volume.affine, make.affine_of(), atol=1e-9)
        assert volume.array.dtype == np.int16
        assert volume.intensity == "hu"
        assert volume.source.notes == ()
        headers = volume.source.instances
        along = [float(header.ImagePositionPatient[2]) for header in headers]
        assert along == sorted(along)
        assert not any("PixelData" in header for header in headers)


OBLIQUE = (0.9659258, 0.2588190, 0.0, -0.2241439, 0.8365163, -0.5)


@pytest.mark.parametrize(
    "orientation",
    [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0), (1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1), (0, 1, 0, 1, 0, 0), OBLIQUE],
    ids=["axial", "prone", "coronal", "sagittal", "downwards", "oblique"],
)
def test_array_and_affine_are_those_that_itk_reads(
    orientation: tuple[float, ...], make: ModuleType, tmp_path: Path
) -> None:
    files = make.make_series(tmp_path / "ct", SMALL, spacing=(0.7, 0.9, 2.5), orientation=orientation)
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "ct"))
    image = SimpleITK.ReadImage(names)
    with Scratch() as scratch:
        volume = read(files, scratch)
        array = np.array(volume.array)
    assert volume.shape == image.GetSize()
    np.testing.assert_array_equal(array, SimpleITK.GetArrayFromImage(image).T)
    for index in np.ndindex(2, 2, 2):
        corner = [i * (size - 1) for i, size in zip(index, SMALL, strict=True)]
        x, y, z = image.TransformIndexToPhysicalPoint(corner)
        np.testing.assert_allclose((volume.affine @ [*corner, 1])[:3], [-x, -y, z], atol=1e-4)


def test_a_tilted_gantry_keeps_its_slant(make: ModuleType, tmp_path: Path) -> None:
    def tilt(k: int, data: pydicom.Dataset) -> None:
        data.ImagePositionPatient = [-190.0, -158.0 + 1.0 * k, -400.0 + 3.0 * k]

    files = make.make_series(tmp_path / "ct", SMALL, spacing=(4, 4, 3), change=tilt)
    with Scratch() as scratch:
        volume = read(files, scratch)
    np.testing.assert_allclose(volume.affine[:3, 2], [0, -1, 3])
    assert volume.voxel_ml == pytest.approx(4 * 4 * 3 / 1000)
    assert volume.source.notes == ("the gantry was tilted by 18.4 degrees; the grid is sheared accordingly",)


def transcoded(path: Path, syntax: int) -> None:
    reader, writer, change = gdcm.ImageReader(), gdcm.ImageWriter(), gdcm.ImageChangeTransferSyntax()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


@pytest.mark.parametrize("name", ["JPEGLosslessProcess14_1", "JPEG2000Lossless", "JPEGLSLossless", "RLELossless"])
def test_packed_by_gdcm(name: str, make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(tmp_path / "ct", SMALL)
    for file in files:
        transcoded(file, getattr(gdcm.TransferSyntax, name))
        assert pydicom.dcmread(file).file_meta.TransferSyntaxUID.is_compressed
    with Scratch() as scratch:
        np.testing.assert_array_equal(read(files, scratch).array, make.chest(SMALL).hu)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless])
def test_packed_by_pydicom(syntax: str, make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(
        tmp_path / "ct", SMALL, change=lambda _, data: data.compress(syntax, generate_instance_uid=False)
    )
    with Scratch() as scratch:
        np.testing.assert_array_equal(read(files, scratch).array, make.chest(SMALL).hu)


def bare(path: Path) -> pydicom.Dataset:
    """A file's data set as if it had been made just now, in no encoding."""
    data, plain = pydicom.dcmread(path), pydicom.Dataset()
    plain.update({element.tag: element for element in data})
    plain.file_meta = data.file_meta
    return plain


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings(syntax: str, make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(tmp_path / "ct", SMALL)
    for file in files:
        data = bare(file)
        if syntax == ExplicitVRBigEndian:
            data["PixelData"].value = np.frombuffer(data.PixelData, "<i2").astype(">i2").tobytes()
        data.file_meta.TransferSyntaxUID = syntax
        make.write_slice(file, data)
    with Scratch() as scratch:
        np.testing.assert_array_equal(read(files, scratch).array, make.chest(SMALL).hu)


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_preamble_and_meta_information(implicit: bool, make: ModuleType, tmp_path: Path) -> None:
    files = []
    for file in make.make_series(tmp_path / "ct", SMALL):
        data = bare(file)
        del data.file_meta
        files.append(tmp_path / file.stem)
        data.save_as(files[-1], implicit_vr=implicit, little_endian=True)
        assert files[-1].read_bytes()[128:132] != b"DICM"
    with Scratch() as scratch:
        np.testing.assert_array_equal(read(files, scratch).array, make.chest(SMALL).hu)


def test_each_slice_has_its_own_rescale(make: ModuleType, tmp_path: Path) -> None:
    def rescale(k: int, data: pydicom.Dataset) -> None:
        stored = np.frombuffer(data.PixelData, "<i2").astype(int) - 1024  # HU
        data.RescaleSlope, data.RescaleIntercept = 1, -(1000 + k)
        data["PixelData"].value = (stored + 1000 + k).astype("<i2").tobytes()

    files = make.make_series(tmp_path / "ct", SMALL, change=rescale)
    with Scratch() as scratch:
        np.testing.assert_array_equal(read(files, scratch).array, make.chest(SMALL).hu)


def test_fractions_of_hu_are_kept(make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(tmp_path / "ct", SMALL, RescaleSlope="0.5", RescaleIntercept="-1000")
    with Scratch() as scratch:
        volume = read(files, scratch)
        assert volume.array.dtype == np.float32
        expected = (make.chest(SMALL).hu.astype(np.float32) + 1024) / 2 - 1000
        np.testing.assert_array_equal(volume.array, expected)


def padded(make: ModuleType, value: int) -> Any:
    hu = make.chest(SMALL).hu.astype(int)
    hu[:3] = value
    return hu


@pytest.mark.parametrize("kept", [{"PixelPaddingValue": -2000}, {}], ids=["said", "unsaid"])
def test_what_is_below_air_stays_and_is_seen_as_air(kept: dict[str, int], make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(tmp_path / "ct", hu=padded(make, -3024), **kept)
    with Scratch() as scratch:
        volume = read(files, scratch)
        assert volume.source.notes == ()
        np.testing.assert_array_equal(volume.array, padded(make, -3024))
        np.testing.assert_array_equal(volume.seen(volume.array), padded(make, -1024))


def test_padding_above_everything_becomes_air(make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(
        tmp_path / "ct", hu=padded(make, 5000), PixelPaddingValue=6024, PixelPaddingRangeLimit=6000
    )
    with Scratch() as scratch:
        volume = read(files, scratch)
        np.testing.assert_array_equal(volume.array, padded(make, -1024))
    assert volume.source.notes == (
        "its padding (PixelPaddingValue 6024) was read as -1024 HU; the written volumes hold that value there",
    )


def test_padding_that_may_be_tissue_stays_as_it_is(make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(tmp_path / "ct", hu=padded(make, 0), PixelPaddingValue=1024)
    with Scratch() as scratch:
        volume = read(files, scratch)
        np.testing.assert_array_equal(volume.array, padded(make, 0))
    assert volume.source.notes == ()


def test_drawings_above_the_stored_bits_are_cut_off(make: ModuleType, tmp_path: Path) -> None:
    def draw(k: int, data: pydicom.Dataset) -> None:
        stored = np.frombuffer(data.PixelData, "<u2").copy()
        stored[:50] |= 0x8000
        data["PixelData"].value = stored.tobytes()

    files = make.make_series(tmp_path / "ct", SMALL, change=draw, BitsStored=12, HighBit=11, PixelRepresentation=0)
    with Scratch() as scratch:
        np.testing.assert_array_equal(read(files, scratch).array, make.chest(SMALL).hu)


def test_padding_above_the_stored_bits_is_still_padding(make: ModuleType, tmp_path: Path) -> None:
    def pad(k: int, data: pydicom.Dataset) -> None:
        stored = np.frombuffer(data.PixelData, "<u2").reshape(20, 24).copy()
        stored[:, :3] = 63536  # which is 2096 in the lower 12 bits, bone
        data["PixelData"].value = stored.tobytes()

    files = make.make_series(
        tmp_path / "ct", SMALL, change=pad, BitsStored=12, HighBit=11, PixelRepresentation=0, PixelPaddingValue=63536
    )
    with Scratch() as scratch:
        np.testing.assert_array_equal(read(files, scratch).array, padded(make, -1024))


def test_slices_that_are_there_twice_are_taken_once(make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(tmp_path / "ct", SMALL)
    for number in (1, 4):
        copy = tmp_path / "ct" / f"copy{number}.dcm"
        copy.write_bytes(files[number].read_bytes())
        files.append(copy)
    with Scratch() as scratch:
        volume = read(files, scratch)
        np.testing.assert_array_equal(volume.array, make.chest(SMALL).hu)
    assert volume.source.notes == ("2 duplicate slices were read once",)
    assert len(volume.source.instances) == 6


@pytest.mark.parametrize("decimals", [1, 4])
def test_rounded_positions_are_no_missing_slices(decimals: int, make: ModuleType, tmp_path: Path) -> None:
    def rounded(k: int, data: pydicom.Dataset) -> None:
        data.ImagePositionPatient = [-190.0, -158.0, round(-400.03 + 0.625 * k, decimals)]

    files = make.make_series(tmp_path / "ct", (24, 20, 12), change=rounded, SliceThickness=0.625)
    with Scratch() as scratch:
        volume = read(files, scratch)
    assert volume.source.notes == ()
    assert volume.spacing[2] == pytest.approx(0.625, abs=0.01)


def test_forced_a_missing_slice_is_interpolated_and_the_others_stay(make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(tmp_path / "ct", SMALL)
    hu = make.chest(SMALL).hu
    with Scratch() as scratch:
        volume = read([*files[:2], *files[3:]], scratch, force=True)
        np.testing.assert_allclose(volume.affine, make.affine_of())
        np.testing.assert_array_equal(volume.array[..., [0, 1, 3, 4, 5]], hu[..., [0, 1, 3, 4, 5]])
        np.testing.assert_array_equal(volume.array[..., 2], np.rint((hu[..., 1] + hu[..., 3].astype(float)) / 2))
        assert volume.array.dtype == np.int16
    assert volume.source.instances == ()
    assert volume.source.notes[-1] == "no DICOM objects are written of it: its slices were resampled"


@pytest.mark.parametrize("steps", [[5] * 5 + [10] * 4, [10, 5, 5, 5, 5, 5, 10], [5, 5, 7.5, 5, 5, 2.5, 5]], ids=str)
def test_forced_a_spacing_that_changes_is_resampled(steps: list[float], make: ModuleType, tmp_path: Path) -> None:
    heights = np.concatenate([[0], np.cumsum(steps)])
    # HU are linear along the normal, so that what is interpolated is known
    hu = np.broadcast_to(np.rint(-1000 + 10 * heights), (24, 20, len(heights))).astype(np.int16).copy()

    def place(k: int, data: pydicom.Dataset) -> None:
        data.ImagePositionPatient = [-190.0, -158.0, -400.0 + float(heights[k])]

    files = make.make_series(tmp_path / "ct", hu=hu, spacing=(4, 4, 5), change=place)
    with Scratch() as scratch:
        with pytest.raises(DataError, match="use --force to resample its"):
            read(files, scratch)
        volume = read(files, scratch, force=True)
        count = round(sum(steps) / 5) + 1
        assert volume.shape == (24, 20, count)
        np.testing.assert_allclose(volume.affine, make.affine_of(spacing=(4, 4, sum(steps) / (count - 1))))
        expected = -1000 + 10 * np.linspace(0, sum(steps), count)
        np.testing.assert_allclose(volume.array[3, 4], expected, atol=0.51)


def test_a_stray_slice_is_not_bridged(make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(tmp_path / "ct", SMALL)
    make.edit(files[5], ImagePositionPatient=[-190.0, -158.0, 2000.0])
    with Scratch() as scratch, pytest.raises(DataError, match=r"slices are missing.*give the complete series$"):
        read(files, scratch, force=True)


def test_a_slice_alone_is_as_thick_as_it_says(make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(tmp_path / "ct", SMALL)
    with Scratch() as scratch:
        one = read(files[3:4], scratch)
        assert one.shape == (24, 20, 1)
        np.testing.assert_allclose(one.affine, make.affine_of(origin=(-190, -158, -370)))
        np.testing.assert_array_equal(one.array[..., 0], make.chest(SMALL).hu[..., 3])
        make.edit(files[3], SliceThickness=None)
        other = read(files[3:4], scratch)
    assert other.spacing[2] == 1
    assert other.source.notes == ("the slice thickness is unknown: volumes assume 1 mm",)


def test_gaps_between_slices_are_noted(make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(tmp_path / "ct", SMALL, SliceThickness=1)
    with Scratch() as scratch:
        notes = read(files, scratch).source.notes
    assert notes == ("slices are 1 mm thick but 10 mm apart: the gaps between them were not scanned",)


def test_swapped_display_does_not_swap_values(make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(tmp_path / "ct", SMALL, PhotometricInterpretation="MONOCHROME1")
    with Scratch() as scratch:
        volume = read(files, scratch)
        np.testing.assert_array_equal(volume.array, make.chest(SMALL).hu)
    assert volume.source.notes == (
        "the display of its images is inverted (MONOCHROME1); the values were read unchanged",
    )


def test_losses_of_packing_are_noted(make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(tmp_path / "ct", SMALL, LossyImageCompression="01")
    with Scratch() as scratch:
        notes = read(files, scratch).source.notes
    assert notes == ("its slices were compressed with loss: HU are not exactly what the scanner measured",)


def test_headers_keep_no_large_private_elements(make: ModuleType, tmp_path: Path) -> None:
    def private(k: int, data: pydicom.Dataset) -> None:
        block = data.private_block(0x0043, "MAKER", create=True)
        block.add_new(1, "OB", b"x" * 4096)
        block.add_new(2, "LO", "small")

    files = make.make_series(tmp_path / "ct", SMALL, change=private)
    with Scratch() as scratch:
        header = read(files, scratch).source.instances[0]
    block = header.private_block(0x0043, "MAKER")
    assert 1 not in block
    assert block[2].value == "small"


@pytest.fixture(scope="module")
def shared() -> Path:
    folder = Path(__file__).parents[4] / "shared" / "data"
    if not (folder / "lidc-idri-0001").is_dir():
        pytest.skip(f"the real series are not here: {folder}")
    return folder


def test_a_real_series_is_what_itk_reads(shared: Path) -> None:
    folder = shared / "lidc-idri-0001"
    image = SimpleITK.ReadImage(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    with Scratch() as scratch:
        volume = read(folder.glob("*.dcm"), scratch)
        assert volume.shape == (512, 512, 133)
        np.testing.assert_array_equal(volume.array, SimpleITK.GetArrayViewFromImage(image).T)
    assert volume.source.notes == ()
    x, y, z = image.GetOrigin()
    np.testing.assert_allclose(volume.affine[:3, 3], [-x, -y, z])
    np.testing.assert_allclose(volume.spacing, image.GetSpacing(), atol=1e-6)


def test_a_real_series_and_its_nrrd_are_the_same(shared: Path) -> None:
    from lesionsplit.io.files import open_file
    from lesionsplit.volumes.grid import difference

    with Scratch() as scratch:
        volume = read((shared / "cip-ct64" / "dicom").iterdir(), scratch)
        other = open_file(shared / "cip-ct64" / "ct-64.nrrd").volume(scratch, name="ct")
        np.testing.assert_array_equal(volume.array, other.array)
        assert difference(volume, other.shape, other.affine) == ""
        np.testing.assert_allclose(volume.affine, other.affine, atol=5e-4)


def invalid(data: pydicom.Dataset, keyword: str, value: Any) -> None:
    """Set an element to what the standard may forbid."""
    data[keyword] = pydicom.DataElement(keyword, data[keyword].VR, value, validation_mode=IGNORE)


def secondary(make: ModuleType, folder: Path, name: str, **tags: Any) -> Path:
    """Another object beside the slices of a series, as CT Image Storage."""
    data = pydicom.dcmread(sorted(folder.glob("IM*"))[0])
    data.SOPInstanceUID, data.ImageType = "1.2.3.4.5", ["DERIVED", "SECONDARY", "SCREEN SAVE"]
    for keyword, value in tags.items():
        if value is None:
            delattr(data, keyword)
        else:
            invalid(data, keyword, value)
    size = data.Rows * data.Columns * data.SamplesPerPixel * data.BitsAllocated // 8
    data["PixelData"].value = bytes(size)
    path: Path = make.write_slice(folder / name, data)
    return path


ODD_PAGES: dict[str, tuple[dict[str, Any], str]] = {
    "a slice without position": ({"ImagePositionPatient": None}, "has no position (missing ImagePositionPatient)"),
    "a dose page without geometry": (
        {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None},
        "has no position (missing ImagePositionPatient, ImageOrientationPatient, PixelSpacing)",
    ),
    "a screenshot in colour": (
        {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7},
        "is RGB",
    ),
    "a position that is no number": ({"ImagePositionPatient": ["nan", "0", "0"]}, "has no position (invalid "),
}


@pytest.mark.parametrize("kind", ODD_PAGES)
def test_what_is_no_slice_inside_a_series_is_left_out_when_forced(kind: str, make: ModuleType, tmp_path: Path) -> None:
    tags, why = ODD_PAGES[kind]
    make.make_series(tmp_path / "ct", SMALL)
    page = secondary(make, tmp_path / "ct", "page.dcm", **tags)
    with Scratch() as scratch:
        with pytest.raises(DataError) as error:
            read((tmp_path / "ct").iterdir(), scratch)
        assert str(error.value).startswith(f"{page}: {why}")
        assert str(error.value).endswith(", or use --force to leave out 1 of 7 slices")
        volume = read((tmp_path / "ct").iterdir(), scratch, force=True)
        np.testing.assert_array_equal(volume.array, make.chest(SMALL).hu)
    assert len(volume.source.notes) == 1
    assert volume.source.notes[0].startswith(f"1 of 7 slices were left out: the first {why}")


def test_a_dose_page_of_another_size_is_left_out_when_forced(make: ModuleType, tmp_path: Path) -> None:
    make.make_series(tmp_path / "ct", SMALL)
    secondary(make, tmp_path / "ct", "page.dcm", Rows=64, Columns=64)
    with Scratch() as scratch:
        volume = read((tmp_path / "ct").iterdir(), scratch, force=True)
        np.testing.assert_array_equal(volume.array, make.chest(SMALL).hu)
    assert volume.source.notes[0].startswith("6 of 7 slices were read")


def test_slices_without_patient_belong_to_the_patient_of_the_others(make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(tmp_path / "ct", SMALL)
    make.edit(files[1], PatientID="")
    make.edit(files[4], PatientID=None)
    with Scratch() as scratch:
        volume = read(files, scratch)
        np.testing.assert_array_equal(volume.array, make.chest(SMALL).hu)
    assert volume.source.notes == ("2 of 6 slices have no PatientID",)


ABSURD: dict[str, tuple[dict[str, Any], str]] = {
    "spacing": ({"PixelSpacing": ["1e20", "1e20"]}, "has pixels of 1e+20 x 1e+20 mm; correct the header"),
    "spacing nan": ({"PixelSpacing": ["nan", "1"]}, "has no position (invalid PixelSpacing); export it again"),
    "spacing inf": ({"PixelSpacing": ["inf", "1"]}, "has no position (invalid PixelSpacing); export it again"),
    "position": (
        {"ImagePositionPatient": ["0", "0", "1e20"]},
        "is 1e+20 mm from the origin; correct ImagePositionPatient",
    ),
    "orientation": (
        {"ImageOrientationPatient": ["1e20", "0", "0", "0", "1", "0"]},
        "its ImageOrientationPatient is not two perpendicular directions; correct the header",
    ),
    "orientation nan": (
        {"ImageOrientationPatient": ["nan", "0", "0", "0", "1", "0"]},
        "has no position (invalid ImageOrientationPatient); export it again",
    ),
    "slope": (
        {"RescaleSlope": "1e20"},
        "its RescaleSlope is 1e+20 and its RescaleIntercept -1024; allowed: 1e-06 to 10000 and up to 1e+06; correct "
        "the header",
    ),
    "slope nan": ({"RescaleSlope": "nan"}, "its RescaleSlope is not a finite number; correct the header"),
    "intercept inf": ({"RescaleIntercept": "inf"}, "its RescaleIntercept is not a finite number; correct the header"),
    "slope tiny": (
        {"RescaleSlope": "1e-20"},
        "its RescaleSlope is 1e-20 and its RescaleIntercept -1024; allowed: 1e-06 to 10000 and up to 1e+06; correct "
        "the header",
    ),
    "intercept": (
        {"RescaleIntercept": "-1e20"},
        "its RescaleSlope is 1 and its RescaleIntercept -1e+20; allowed: 1e-06 to 10000 and up to 1e+06; correct the "
        "header",
    ),
    "bits": (
        {"BitsStored": 0},
        "its header declares 20 x 24 pixels of 0 of 16 bits; allowed: 8, 16 or 32 bits; copy the file again",
    ),
    "rows": (
        {"Rows": 65535, "Columns": 65535},
        "its pixels are truncated, 960 of 8589672450 bytes; copy the file again",
    ),
}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("kind", ABSURD)
def test_absurd_numbers_are_one_line(kind: str, force: bool, make: ModuleType, tmp_path: Path) -> None:
    tags, line = ABSURD[kind]
    for file in make.make_series(tmp_path / "ct", SMALL):
        data = pydicom.dcmread(file)
        for keyword, value in tags.items():
            invalid(data, keyword, value)
        make.write_slice(file, data)
    with Scratch() as scratch, pytest.raises(DataError) as error:
        read((tmp_path / "ct").iterdir(), scratch, force=force)
    assert str(error.value).partition(": ")[2] == line


@pytest.mark.parametrize("thickness", ["nan", "inf", "1e20", "0"])
def test_an_absurd_thickness_is_none(thickness: str, make: ModuleType, tmp_path: Path) -> None:
    (file,) = make.make_series(
        tmp_path / "ct", (24, 20, 1), change=lambda _, data: invalid(data, "SliceThickness", thickness)
    )
    with Scratch() as scratch:
        volume = read([file], scratch, force=True)
    assert volume.spacing[2] == 1
    assert volume.source.notes == ("the slice thickness is unknown: volumes assume 1 mm",)


def test_a_file_that_is_cut_between_header_and_pixels_is_one_line(make: ModuleType, tmp_path: Path) -> None:
    (file,) = make.make_series(tmp_path / "ct", SMALL)[:1]
    entry = FileEntry(file)
    header, start = read_header(entry)
    whole = file.read_bytes()
    full = read_dataset(entry, pixels=True)
    assert add_pixels(header, start, entry).PixelData == full.PixelData
    (one,) = slices_of([entry], None, force=False)[0]
    for length in (start + len(full.PixelData) // 2, start + 3, start, start // 2):
        file.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"truncated|no pixels|complete\?") as raised:
            SliceReader(None, force=False).read(one)
        assert str(raised.value).startswith(f"{file}: ")

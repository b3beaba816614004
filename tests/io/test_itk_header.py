"""Headers of NRRD and MetaImage: whose file they may name, units of length, and what ITK passes over."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import SimpleITK

from lesionsplit.errors import DataError
from lesionsplit.io.cases import find_cases
from lesionsplit.io.files import open_file
from lesionsplit.volumes.intensity import ReadOptions
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Volume

SMALL = (24, 20, 6)
AWAY = "one file beside the header, by its name alone"


def read(path: Path, scratch: Scratch, *, force: bool = False) -> Volume:
    return open_file(path).volume(scratch, name="ct", options=ReadOptions(force=force))


def notes(path: Path, *, force: bool = False) -> tuple[str, ...]:
    with Scratch() as scratch:
        return read(path, scratch, force=force).source.notes


def refusal(path: Path, *, force: bool = False) -> str:
    with pytest.raises(DataError) as caught:
        notes(path, force=force)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


def nrrd(path: Path, make: ModuleType, *fields: str, data: str = "") -> Path:
    """With its voxels, or with the name of their file."""
    lines = ["NRRD0004", "type: short", "dimension: 3", "sizes: 24 20 6", "endian: little", "encoding: raw", *fields]
    lines += [f"data file: {data}"] if data else []
    voxels = b"" if data else make.chest(SMALL).hu.astype("<i2").tobytes(order="F")
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + voxels)
    return path


def metaimage(path: Path, make: ModuleType, *fields: str, data: str = "LOCAL") -> Path:
    lines = ["ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False", *fields]
    lines += ["DimSize = 24 20 6", "ElementType = MET_SHORT", f"ElementDataFile = {data}"]
    voxels = make.chest(SMALL).hu.astype("<i2").tobytes(order="F") if data == "LOCAL" else b""
    path.write_bytes("\n".join(lines).encode() + b"\n" + voxels)
    return path


def raw(path: Path, make: ModuleType) -> Path:
    path.write_bytes(make.chest(SMALL).hu.astype("<i2").tobytes(order="F"))
    return path


DIRECTIONS = "space directions: (4,0,0) (0,4,0) (0,0,10)"
IN_CM = "space directions: (0.4,0,0) (0,0.4,0) (0,0,1)"


@pytest.mark.parametrize(
    ("unit", "millimetres"), [("cm", 10), ("m", 1000), ("in", 25.4), ("um", 0.001), ("µm", 0.001), ("Inches", 25.4)]
)
def test_units_of_nrrd_become_millimetres(unit: str, millimetres: float, make: ModuleType, tmp_path: Path) -> None:
    i, j, k = (side / millimetres for side in (4, 4, 10))
    directed = f"space directions: ({i},0,0) (0,{j},0) (0,0,{k})"
    of_space = f'space units: "{unit}" "{unit}" "{unit}"'
    origin = f"space origin: ({1 / millimetres},0,0)"
    path = nrrd(tmp_path / "a.nrrd", make, "space: RAS", directed, of_space, origin)
    with Scratch() as scratch:
        volume = read(path, scratch)
    np.testing.assert_allclose(volume.affine, [[4, 0, 0, 1], [0, 4, 0, 0], [0, 0, 10, 0], [0, 0, 0, 1]], rtol=1e-5)
    assert volume.source.notes == (f"its lengths, in {unit}, were converted to millimetres",)
    path = nrrd(tmp_path / "a.nrrd", make, f"spacings: {i} {j} {k}", of_space.removeprefix("space "))
    with Scratch() as scratch:
        np.testing.assert_allclose(read(path, scratch).spacing, (4, 4, 10), rtol=1e-5)


def test_units_that_are_millimetres_or_none(make: ModuleType, tmp_path: Path) -> None:
    for units in ('"mm" "mm" "mm"', '"" "" ""', '"???" "???" "???"'):
        path = nrrd(tmp_path / "a.nrrd", make, "space: LPS", DIRECTIONS, f"space units: {units}")
        assert notes(path) == ()


@pytest.mark.parametrize(("units", "said"), [('"ft" "ft" "ft"', "ft"), ('"mm" "mm" "cm"', "cm, mm")])
def test_units_of_no_known_length_are_refused(units: str, said: str, make: ModuleType, tmp_path: Path) -> None:
    path = nrrd(tmp_path / "a.nrrd", make, "space: LPS", DIRECTIONS, f"space units: {units}")
    assert refusal(path, force=True) == f"its lengths are in {said}; allowed: mm, cm, m, um or in, for all axes"


def test_units_of_metaimage_become_millimetres(make: ModuleType, tmp_path: Path) -> None:
    path = metaimage(tmp_path / "a.mha", make, "ElementSpacing = 0.4 0.4 1", "DistanceUnits = cm", "Offset = 1 2 3")
    with Scratch() as scratch:
        volume = read(path, scratch)
    np.testing.assert_allclose(volume.spacing, (4, 4, 10))
    np.testing.assert_allclose(volume.affine[:3, 3], (-10, -20, 30))
    assert volume.source.notes == ("its lengths, in cm, were converted to millimetres",)
    assert notes(metaimage(tmp_path / "a.mha", make, "ElementSpacing = 4 4 10", "DistanceUnits = mm")) == ()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ((), "the file has no spacing (ElementSpacing): its voxels were read as 1 mm a side"),
        (
            ("ElementSpacing = 4 -4 10",),
            "its spacing (ElementSpacing) is 4 x -4 x 10: axes of negative spacing were read as mirrored",
        ),
        (
            ("ElementSpacing = 4 4 10", "TransformMatrix = 2 0 0 0 1 0 0 0 1"),
            "its TransformMatrix stretches the axes",
        ),
        (
            ("ElementSpacing = 4 4 10", "ElementToIntensityFunctionSlope = 2", "ElementToIntensityFunctionOffset = -5"),
            "its values should be multiplied by 2, plus -5, and were read unchanged",
        ),
    ],
)
def test_a_metaimage_of_doubtful_measures_is_refused(
    fields: tuple[str, ...], said: str, make: ModuleType, tmp_path: Path
) -> None:
    path = metaimage(tmp_path / "a.mha", make, *fields)
    assert refusal(path) == f"{said}; correct the header, or use --force to continue"
    assert notes(path, force=True) == (said,)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (("space: LPS",), "the file has no spacing (spacings): its voxels were read as 1 mm a side"),
        (
            ("space: LPS", "space directions: (4,0,0) (0,4,0) none"),
            "its space directions are not known for all axes: their voxels were read as 1 mm",
        ),
    ],
)
def test_an_nrrd_of_doubtful_measures_is_refused(
    fields: tuple[str, ...], said: str, make: ModuleType, tmp_path: Path
) -> None:
    path = nrrd(tmp_path / "a.nrrd", make, *fields)
    assert refusal(path) == f"{said}; correct the header, or use --force to continue"
    assert said in notes(path, force=True)


@pytest.mark.parametrize("word", ["0", "nan", "inf", "wide"])
def test_a_spacing_of_no_grid_is_refused(word: str, make: ModuleType, tmp_path: Path) -> None:
    said = f"is 4 x 4 x {word}; allowed: numbers above 0; correct the header"
    path = metaimage(tmp_path / "a.mha", make, f"ElementSpacing = 4 4 {word}")
    assert refusal(path, force=True) == f"its spacing (ElementSpacing) {said}"
    path = nrrd(tmp_path / "a.nrrd", make, f"spacings: 4 4 {word}")
    assert refusal(path, force=True) == f"its spacing (spacings) {said}"


@pytest.mark.parametrize(
    "field", ["ElementSpacing = 8 8 8", "TransformMatrix = -1 0 0 0 1 0 0 0 1", "DimSize = 24 20 6"]
)
def test_a_field_that_is_there_twice_is_refused(field: str, make: ModuleType, tmp_path: Path) -> None:
    usual = ("ElementSpacing = 4 4 10", "TransformMatrix = 1 0 0 0 1 0 0 0 1")
    path = metaimage(tmp_path / "a.mha", make, *usual, field)
    name = field.partition(" ")[0]
    assert refusal(path, force=True) == f"is not a MetaImage file that can be read (no valid {name}); is it complete?"


@pytest.mark.parametrize("space", ["scanner-xyz", "3D-left-handed"])
def test_a_space_of_no_patient_is_noted(space: str, make: ModuleType, tmp_path: Path) -> None:
    assert notes(nrrd(tmp_path / "a.nrrd", make, f"space: {space}", DIRECTIONS)) == (
        f"the file has no orientation (its space is {space}): left and right may be swapped",
    )


@pytest.mark.parametrize("name", ["a.nhdr", "a.nrrd"])
@pytest.mark.parametrize("voxels", ["voxels.raw", "my voxels é.raw", "./voxels.raw"])
def test_voxels_in_a_file_beside_the_header(name: str, voxels: str, make: ModuleType, tmp_path: Path) -> None:
    raw(tmp_path / voxels, make)
    path = nrrd(tmp_path / name, make, "space: LPS", DIRECTIONS, data=voxels)
    with Scratch() as scratch:
        np.testing.assert_array_equal(read(path, scratch).array, make.chest(SMALL).hu)
    (tmp_path / voxels).write_bytes(b"x" * 100)
    assert "its header declares 24 x 20 x 6 voxels, 5760 bytes, but the file has 100" in refusal(path)


def test_packed_voxels_beside_the_header(make: ModuleType, tmp_path: Path) -> None:
    path = nrrd(tmp_path / "a.nhdr", make, "space: LPS", DIRECTIONS, data="a.raw.gz")
    path.write_text(path.read_text().replace("encoding: raw", "encoding: gzip"))
    (tmp_path / "a.raw.gz").write_bytes(gzip.compress(make.chest(SMALL).hu.astype("<i2").tobytes(order="F")))
    with Scratch() as scratch:
        np.testing.assert_array_equal(read(path, scratch).array, make.chest(SMALL).hu)


PLACES = ["{}/secret", "../elsewhere/secret", "sub/secret", "..", "LIST", "LIST 2", "secret%03d 1 6 1", "C:\\secret"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["v.mhd", "v.mha", "v.nhdr", "v.nrrd"])
@pytest.mark.parametrize("zipped", [False, True])
def test_no_header_makes_another_file_readable(
    place: str, name: str, zipped: bool, make: ModuleType, tmp_path: Path
) -> None:
    for folder in ("elsewhere", "in", "in/sub"):
        (tmp_path / folder).mkdir()
    raw(tmp_path / "elsewhere" / "secret", make)
    raw(tmp_path / "in" / "sub" / "secret", make)
    named = place.format(tmp_path / "elsewhere")
    if name.startswith("v.m"):
        path = metaimage(tmp_path / "in" / name, make, "ElementSpacing = 4 4 10", data=named)
    else:
        path = nrrd(tmp_path / "in" / name, make, "space: LPS", DIRECTIONS, data=named)
    if zipped:
        path = zip_of(tmp_path / "a.zip", path)
    (case,) = find_cases([path], recursive=False).cases
    with Scratch() as scratch, pytest.raises(DataError, match=AWAY) as caught:
        case.read(scratch, ReadOptions(force=True))
    where = f"{path}: v{path.suffix}" if not zipped else f"{path}: {name}"
    assert str(caught.value).startswith(f"{where.removesuffix(f': v{path.suffix}')}: its voxels should be in ")


def zip_of(path: Path, *files: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, file.name)
    return path


def test_nor_does_a_link(make: ModuleType, tmp_path: Path) -> None:
    for folder in ("elsewhere", "in"):
        (tmp_path / folder).mkdir()
    raw(tmp_path / "elsewhere" / "secret", make)
    (tmp_path / "in" / "v.raw").symlink_to(tmp_path / "elsewhere" / "secret")
    path = metaimage(tmp_path / "in" / "v.mhd", make, "ElementSpacing = 4 4 10", data="v.raw")
    assert refusal(path) == "its voxels should be in v.raw, a link to another folder; copy the file itself"
    real = raw(tmp_path / "elsewhere" / "v.raw", make).parent
    metaimage(real / "v.mhd", make, "ElementSpacing = 4 4 10", data="v.raw")
    (tmp_path / "in" / "v.raw").unlink()
    path.unlink()
    for file in ("v.mhd", "v.raw"):  # both are links to one folder
        (tmp_path / "in" / file).symlink_to(real / file)
    assert notes(path) == ()


@pytest.mark.parametrize("name", ["v.mhd", "v.nhdr"])
def test_nor_does_a_second_name(name: str, make: ModuleType, tmp_path: Path) -> None:
    secret = raw(tmp_path / "secret", make)
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / name
    raw(tmp_path / "in" / "v.raw", make)
    if name == "v.mhd":
        metaimage(path, make, "ElementSpacing = 4 4 10", data="v.raw")
        path.write_text(path.read_text() + f"ElementDataFile = {secret}\n")
        assert refusal(path) == "is not a MetaImage file that can be read (no valid ElementDataFile); is it complete?"
        return
    for second in ("data file", "DATAFILE", " data file", "\rdata file", "Data File"):
        nrrd(path, make, "space: LPS", f"{second}: {secret}", DIRECTIONS, data="v.raw")
        assert ("no valid data file" if second[0] != "\r" else "odd line ends") in refusal(path)


def test_a_header_that_names_itself_is_refused(make: ModuleType, tmp_path: Path) -> None:
    path = metaimage(tmp_path / "v.mhd", make, "ElementSpacing = 4 4 10", data="v.mhd")
    assert "a link to another folder" in refusal(path)


def test_only_the_named_file_is_unpacked_with_a_header(make: ModuleType, tmp_path: Path) -> None:
    path = metaimage(tmp_path / "v.mhd", make, "ElementSpacing = 4 4 10", data="v.raw")
    wanted = raw(tmp_path / "v.raw", make)
    zipped = zip_of(tmp_path / "a.zip", path, wanted)
    (case,) = find_cases([zipped], recursive=False).cases
    with Scratch() as scratch:
        np.testing.assert_array_equal(case.read(scratch).array, make.chest(SMALL).hu)
    with zipfile.ZipFile(zipped, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("v.raw", b"other")
    with Scratch() as scratch, pytest.raises(DataError, match=r"a.zip: v.mhd: its voxels could be in 2 files of the"):
        case.read(scratch)


def test_the_content_decides_on_the_reader(make: ModuleType, tmp_path: Path) -> None:
    make.make_itk(tmp_path / "a.mha", make.chest(SMALL).hu).rename(tmp_path / "a.nrrd")
    assert (
        refusal(tmp_path / "a.nrrd")
        == "is no NRRD file that can be read (it does not begin with NRRD); is it complete?"
    )


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_a_name_that_is_not_utf8_is_refused_in_one_line(make: ModuleType, tmp_path: Path) -> None:
    path = make.make_itk(tmp_path / "a.mha", make.chest(SMALL).hu)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.mha"))
    path.rename(odd)
    assert refusal(odd) == "its name is not UTF-8, which ITK needs; rename the file"
    make.make_nifti(tmp_path / "a.nii").rename(odd.with_suffix(".nii"))
    assert notes(odd.with_suffix(".nii")) == ()


def test_voxels_as_text_are_fewer_bytes_than_numbers(tmp_path: Path) -> None:
    image = SimpleITK.GetImageFromArray(np.array([[[-1000.0, 40], [5, 6]]], np.float64))
    SimpleITK.WriteImage(image, str(tmp_path / "a.nrrd"))
    head = (tmp_path / "a.nrrd").read_bytes().partition(b"\n\n")[0].replace(b"encoding: raw", b"encoding: ascii")
    (tmp_path / "a.nrrd").write_bytes(head + b"\n\n" + b"-1000 40 5 6")
    with Scratch() as scratch:
        np.testing.assert_array_equal(read(tmp_path / "a.nrrd", scratch).array.ravel(), [-1000, 5, 40, 6])


def test_text_of_a_header_is_shown_without_control_characters(make: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "a.nhdr"
    for field in ("data file: \x1b[2J", 'space units: "\x1b" "\x1b" "\x1b"', "spacings: 1 1 \x1b"):
        nrrd(path, make, "space: LPS", *([] if field.startswith("spacings") else [DIRECTIONS]), field)
        assert refusal(path, force=True).isprintable()


@pytest.mark.parametrize("sides", ["0 20 6", "24 0 6", "24 20 0", "0 0 0"])
def test_a_volume_without_voxels_is_refused(sides: str, make: ModuleType, tmp_path: Path) -> None:
    path = metaimage(tmp_path / "a.mha", make, "ElementSpacing = 4 4 10")
    path.write_bytes(path.read_bytes().replace(b"DimSize = 24 20 6", f"DimSize = {sides}".encode()))
    assert refusal(path, force=True) == f"has no voxels ({sides.replace(' ', ' x ')})"


def test_a_size_of_the_header_in_the_voxels_own_file_is_refused(make: ModuleType, tmp_path: Path) -> None:
    path = metaimage(tmp_path / "a.mha", make, "ElementSpacing = 4 4 10", "HeaderSize = 8")
    assert (
        refusal(path, force=True) == "is not a MetaImage file that can be read (no valid HeaderSize); is it complete?"
    )


@pytest.mark.parametrize("field", ["Offset = nan 0 0", "Offset = 1 2 far", "TransformMatrix = 1 0 0 0 1 inf 0 0 1"])
def test_places_that_are_no_numbers_are_refused(field: str, make: ModuleType, tmp_path: Path) -> None:
    path = metaimage(tmp_path / "a.mha", make, "ElementSpacing = 4 4 10", field)
    name = field.partition(" ")[0]
    assert refusal(path, force=True) == f"is not a MetaImage file that can be read (no valid {name}); is it complete?"


def test_a_micro_sign_of_latin_1_is_one(make: ModuleType, tmp_path: Path) -> None:
    directed = "space directions: (4000,0,0) (0,4000,0) (0,0,10000)"
    path = nrrd(tmp_path / "a.nrrd", make, "space: LPS", directed, 'space units: "MICRO" "MICRO" "MICRO"')
    path.write_bytes(path.read_bytes().replace(b"MICRO", b"\xb5m"))
    with Scratch() as scratch:
        volume = read(path, scratch)
    np.testing.assert_allclose(volume.spacing, (4, 4, 10), rtol=1e-6)
    assert volume.source.notes == ("its lengths, in µm, were converted to millimetres",)

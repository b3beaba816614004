"""NRRD and MetaImage files in, through itk."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from lesionsplit.errors import DataError
from lesionsplit.volumes.stack import Stack
from lesionsplit.volumes.volume import LPS_TO_RAS, Affine, Kind, Voxels

KINDS: Final[dict[str, Kind]] = {".nrrd": "nrrd", ".nhdr": "nrrd", ".mha": "metaimage", ".mhd": "metaimage"}
"""Suffixes that are read, and what they are."""

KEYS: Final = ("NDims", "DimSize", "ElementType", "ElementDataFile")
"""What a MetaImage's header must have."""

LISTS: Final = {"DimSize": 1, "ElementSpacing": 1, "Offset": 1, "TransformMatrix": 2}
"""Fields of a MetaImage's header with a number for each dimension, or for each pair of dimensions."""

HEADER = 1 << 16
"""Bytes at the beginning of a file that its header is looked for in."""

DENSEST = 1032
"""How much smaller deflate makes anything at most."""


def open_itk(path: Path) -> Stack:
    """Open an NRRD or MetaImage file: its header is read and checked; its voxels are read with the first slice.

    Raises:
        DataError: it is not such a file, not a volume of real numbers, or its header promises what the file has not.
    """
    itk = _itk()
    itk.ProcessObject.SetGlobalWarningDisplay(False)
    header = _header(path)
    if _what(path) == "MetaImage":
        _check_metaimage(path, header)
    reader = itk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise DataError(f"{path}: is no {_what(path)} file that can be read ({_why(error)}); is it whole?") from None
    size = tuple(int(n) for n in reader.GetSize())
    while len(size) > 3 and size[-1] == 1:
        size = size[:-1]
    kind = itk.GetPixelIDValueAsString(reader.GetPixelID())
    if reader.GetNumberOfComponents() != 1:
        raise DataError(f"{path}: has {reader.GetNumberOfComponents()} numbers a voxel (colour?); a CT has one")
    if "complex" in kind or "label" in kind:
        raise DataError(f"{path}: has values of type {kind}; allowed: integers and real numbers")
    if len(size) > 3:
        raise DataError(f"{path}: is {len(size)}-dimensional ({_times(size)}); give one volume, of 3 dimensions")
    _check_size(path, header, size, reader.GetPixelID())
    notes = []
    if _what(path) == "NRRD" and not reader.HasMetaDataKey("NRRD_space"):
        notes.append("the file does not say how the patient lies in it (no space): left and right may be swapped")
    i, j, count = (*size, 1)[:3]
    whole: list[tuple[Voxels, Any]] = []  # the image, because the array is a view of it

    def read(k: int) -> Voxels:
        if not whole:
            whole.append(_voxels(path, reader))
        values: Voxels = whole[0][0][k].T
        if k + 1 < count:
            return values
        values = values.copy()
        whole.clear()
        return values

    return Stack(
        kind=KINDS[path.suffix.lower()],
        path=path,
        shape=(i, j, count),
        affine=_affine(reader),
        read=read,
        notes=tuple(notes),
    )


def _itk() -> Any:
    """SimpleITK: slow to import, large, and without types."""
    return import_module("SimpleITK")


def _voxels(path: Path, reader: Any) -> tuple[Voxels, Any]:
    """(K, J, I): all of them at once, for neither format can be read in parts where it is packed."""
    try:
        image = reader.Execute()
    except (RuntimeError, MemoryError) as error:
        raise DataError(f"{path}: breaks off ({_why(error)}); is it whole?") from None
    array: Voxels = _itk().GetArrayViewFromImage(image)
    return array.reshape((-1, *array.shape[-2:])), image


def _affine(reader: Any) -> Affine:
    """(4, 4), to RAS+ millimetres, of a file of two or more dimensions."""
    count = reader.GetDimension()
    lps = np.eye(4)
    across = min(count, 3)
    direction = np.array(reader.GetDirection()).reshape(count, count)[:across, :across]
    lps[:across, :across] = direction * np.array(reader.GetSpacing())[:across]
    lps[:across, 3] = reader.GetOrigin()[:across]
    affine: Affine = LPS_TO_RAS @ lps
    return affine


def _header(path: Path) -> str:
    """The text at the beginning of a file, in which its header is."""
    try:
        with path.open("rb") as file:
            return file.read(HEADER).decode("latin-1")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _check_metaimage(path: Path, header: str) -> None:
    """Before ITK reads a header: it grumbles on the terminal where fields are missing, and believes any count."""
    fields = dict(re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", header, re.MULTILINE))
    wrong = [key for key in KEYS if not fields.get(key)]
    if not wrong and fields["NDims"] not in ("1", "2", "3", "4", "5"):
        wrong = ["NDims"]
    if not wrong:
        count = int(fields["NDims"])
        wrong = [key for key, power in LISTS.items() if key in fields and len(fields[key].split()) != count**power]
    if wrong:
        raise DataError(f"{path}: is no MetaImage file that can be read (no sensible {', '.join(wrong)}); is it whole?")


def _check_size(path: Path, header: str, size: tuple[int, ...], pixel: int) -> None:
    """Before ITK makes room for the size that a header claims."""
    if path.suffix.lower() in (".nhdr", ".mhd"):  # the voxels are elsewhere, in one file or many
        named = re.search(r"^(?:data file:|ElementDataFile\s*=)\s*(\S.*?)\s*$", header, re.MULTILINE)
        if named and not re.search(r"LIST|%", named[1]) and not (path.parent / named[1]).is_file():
            raise DataError(f"{path}: its voxels are said to be in {named[1]}, which is not there")
        return
    length = re.search(r"^CompressedDataSize\s*=\s*(\d+)", header, re.MULTILINE)
    packed = re.search(r"^(encoding:\s*(gz|bz)|CompressedData\s*=\s*True)", header, re.MULTILINE | re.IGNORECASE)
    needed = int(np.prod(size, dtype=object)) * _itk().Image([1, 1], pixel).GetSizeOfPixelComponent()
    found = path.stat().st_size
    if length and int(length[1]) > found:
        raise DataError(f"{path}: its header promises {length[1]} bytes, but the file has {found}; is it whole?")
    if needed > found * (DENSEST if packed else 1):
        raise DataError(
            f"{path}: its header promises {_times(size)} voxels, {needed} bytes, but the file has {found}; is it whole?"
        )


def _what(path: Path) -> str:
    return "NRRD" if KINDS[path.suffix.lower()] == "nrrd" else "MetaImage"


def _why(error: BaseException) -> str:
    """The last thing that ITK says, without the places in its source and the objects' addresses."""
    said = [re.sub(r".*ERROR: |\(0x[0-9a-f]+\)", "", line).strip() for line in str(error).splitlines()]
    lines = [line.rstrip(".") for line in said if line and not line.startswith("Reason:")]  # which is of another error
    return lines[-1] if lines else type(error).__name__


def _times(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))

"""Read NRRD and MetaImage files with SimpleITK."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from lesionsplit.errors import DataError
from lesionsplit.io.itk_header import KINDS, TextHeader, read_text_header
from lesionsplit.io.stack import Stack, check_bytes
from lesionsplit.volumes.grid import times
from lesionsplit.volumes.volume import LPS_TO_RAS, Affine, Voxels


def open_itk(path: Path) -> Stack:
    """Open an NRRD or MetaImage file: check its header now, read its voxels with the first slice.

    Raises:
        DataError: it is not such a file, not a volume of numbers, or smaller than its header declares.
    """
    itk = _itk()
    itk.ProcessObject.SetGlobalWarningDisplay(False)
    header = read_text_header(path)
    reader = itk.ImageFileReader()
    try:
        str(path).encode()  # else ITK would end the process
        reader.SetImageIO("MetaImageIO" if _what(path) == "MetaImage" else "NrrdImageIO")
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
    except UnicodeEncodeError:
        raise DataError(f"{path}: its name is not UTF-8, which ITK needs; rename the file") from None
    except RuntimeError as error:
        raise DataError(f"{path}: is no {_what(path)} file that can be read ({_why(error)}); is it complete?") from None
    size = tuple(int(n) for n in reader.GetSize())
    while len(size) > 3 and size[-1] == 1:
        size = size[:-1]
    kind = itk.GetPixelIDValueAsString(reader.GetPixelID())
    if reader.GetNumberOfComponents() != 1:
        raise DataError(f"{path}: has {reader.GetNumberOfComponents()} values per voxel (colour?); a CT has one")
    if "complex" in kind or "label" in kind:
        raise DataError(f"{path}: has values of type {kind}; allowed: integers and floats")
    if len(size) > 3:
        raise DataError(f"{path}: is {len(size)}-dimensional ({times(size)}); give one volume, of 3 dimensions")
    if min(size) < 1:
        raise DataError(f"{path}: has no voxels ({times(size)})")
    _check_size(path, header, size, reader.GetPixelID())
    i, j, count = (*size, 1)[:3]
    whole: list[tuple[Voxels, Any]] = []  # with the image, because the array is a view of it

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
        affine=np.diag([header.millimetres] * 3 + [1]) @ _affine(reader),
        read=read,
        notes=header.notes,
        doubts=header.doubts,
    )


def _itk() -> Any:
    """SimpleITK: slow to import, large, and without types."""
    return import_module("SimpleITK")


def _voxels(path: Path, reader: Any) -> tuple[Voxels, Any]:
    """(K, J, I): all voxels, because neither format can be read in parts if it is compressed."""
    try:
        image = reader.Execute()
    except (RuntimeError, MemoryError) as error:
        raise DataError(f"{path}: is incomplete ({_why(error)}); is it complete?") from None
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


def _check_size(path: Path, header: TextHeader, size: tuple[int, ...], pixel: int) -> None:
    """Check the size that a header declares before ITK allocates memory for it."""
    count = int(np.prod(size, dtype=object))
    needed = count if header.text else count * _itk().Image([1, 1], pixel).GetSizeOfPixelComponent()
    file = header.voxels or path
    if header.declared > (found := file.stat().st_size):
        raise DataError(
            f"{path}: its header declares {header.declared} bytes, but the file has {found}; is it complete?"
        )
    check_bytes(file, size, needed, compressed=header.packed)


def _what(path: Path) -> str:
    return "NRRD" if KINDS[path.suffix.lower()] == "nrrd" else "MetaImage"


def _why(error: BaseException) -> str:
    """The last line of an error of ITK, without source positions and addresses."""
    lines = [re.sub(r".*ERROR: |\(0x[0-9a-f]+\)", "", line).strip() for line in str(error).splitlines()]
    lines = [
        line.rstrip(".") for line in lines if line and not line.startswith("Reason:")
    ]  # it belongs to another error
    return lines[-1] if lines else type(error).__name__

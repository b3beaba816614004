"""Volume files of any format."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lesionsplit.errors import DataError
from lesionsplit.io.archive import FileEntry
from lesionsplit.io.itk import open_itk
from lesionsplit.io.itk_header import KINDS, named_voxels
from lesionsplit.volumes.volume import Kind

if TYPE_CHECKING:
    from lesionsplit.io.stack import Stack

NIFTI: Final = (".nii", ".nii.gz")

PAIRS: Final = (".hdr", ".hdr.gz")
"""Suffixes of the header of a pair of files; the voxels are in .img, or packed in .img.gz."""

SUFFIXES: Final = (*NIFTI, *KINDS)

BEGINNING = 1024
"""Bytes of a file, packed or not, that have the first number of a header."""


def suffix_of(name: str) -> str:
    """The suffix of a volume file's name, such as ``.nii.gz``; empty for other files."""
    known = (".nii.gz", *SUFFIXES, *PAIRS)
    return next((suffix for suffix in known if name.lower().endswith(suffix)), "")


def is_volume(entry: FileEntry, archive: zipfile.ZipFile | None = None) -> bool:
    """Whether a file is a volume by its name; other programs, too, write files called .hdr.

    Raises:
        DataError: it cannot be opened.
    """
    suffix = suffix_of(entry.name)
    if suffix not in PAIRS:
        return bool(suffix)
    from lesionsplit.io.nifti_file import is_header  # loads nibabel

    with entry.open(archive) as file:
        return is_header(file.read(BEGINNING))


def kind_of(name: str) -> Kind:
    """The format of a volume file by its name, whose suffix is one of `SUFFIXES`."""
    return KINDS.get(suffix_of(name), "nifti")


def open_file(path: Path) -> Stack:
    """Open a volume file.

    Raises:
        DataError: it cannot be read, or is not a volume file.
    """
    suffix = suffix_of(path.name)
    if not suffix:
        raise DataError(f"{path}: is not a volume; allowed: {', '.join(SUFFIXES)}, or DICOM")
    if suffix in KINDS:
        return open_itk(path)
    from lesionsplit.io.nifti import open_nifti  # loads nibabel

    return open_nifti(path)


def voxels_of(path: Path) -> tuple[str, ...]:
    """The names of the files that may hold the voxels of a volume file, if it is not the file itself.

    Raises:
        DataError: its header cannot be read.
    """
    if suffix_of(path.name) in PAIRS:
        from lesionsplit.io.nifti_file import voxel_files  # loads nibabel

        return tuple(file.name for file in voxel_files(path))
    named = named_voxels(path) if suffix_of(path.name) in KINDS else ""
    return (named,) if named else ()


def header_beside(voxels: Path) -> Path | None:
    """The header of a pair of files, if a file holds its voxels."""
    stem = voxels.with_suffix("") if voxels.suffix.lower() == ".gz" else voxels
    if stem.suffix.lower() != ".img":
        return None
    headers = (stem.with_suffix(suffix) for suffix in PAIRS)
    return next((header for header in headers if header.is_file()), None)

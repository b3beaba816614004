"""Volume files, whatever their format: which there are, and how one is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lesionsplit.errors import DataError
from lesionsplit.volumes import nifti
from lesionsplit.volumes.itk import KINDS, open_itk
from lesionsplit.volumes.stack import Stack
from lesionsplit.volumes.volume import Kind

SUFFIXES: Final = (*nifti.SUFFIXES, *KINDS)


def suffix_of(name: str) -> str:
    """The suffix of a volume file's name, ``.nii.gz`` as one; nothing where it is no volume file's."""
    return next((suffix for suffix in (".nii.gz", *SUFFIXES) if name.lower().endswith(suffix)), "")


def kind_of(name: str) -> Kind:
    """What a volume file is, by its name, whose suffix is one of `SUFFIXES`."""
    return KINDS.get(suffix_of(name), "nifti")


def open_file(path: Path) -> Stack:
    """Open a volume file.

    Raises:
        DataError: it cannot be read, or is no volume file.
    """
    suffix = suffix_of(path.name)
    if not suffix:
        raise DataError(f"{path}: is not a volume; allowed: {', '.join(SUFFIXES)}, or DICOM")
    return nifti.open_nifti(path) if suffix in nifti.SUFFIXES else open_itk(path)

"""Whether a file is DICOM, without loading pydicom, which takes as long as the prediction of an image."""

from __future__ import annotations

import zipfile
from typing import Final

from lesionsplit.io.archive import FileEntry

SUFFIXES: Final = (".dcm", ".dicom", ".ima")
"""Suffixes of DICOM files: other content under such a name is broken."""

PREAMBLE = 128

BEGINNINGS: Final = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
"""First bytes of files without preamble: group 2 or 8, in either byte order."""

NOT_DICOM: Final = "was not read from DICOM"
"""Why no DICOM object can refer to a volume."""


def is_dicom(entry: FileEntry, archive: zipfile.ZipFile | None = None) -> bool:
    """Whether a file is DICOM by its first bytes, with or without the preamble of the standard.

    Raises:
        DataError: it cannot be opened.
    """
    with entry.open(archive) as file:
        beginning = file.read(PREAMBLE + 4)
    if beginning[PREAMBLE:] == b"DICM":
        return True
    return beginning[:2] in BEGINNINGS and len(beginning) > 8 and max(beginning[2:4]) <= 0x18

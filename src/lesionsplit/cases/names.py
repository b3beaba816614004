"""Names of cases: of folders and files, safe to make folders of, and no two alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from pathlib import Path

from lesionsplit.dicom.files import SUFFIXES as DICOM_SUFFIXES
from lesionsplit.images import SUFFIXES as IMAGE_SUFFIXES
from lesionsplit.volumes.files import suffix_of

LONGEST = 60
"""Letters of a name, of which the last say most: files made of it have more."""


def stem(name: str) -> str:
    """A file's name without a suffix that says what it is; what else has dots in it stays whole."""
    suffix = suffix_of(name) or Path(name).suffix
    known = (*DICOM_SUFFIXES, *IMAGE_SUFFIXES, ".zip")
    return name.removesuffix(name[len(name) - len(suffix) :]) if suffix_of(name) or suffix.lower() in known else name


def safe(name: str) -> str:
    """A name with letters, digits and ``-_.`` only, of any script, that begins and ends with none of these."""
    letters = (letter if letter.isalnum() or letter in "_." else "-" for letter in unicodedata.normalize("NFC", name))
    short = "".join(letters)
    while "--" in short:
        short = short.replace("--", "-")
    return short.strip("-.")[-LONGEST:].strip("-.") or "case"


def unique(name: str, taken: Collection[str]) -> str:
    """The name, or with a number behind it the first that is not taken; case does not tell names apart."""
    folded = {other.casefold() for other in taken}
    count, candidate = 1, name
    while candidate.casefold() in folded:
        count += 1
        candidate = f"{name}-{count}"
    return candidate

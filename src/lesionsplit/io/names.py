"""Names of cases, from files and folders: valid as folder names, and unique."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from pathlib import Path

from lesionsplit.images import SUFFIXES as IMAGE_SUFFIXES
from lesionsplit.io.dicom.recognise import SUFFIXES as DICOM_SUFFIXES
from lesionsplit.io.files import suffix_of

LONGEST = 60
"""Maximum characters of a name; the last ones are kept, which distinguish most."""


def stem(name: str) -> str:
    """A file's name without a known suffix; other dots are kept."""
    suffix = suffix_of(name) or Path(name).suffix
    known = (*DICOM_SUFFIXES, *IMAGE_SUFFIXES, ".zip")
    return name.removesuffix(name[len(name) - len(suffix) :]) if suffix_of(name) or suffix.lower() in known else name


def safe(name: str) -> str:
    """A name of letters and digits of any script and ``-_.``, which does not start or end with ``-`` or ``.``."""
    letters = (letter if letter.isalnum() or letter in "_." else "-" for letter in unicodedata.normalize("NFC", name))
    short = "".join(letters)
    while "--" in short:
        short = short.replace("--", "-")
    return short.strip("-.")[-LONGEST:].strip("-.") or "case"


def unique(name: str, taken: Collection[str]) -> str:
    """The name, with a number appended if it is taken; names that differ only in case are equal."""
    folded = {other.casefold() for other in taken}
    count, candidate = 1, name
    while candidate.casefold() in folded:
        count += 1
        candidate = f"{name}-{count}"
    return candidate

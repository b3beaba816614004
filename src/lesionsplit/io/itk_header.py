"""Headers of NRRD and MetaImage files: which file holds the voxels, and what SimpleITK passes over in silence.

SimpleITK reads any file that a header names, and takes lengths for millimetres whatever their unit is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Final

from lesionsplit.csvtext import printable
from lesionsplit.errors import DataError
from lesionsplit.io.stack import check_beside
from lesionsplit.volumes.volume import Kind

KINDS: Final[dict[str, Kind]] = {".nrrd": "nrrd", ".nhdr": "nrrd", ".mha": "metaimage", ".mhd": "metaimage"}
"""Supported suffixes and their formats."""

KEYS: Final = ("NDims", "DimSize", "ElementType", "ElementDataFile")
"""Required fields of a MetaImage header."""

LISTS: Final = {
    "DimSize": 1, "ElementSpacing": 1, "ElementSize": 1, "Offset": 1, "Position": 1, "Origin": 1, "CenterOfRotation": 1,
    "TransformMatrix": 2, "Rotation": 2, "Orientation": 2,
}  # fmt: skip
"""Fields of a MetaImage header with a number for each dimension (1) or each pair of dimensions (2)."""

HEADER = 1 << 16
"""Maximum bytes of a header."""

MILLIMETRES: Final = {
    "mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "millimetre": 1.0, "millimetres": 1.0,
    "cm": 10.0, "centimeter": 10.0, "centimeters": 10.0, "centimetre": 10.0, "centimetres": 10.0,
    "m": 1000.0, "meter": 1000.0, "meters": 1000.0, "metre": 1000.0, "metres": 1000.0,
    "um": 0.001, "µm": 0.001, "μm": 0.001, "micron": 0.001, "microns": 0.001,
    "micrometer": 0.001, "micrometers": 0.001, "micrometre": 0.001, "micrometres": 0.001,
    "in": 25.4, "inch": 25.4, "inches": 25.4,
}  # fmt: skip
"""Units of length, in millimetres."""

LATIN_MICRO: Final = "\udcb5"
"""What becomes of the micro sign of Latin-1 in a header, which is read as UTF-8."""

UNKNOWN: Final = ("", "?", "???", "unknown", "none")
"""What stands for no unit."""

PATIENT: Final = re.compile(r"(left|right)-(anterior|posterior)-superior(-time)?|[lr][ap]st?", re.IGNORECASE)
"""The spaces of NRRD whose axes are directions of the patient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextHeader:
    """What is used of a header besides SimpleITK."""

    voxels: Path | None
    """The file of the voxels; None if they follow the header."""

    named: str
    """The name of that file as the header has it."""

    packed: bool
    """Whether the voxels are compressed."""

    declared: int = 0
    """Bytes of the compressed voxels, if the header has their number."""

    text: bool
    """Whether the voxels are written as text."""

    millimetres: float = 1.0
    """Millimetres of a unit of length."""

    notes: tuple[str, ...] = ()

    doubts: tuple[str, ...] = ()
    """What makes measures doubtful."""


def read_text_header(path: Path) -> TextHeader:
    """Read and check the header of a file.

    Raises:
        DataError: the file is missing, has no valid header, or its voxels are not in one file beside it.
    """
    header = _beginning(path)
    return _nrrd(path, header) if KINDS[path.suffix.lower()] == "nrrd" else _metaimage(path, header)


def named_voxels(path: Path) -> str:
    """The name of the file that holds the voxels, as a header has it; empty if they follow the header.

    Raises:
        DataError: the header cannot be read.
    """
    find = _nrrd_file if KINDS[path.suffix.lower()] == "nrrd" else _metaimage_file
    return find(path, _beginning(path)).removeprefix("./")


def _beginning(path: Path) -> str:
    """The text at the beginning of a file, which holds its header."""
    try:
        with path.open("rb") as file:
            return file.read(HEADER).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _metaimage(path: Path, header: str) -> TextHeader:
    named = _metaimage_file(path, header)
    fields = _metaimage_fields(header)
    spacing = fields.get("ElementSpacing") or fields.get("ElementSize") or ""
    doubts = _doubtful_spacing(path, spacing.split(), "ElementSpacing")
    matrix = [_number(word) for word in fields.get("TransformMatrix", "").split()]
    count = int(fields["NDims"])
    sides = [sum(x * x for x in matrix[axis * count : (axis + 1) * count]) for axis in range(len(matrix) // count)]
    if any(abs(side - 1) > 1e-2 for side in sides):
        doubts.append("its TransformMatrix stretches the axes")
    scale = [_number(fields.get(f"ElementToIntensityFunction{name}", usual)) for name, usual in SCALE.items()]
    if scale != [1, 0]:
        doubts.append(f"its values should be multiplied by {scale[0]:g}, plus {scale[1]:g}, and were read unchanged")
    millimetres, notes = _lengths(path, [fields.get("DistanceUnits", "")])
    return TextHeader(
        voxels=_beside(path, named) if named else None,
        named=named,
        packed=fields.get("CompressedData", "").lower() == "true",
        declared=int(declared) if (declared := fields.get("CompressedDataSize", "")).isdecimal() else 0,
        text=fields.get("BinaryData", "True").lower() == "false",
        millimetres=millimetres,
        notes=notes,
        doubts=tuple(doubts),
    )


SCALE: Final = {"Slope": "1", "Offset": "0"}
"""The linear map of a MetaImage's values, which ITK does not apply, and what it is usually."""


def _metaimage_file(path: Path, header: str) -> str:
    """Check a header before ITK, which prints warnings about missing fields and accepts any count."""
    fields = _metaimage_fields(header)
    wrong = [key for key in KEYS if not fields.get(key)]
    if not wrong and fields["NDims"] not in ("1", "2", "3", "4", "5"):
        wrong = ["NDims"]
    if not wrong:
        count = int(fields["NDims"])
        wrong = [key for key, power in LISTS.items() if key in fields and not _numbers(fields[key], count**power, key)]
    names = re.findall(r"^\w+", _metaimage_text(header), re.MULTILINE)
    if not wrong:
        wrong = [
            key for key in dict.fromkeys((*KEYS, *LISTS)) if names.count(key) > 1
        ]  # ITK might read another one than this module
    if not wrong and header.count("ElementDataFile") != 1:
        wrong = ["ElementDataFile"]
    if not wrong and fields["ElementDataFile"].upper() == "LOCAL" and fields.get("HeaderSize", "0") not in ("0", "-1"):
        wrong = ["HeaderSize"]  # ITK counts it from the start of the file and reads the header as voxels
    if wrong:
        raise DataError(
            f"{path}: is not a MetaImage file that can be read (no valid {', '.join(wrong)}); is it complete?"
        )
    return "" if fields["ElementDataFile"].upper() == "LOCAL" else fields["ElementDataFile"]


def _numbers(text: str, count: int, key: str) -> bool:
    """Whether a field has so many finite numbers, which ITK does not check; those of a spacing are checked later."""
    words = text.split()
    return len(words) == count and ("Spacing" in key or "Size" in key or all(isfinite(_number(word)) for word in words))


def _metaimage_text(header: str) -> str:
    """A header up to the voxels, which follow its last field."""
    before, last, rest = header.partition("ElementDataFile")
    return before + last + rest.partition("\n")[0]


def _metaimage_fields(header: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", _metaimage_text(header), re.MULTILINE | re.ASCII))


def _nrrd(path: Path, header: str) -> TextHeader:
    named = _nrrd_file(path, header)
    found = re.findall(r"^([^:#=\n]+):(?!=)\s*(.*?)\s*$", _lines(header), re.MULTILINE | re.ASCII)
    fields = {key.lower(): value for key, value in found}
    directions = fields.get("space directions")
    doubts: list[str] = []
    notes: list[str] = []
    if directions is None:
        doubts += _doubtful_spacing(path, fields.get("spacings", "").split(), "spacings")
    elif "none" in directions.lower():
        doubts.append("its space directions are not known for all axes: their voxels were read as 1 mm")
    space = fields.get("space", "")
    if not PATIENT.fullmatch(space):
        why = f"its space is {printable(space)}" if space else "no space"
        notes.append(f"the file has no orientation ({why}): left and right may be swapped")
    units = re.findall(r'"([^"]*)"', fields.get("space units" if directions is not None else "units", ""))
    millimetres, unit_notes = _lengths(path, units)
    encoding = fields.get("encoding", "").lower()
    return TextHeader(
        voxels=_beside(path, named) if named else None,
        named=named,
        packed=encoding.startswith(("gz", "bz")),
        text=encoding in ("ascii", "text", "txt"),
        millimetres=millimetres,
        notes=(*notes, *unit_notes),
        doubts=tuple(doubts),
    )


def _nrrd_file(path: Path, header: str) -> str:
    lines = _lines(header)
    if not re.match(r"NRRD\d{4}\n", lines):
        raise DataError(f"{path}: is no NRRD file that can be read (it does not begin with NRRD); is it complete?")
    if "\r" in lines:  # ITK might take it for the end of a line
        raise DataError(f"{path}: is no NRRD file that can be read (its header has odd line ends); is it complete?")
    if "\n\n" not in lines and path.stat().st_size > HEADER:
        raise DataError(f"{path}: is no NRRD file that can be read (its header does not end); is it complete?")
    named = re.findall(r"^\s*data\s*file\s*:.*$", lines, re.MULTILINE | re.IGNORECASE)
    if not named:
        return ""
    valid = re.fullmatch(r"data ?file: *(\S.*?)\s*", named[0], re.IGNORECASE | re.ASCII)
    if len(named) > 1 or not valid:  # ITK might read another one than this module
        raise DataError(f"{path}: is no NRRD file that can be read (no valid data file); is it complete?")
    return valid[1]


def _lines(header: str) -> str:
    """A header with the line ends of Unix, up to the voxels."""
    lines = header.replace("\r\n", "\n")
    return lines.partition("\n\n")[0] + ("\n\n" if "\n\n" in lines else "\n")


def _beside(path: Path, named: str) -> Path:
    """The file of the voxels: a header from somebody else must not make any other file readable.

    Raises:
        DataError: it does not exist, or is not beside the header.
    """
    name = named.removeprefix("./")
    if re.search(r"[/\\:%\x00-\x1f]", name) or re.match(r"(SKIP)?LIST\b", name) or name in ("", ".", ".."):
        raise DataError(
            f"{path}: its voxels should be in {named!r}; allowed: one file beside the header, by its name alone; save "
            "the volume in one file, .nrrd or .mha"
        )
    file = path.parent / name
    check_beside(path, file)
    return file


def _doubtful_spacing(path: Path, words: Sequence[str], field: str) -> list[str]:
    """Doubts about the spacing of voxels, which ITK replaces with 1, or takes for a mirrored axis.

    Raises:
        DataError: it is not that of any grid.
    """
    if not words:
        return [f"the file has no spacing ({field}): its voxels were read as 1 mm a side"]
    values = [_number(word) for word in words]
    said = f"its spacing ({field}) is {printable(' x '.join(words))}"
    if not all(isfinite(value) and value for value in values):
        raise DataError(f"{path}: {said}; allowed: numbers above 0; correct the header")
    return [f"{said}: axes of negative spacing were read as mirrored"] if min(values) < 0 else []


def _lengths(path: Path, units: Sequence[str]) -> tuple[float, tuple[str, ...]]:
    """Millimetres of the unit of length, and notes."""
    found = {unit.strip().replace(LATIN_MICRO, "µ") for unit in units if unit.strip().lower() not in UNKNOWN}
    if not found:
        return 1.0, ()
    factors = {MILLIMETRES.get(unit.lower()) for unit in found}
    said = printable(", ".join(sorted(found)))
    factor = factors.pop()
    if factors or factor is None:
        raise DataError(f"{path}: its lengths are in {said}; allowed: mm, cm, m, um or in, for all axes")
    return factor, () if factor == 1 else (f"its lengths, in {said}, were converted to millimetres",)


def _number(word: str) -> float:
    """A number of a header; NaN if it is none."""
    try:
        return float(word)
    except ValueError:
        return float("nan")

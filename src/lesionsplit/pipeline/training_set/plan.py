"""What is known of each scan before it is read: its label, patient, split and masks; from a table or a recipe."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from lesionsplit.data.table import MASK_PREFIX, Label, Split
from lesionsplit.errors import DataError
from lesionsplit.io.case import Case
from lesionsplit.io.label_maps import label_map
from lesionsplit.io.names import safe, stem

Intensity: TypeAlias = Literal["hu", "8-bit", "either"]
"""``either``: HU where values look like HU, otherwise 8-bit grey."""

COLUMNS = ("scan", "label", "first", "last", "patient", "split", "lungs", "intensity")
"""Columns of a table of labels, besides ``mask_<annotator>``; ``scan`` is required."""


@dataclass(frozen=True, slots=True)
class Span:
    """A label for slices ``first`` to ``last``, from 1 at the slice nearest to the feet; None: to the end."""

    label: Label
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A scan of which something is known."""

    scan: str
    """What names the scan: its path, its name, or for DICOM its SeriesInstanceUID or the PatientID."""

    spans: tuple[Span, ...] = ()
    """Empty where the labels come from masks."""

    patient: str = ""
    split: Split | None = None
    masks: Mapping[str, Path] = field(default_factory=dict)
    """By annotator: label maps on the scan's grid."""

    contours: Path | None = None
    """An XML file with the contours of LIDC-IDRI's readers."""

    values: tuple[int, ...] = ()
    """Labels of the masks that are lesion; empty: all but 0."""

    lungs: Path | None = None
    intensity: Intensity | None = None
    """None: as the option says."""

    place: str = ""
    """For messages: ``labels.csv line 2``."""


def read_labels_table(path: Path, roots: Sequence[Path], *, labelled: bool) -> list[Planned]:
    """Read a table of labels; files in it are relative to its folder or to a folder of scans.

    Args:
        path: CSV with a header, see `COLUMNS`.
        roots: the folders of scans.
        labelled: whether the column ``label`` is required.

    Raises:
        DataError: it cannot be read, a column or value is missing or unknown, or a scan is listed twice as a whole.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restkey="", strict=True)
            found = list(reader.fieldnames or ())
            needed = {"scan", *(["label"] if labelled else [])}
            if missing := sorted(needed - set(found)):
                raise DataError(f"{path}: lacks the column {missing[0]}; found: {', '.join(found) or 'nothing'}")
            if unknown := [one for one in found if one not in COLUMNS and not one.startswith(MASK_PREFIX)]:
                allowed = ", ".join((*COLUMNS, f"{MASK_PREFIX}NAME"))
                raise DataError(f"{path}: has the unknown column {unknown[0]!r}; allowed: {allowed}")
            rows = [_row(row, f"{path} line {reader.line_num}", [path.parent, *roots], labelled) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}); it must be comma-separated UTF-8 text") from None
    if not rows:
        raise DataError(f"{path}: has no row; give one for each scan")
    return _merged(rows)


def _row(row: Mapping[str, str | None], place: str, near: Sequence[Path], labelled: bool) -> Planned:
    def text(column: str) -> str:
        return (row.get(column) or "").strip()

    def choice(column: str, allowed: tuple[str, ...]) -> str | None:
        value = text(column)
        if value and value not in allowed:
            raise DataError(f"{place}: {column} is {value!r}; allowed: {', '.join(allowed)}")
        return value or None

    def number(column: str) -> int | None:
        value = text(column)
        if value and not (value.isascii() and value.isdigit() and int(value) > 0):
            raise DataError(f"{place}: {column} is {value!r}; allowed: slice numbers from 1, counted from the feet")
        return int(value) if value else None

    def file(column: str) -> Path | None:
        value = text(column)
        found = next((folder / value for folder in near if (folder / value).is_file()), None) if value else None
        if value and found is None:
            raise DataError(f"{place}: {column} {value} is missing; give a file beside the table or the scans")
        return found

    if "" in row:
        raise DataError(f"{place}: has more fields than the header has columns")
    if not text("scan"):
        raise DataError(f"{place}: has no scan; give its file, folder or name")
    label = choice("label", get_args(Label))
    if labelled and label is None:
        raise DataError(f"{place}: has no label; allowed: {', '.join(get_args(Label))}")
    first, last = number("first"), number("last")
    if first is not None and last is not None and first > last:
        raise DataError(f"{place}: first is {first} and last {last}; first must not be above last")
    masks = {column.removeprefix(MASK_PREFIX): file(column) for column in row if column.startswith(MASK_PREFIX)}
    return Planned(
        scan=text("scan"),
        spans=(Span(label, first, last),) if label else (),  # type: ignore[arg-type]
        patient=text("patient"),
        split=choice("split", get_args(Split)),  # type: ignore[arg-type]
        masks={name: path for name, path in masks.items() if path is not None},
        lungs=file("lungs"),
        intensity=choice("intensity", get_args(Intensity)),  # type: ignore[arg-type]
        place=place,
    )


def _merged(rows: Sequence[Planned]) -> list[Planned]:
    """One entry for each scan: several rows of a scan are labels of ranges of its slices."""
    merged: dict[str, Planned] = {}
    for row in rows:
        before = merged.setdefault(row.scan, row)
        if before is row:
            continue
        spans = (*before.spans, *row.spans)
        if not row.spans or any(span.first is None and span.last is None for span in spans):
            raise DataError(
                f"{row.place}: {row.scan} is already listed at {before.place}; give one row for a scan, or ranges of "
                "slices in the columns first and last"
            )
        _check_apart(spans, row)
        if (before.patient, before.split) != (row.patient, row.split):
            raise DataError(f"{row.place}: {row.scan} has another patient or split than at {before.place}")
        merged[row.scan] = replace(before, spans=spans, masks={**before.masks, **row.masks})
    return list(merged.values())


def _check_apart(spans: Sequence[Span], row: Planned) -> None:
    ends = sorted((span.first or 1, span.last or 1 << 62) for span in spans)
    for (_, last), (first, _) in itertools.pairwise(ends):
        if first <= last:
            raise DataError(
                f"{row.place}: ranges of {row.scan} overlap at slice {first}; let each slice have one label"
            )


def matched(
    planned: Sequence[Planned], cases: Sequence[Case], roots: Sequence[Path], broken: Sequence[str]
) -> dict[str, Planned]:
    """What is known of each case, by its name. Cases that nothing names are left out.

    Args:
        planned: what a table or a recipe says.
        cases: the scans found.
        roots: the inputs that were searched.
        broken: lines about inputs that hold no readable scan: a label may name one of these.

    Raises:
        DataError: an entry names no scan, or several by their name; or two entries name the same scan.
    """
    index = _Index(cases, roots)
    known: dict[str, Planned] = {}
    lost: list[Planned] = []
    for one in planned:
        found = index.find(one)
        if not found and not any(one.scan in line for line in broken):
            lost.append(one)
        for case in found:
            if case.name in known:
                raise DataError(f"{one.place}: {one.scan} is the scan of {known[case.name].place}; remove one of them")
            known[case.name] = one
    if lost:
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        names = ", ".join(case.name for case in cases[:4]) or "none"
        raise DataError(
            f"{lost[0].place}: {lost[0].scan} names no scan{more}; found: {names}{' ...' * (len(cases) > 4)}"
        )
    return known


class _Index:
    """Finds the cases that a text names."""

    def __init__(self, cases: Sequence[Case], roots: Sequence[Path]) -> None:
        self._names: dict[str, list[Case]] = {}
        self._groups: dict[str, list[Case]] = {}
        folders = [root.resolve() for root in roots]
        for case in cases:
            path = case.path.resolve()
            own = {case.name, path.name, stem(path.name), str(case.path), str(path)}
            own |= {str(path.relative_to(folder)) for folder in folders if path.is_relative_to(folder)}
            series, patient = identity(case)
            for name in own | {series} - {""}:
                self._names.setdefault(name, []).append(case)
            above = {
                str(one.relative_to(folder)) for folder in folders for one in path.parents if one.is_relative_to(folder)
            }
            for name in (above | {patient}) - own - {"", "."}:
                self._groups.setdefault(name, []).append(case)

    def find(self, one: Planned) -> list[Case]:
        """The case of a name; or all cases of a folder or patient."""
        key = one.scan.rstrip("/")
        found = self._names.get(key, [])
        if len(found) > 1:
            raise DataError(
                f"{one.place}: {one.scan} names {len(found)} scans, such as {found[0].where} and {found[1].where}; "
                "give the path of one"
            )
        return found or self._groups.get(key) or self._names.get(safe(key), [])


def identity(case: Case) -> tuple[str, str]:
    """SeriesInstanceUID and PatientID of a DICOM series; empty where there is none, or the header is broken."""
    if case.kind != "dicom":
        return "", ""
    from lesionsplit.io.dicom.files import read_dataset, stated

    try:
        header = read_dataset(case.entries[0])
    except DataError:
        return "", ""
    return stated(header, "SeriesInstanceUID"), stated(header, "PatientID")


def with_masks(planned: Planned, case: Case, folders: Mapping[str, Path], lungs: Path | None) -> Planned:
    """What is known of a scan, with the label maps that are called as the scan in folders of masks and of lungs."""
    found = {name: path for name, folder in folders.items() if (path := _called_as(case, folder)) is not None}
    own = planned.lungs or (_called_as(case, lungs) if lungs is not None else None)
    return replace(planned, masks={**found, **planned.masks}, lungs=own)


def _called_as(case: Case, folder: Path) -> Path | None:
    names = (case.name, stem(case.path.name), safe(stem(case.path.name)))
    return next((path for name in names if (path := label_map(folder, name)) is not None), None)

"""Put slices into series: by SeriesInstanceUID, or by position where an anonymiser scrambled the UIDs.

A UID says how images are kept, not where they lie. Slices whose UID is missing, or is theirs alone, belong together
if patient, study date, series number, reconstruction and geometry agree, no study or frame of reference that several
slices share tells them apart, and their positions form one stack. A series number says nothing if each slice has its
own; nor do patient, date and accession number if a study agrees.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from pydicom import Dataset

from lesionsplit.errors import DataError
from lesionsplit.io.archive import FileEntry
from lesionsplit.io.dicom.acquisitions import FEWEST, acquisitions
from lesionsplit.io.dicom.files import numbers, read_dataset, stated, strip, value_of
from lesionsplit.io.dicom.geometry import Place, along_normal, is_stack, place_of
from lesionsplit.io.dicom.selection import scrambled

ALIKE: Final = (
    "PatientID", "PatientName", "StudyDate", "AccessionNumber", "SeriesNumber", "SeriesDescription", "Modality",
    "RescaleType", "ConvolutionKernel", "KVP", "SliceThickness", "Rows", "Columns",
)  # fmt: skip
"""Elements that slices of one series share, where they are stated."""

EVIDENCE: Final = ("StudyInstanceUID", "FrameOfReferenceUID")
"""UIDs that tell slices apart if several share one; one that is missing or of a single slice tells nothing."""

ONE_OF_A_STUDY: Final = ("PatientID", "PatientName", "StudyDate", "AccessionNumber")
"""Elements that slices of one study share."""

FARTHEST_MM = 25.0
"""Maximum distance between slices that are put together by position."""

Series = dict[str, list["Head"]]


Part = list[tuple["Head", Dataset, Place | None]]


class Head(NamedTuple):
    """Fields of a slice's header that identify its series."""

    entry: FileEntry
    series: str
    """Its SeriesInstanceUID; empty if it has none."""

    patient: str
    number: str
    description: str

    def __str__(self) -> str:
        return " ".join(filter(None, (self.number or "without number", self.description and f'"{self.description}"')))


def head_of(entry: FileEntry, header: Dataset) -> Head:
    """The fields of a header."""
    return Head(
        entry,
        _text(value_of(header, "SeriesInstanceUID")),
        _text(value_of(header, "PatientID")),
        _named(value_of(header, "SeriesNumber")),
        _named(value_of(header, "SeriesDescription")),
    )


def series_of(heads: Sequence[Head], archive: zipfile.ZipFile | None = None) -> Series:
    """Slices by series.

    Headers are read again only where several series look alike and some have a single slice or no UID.

    Args:
        heads: of the slices.
        archive: the open archive of their files, if any.
    """
    by_uid: Series = {}
    for head in heads:
        by_uid.setdefault(head.series, []).append(head)
    unscrambled = _unscrambled([head for uid, ones in by_uid.items() if not uid or len(ones) == 1 for head in ones])
    alike: dict[tuple[str, ...], Series] = {}
    moved: dict[FileEntry, str] = {}
    for uid, ones in by_uid.items():
        apart: dict[tuple[str, ...], list[Head]] = {}
        for head, key in zip(ones, _keys(ones), strict=True):
            apart.setdefault(key, []).append(head)
            alike.setdefault(unscrambled.get(head.entry, key), {}).setdefault(uid, []).append(head)
        if uid and len(apart) > 1 and min(map(len, apart.values())) >= FEWEST:  # several series were given one UID
            moved |= {head.entry: f"{uid} {number}" for number, some in enumerate(apart.values()) for head in some}
    for some in alike.values():
        if "" in some or (len(some) > 1 and min(map(len, some.values())) == 1):
            moved |= _moved(some, archive)
    found: Series = {}
    for head in heads:
        found.setdefault(moved.get(head.entry, head.series), []).append(head)
    return found


def _keys(heads: Sequence[Head]) -> list[tuple[str, ...]]:
    """Patient, number and description of slices; what some lack is that of the others, if those agree."""
    columns = [(head.patient, head.number, head.description) for head in heads]
    known = [{value for value in column if value} for column in zip(*columns, strict=True)]
    alone = [next(iter(values)) if len(values) == 1 else "" for values in known]
    return [tuple(value or one for value, one in zip(row, alone, strict=True)) for row in columns]


def _unscrambled(heads: Sequence[Head]) -> dict[FileEntry, tuple[str, ...]]:
    """Keys, see `_keys`, of slices without a series that differ only in a number, a patient or both of their own.

    Whether the slices belong together is for `_moved` to say.
    """
    found: dict[FileEntry, tuple[str, ...]] = {}
    for own in (("number",), ("patient",), ("number", "patient")):
        groups: dict[Head, list[Head]] = {}
        for head in heads:
            key = head._replace(entry=FileEntry(Path()), series="", **dict.fromkeys(own, ""))
            groups.setdefault(key, []).append(head)
        for key, group in groups.items():
            if all(len({getattr(head, name) for head in group} - {""}) == len(group) >= FEWEST for name in own):
                found |= {head.entry: (key.patient, key.number, key.description) for head in group}
    return found


def _moved(series: Mapping[str, Sequence[Head]], archive: zipfile.ZipFile | None) -> dict[FileEntry, str]:
    """A new name of the series of each slice that is put together with others."""
    read = [(head, strip(read_dataset(head.entry, archive))) for heads in series.values() for head in heads]
    own = _own([header for _, header in read])
    groups: dict[tuple[str, ...], Part] = {}
    for head, header in read:
        try:
            place = place_of(header, "")
        except DataError:
            place = None
        groups.setdefault(_alike(header, own), []).append((head, header, place))
    moved: dict[FileEntry, str] = {}
    for part in (part for group in groups.values() for part in _parts(group)):
        counts = Counter(head.series for head, _, _ in part)
        whole = [uid for uid, count in counts.items() if uid and count > 1]
        if len(counts) > 1 and len(whole) < 2:
            moved |= _stacks(part)
        unnamed = [head for head, _, _ in part if not head.series and head.entry not in moved]
        moved |= {head.entry: f"without UID {unnamed[0].entry}" for head in unnamed}
    return moved


def _parts(group: Part) -> list[Part]:
    """Slices that look alike, apart by the studies and frames of reference that several of them share.

    A slice whose UIDs tell nothing is put with the others only if there is one such part, and not if it states other
    UIDs than those that this part shares.
    """
    stated_ones = [tuple(_text(value_of(header, keyword)) for keyword in EVIDENCE) for _, header, _ in group]
    counts = [Counter(column) for column in zip(*stated_ones, strict=True)]
    keys = [
        tuple(uid if count[uid] > 1 else "" for uid, count in zip(uids, counts, strict=True)) for uids in stated_ones
    ]
    known = {key for key in keys if any(key)}
    full = known - {less for key in known for less in _less(key) if less != key}
    fitting: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for key in full:
        for less in _less(key):
            fitting.setdefault(less, []).append(key)
    parts: dict[tuple[str, ...], Part] = {}
    for one, key, uids in zip(group, keys, stated_ones, strict=True):
        into = fitting.get(key, [])
        foreign = not any(key) and any(
            uid and shared for other in into for uid, shared in zip(uids, other, strict=True)
        )
        parts.setdefault(into[0] if len(into) == 1 and not foreign else key, []).append(one)
    return list(parts.values())


def _less(key: tuple[str, ...]) -> set[tuple[str, ...]]:
    """A key, and all keys with some of its UIDs left empty."""
    return set(product(*(("", uid) for uid in key)))


def _stacks(group: Part) -> dict[FileEntry, str]:
    """The stacks that slices form, each by the name of its series."""
    placed = [(head, header, place) for head, header, place in group if place is not None]
    if len(placed) < FEWEST:
        return {}
    places = [place for _, _, place in placed]
    along = along_normal(places)
    moved: dict[FileEntry, str] = {}
    for part in acquisitions([header for _, header, _ in placed], along):
        ordered = sorted(part, key=lambda index: along[index])
        if len(ordered) < FEWEST or not is_stack([places[index] for index in ordered], FARTHEST_MM):
            continue
        heads = [placed[index][0] for index in part]
        uids = [head.series for head in heads if head.series]
        name = Counter(uids).most_common(1)[0][0] if uids else f"without UID {heads[0].entry}"
        moved |= {head.entry: name for head in heads}
    return moved


def _own(headers: Sequence[Dataset]) -> set[str]:
    """Elements that say nothing, because each slice has a value of its own."""
    own = {keyword for keyword in ONE_OF_A_STUDY if scrambled(headers, keyword)}
    numbers_of_slices = {stated(header, "SeriesNumber") for header in headers} - {""}
    return own | ({"SeriesNumber"} if len(numbers_of_slices) == len(headers) >= FEWEST else set())


def _alike(header: Dataset, own: Container[str]) -> tuple[str, ...]:
    """What slices of one series have in common, without elements in ``own``."""
    grid = (*(numbers(header, "PixelSpacing", 2) or ()), *(numbers(header, "ImageOrientationPatient", 6) or ()))
    return (*(stated(header, keyword) for keyword in ALIKE if keyword not in own), str(np.round(grid, 2) + 0.0))


def _text(value: object) -> str:
    return " ".join(str(value).split()) if value is not None else ""


def _named(value: object) -> str:
    """A text, but empty for ``None``, which some programs write."""
    return "" if (text := _text(value)).lower() == "none" else text

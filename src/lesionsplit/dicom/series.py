"""A DICOM series of CT slices, one file a slice, as a volume: sorted by place, in Hounsfield units, or refused."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from pydicom import Dataset

from lesionsplit.dicom.files import listed, numbers, read_dataset, strip, value_of, why_not
from lesionsplit.dicom.geometry import SAME_PLACE, Place, affine_of, along_normal, groups_of, place_of
from lesionsplit.dicom.pixels import read_slice
from lesionsplit.errors import DataError
from lesionsplit.volumes.archive import Entry
from lesionsplit.volumes.filling import Filling
from lesionsplit.volumes.grid import check_affine
from lesionsplit.volumes.intensity import AIR, Wanted
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Source, Volume

PROJECTIONS: Final = frozenset({"MIP", "MINIP", "MAX_IP", "MIN_IP"})
"""Words in ImageType of what is no slice: each pixel is the brightest or darkest of many."""


def read_series(
    entries: Sequence[Entry],
    scratch: Scratch,
    *,
    path: Path,
    name: str,
    where: str = "",
    intensity: Wanted = "auto",
    force: bool = False,
    notes: tuple[str, ...] = (),
) -> Volume:
    """Read the slices of one series.

    Index k counts along the slices' normal, whatever the files are called; i counts columns and j rows.
    Values are HU, rescaled slice by slice; what is below -1024, and padding, becomes -1024.

    Args:
        entries: the files, in any order.
        scratch: where the array is kept.
        path: what the user gave.
        name: names the case.
        where: the series, for messages; by default the path.
        intensity: what the values are.
        force: go on where slices are missing, double or odd.
        notes: what is known already to be odd.

    Raises:
        DataError: files are broken, or do not make one volume.
    """
    where = where or str(path)
    with entries[0].opened_archive() as archive:
        headers = [_header(entry, archive) for entry in entries]
        if len({str(value_of(header, "PatientID") or "") for header in headers}) > 1:
            raise DataError(f"{where}: one series has slices of several patients; export it again")
        notes += _quality(headers, where, force=force)
        places = [place_of(header, str(entry)) for header, entry in zip(headers, entries, strict=True)]
        chosen, odd = _one_grid(places, where, force=force)
        notes += odd
        chosen, odd = _one_a_place(chosen, headers, places, entries, archive, where, force=force)
        notes += odd
        sorted_places = [places[index] for index in chosen]
        thickness = numbers(headers[chosen[0]], "SliceThickness", 1) or numbers(
            headers[chosen[0]], "SpacingBetweenSlices", 1
        )
        thick = abs(thickness[0]) if thickness else None
        affine, odd = affine_of(sorted_places, where, thickness=thick, force=force)
        check_affine(affine, where, force=force)
        notes += odd
        columns, rows = sorted_places[0].size
        filling = Filling(scratch, (columns, rows, len(chosen)), floor=None if intensity == "grey" else AIR)
        for k, index in enumerate(chosen):
            values, odd = read_slice(entries[index], archive, force=force)
            filling.put(k, values)
            notes += tuple(note for note in odd if note not in notes)
    array, meant, odd = filling.finish(intensity, where, force=force)
    instances = tuple(headers[index] for index in chosen)
    source = Source(kind="dicom", path=path, name=name, instances=instances, notes=notes + odd)
    return Volume(array=array, affine=affine, intensity=meant, source=source)


def _header(entry: Entry, archive: zipfile.ZipFile | None) -> Dataset:
    header = strip(read_dataset(entry, archive))
    if why := why_not(header):
        raise DataError(f"{entry}: is not a slice of a CT but: {why}; give a CT series with a file a slice")
    return header


def _quality(headers: Sequence[Dataset], where: str, *, force: bool) -> tuple[str, ...]:
    """What is odd about the values of slices, by their headers."""
    notes: tuple[str, ...] = ()
    kinds = {str(word).upper() for header in headers for word in listed(value_of(header, "ImageType"))}
    if projection := ", ".join(sorted(kinds & PROJECTIONS)):
        said = f"its images are projections of many slices ({projection}), not slices"
        if not force:
            raise DataError(f"{where}: {said}; give the slices they were made from, or --force goes on")
        notes += (said,)
    if any(value_of(header, "PhotometricInterpretation") == "MONOCHROME1" for header in headers):
        notes += ("it is to be shown with dark and bright swapped (MONOCHROME1); its values were taken as they are",)
    if any(value_of(header, "LossyImageCompression") == "01" for header in headers):
        notes += ("its slices have been packed with losses: HU are not quite what the scanner measured",)
    return notes


def _one_grid(places: Sequence[Place], where: str, *, force: bool) -> tuple[list[int], tuple[str, ...]]:
    """Indices of the slices that belong to one grid."""
    largest, *others = groups_of(places)
    if not others:
        return largest, ()
    usual = places[largest[0]]
    said = "; ".join(
        (f"{len(largest)} of {usual}", *(f"{len(few)} of {places[few[0]].seen_from(usual)}" for few in others[:3]))
    )
    if not force:
        raise DataError(
            f"{where}: its {len(places)} slices are not all alike: {said}; give one kind, or --force takes the "
            f"{len(largest)}"
        )
    return largest, (f"of {len(places)} slices, {len(largest)} that are alike were taken: {said}",)


def _one_a_place(
    chosen: Sequence[int],
    headers: Sequence[Dataset],
    places: Sequence[Place],
    entries: Sequence[Entry],
    archive: zipfile.ZipFile | None,
    where: str,
    *,
    force: bool,
) -> tuple[list[int], tuple[str, ...]]:
    """Indices of slices in order along the normal, one a place: of several, the first that was taken."""
    along = dict(zip(chosen, along_normal([places[index] for index in chosen]), strict=True))

    def taken(index: int) -> tuple[float, ...]:
        first = (numbers(headers[index], keyword, 1) for keyword in ("AcquisitionNumber", "InstanceNumber"))
        return *(number[0] if number else np.inf for number in first), index

    kept: list[int] = []
    twins: list[tuple[int, int]] = []
    for index in sorted(chosen, key=lambda index: along[index]):
        if not kept or along[index] - along[kept[-1]] > SAME_PLACE:
            kept.append(index)
            continue
        first, second = sorted((kept[-1], index), key=taken)
        kept[-1] = first
        twins.append((first, second))
    different = [twin for twin in twins if not _equal(*twin, entries, archive, force=force)]
    if not different:
        return kept, (f"{len(twins)} slices that are there twice were taken once",) if twins else ()
    said = (
        f"at {len(different)} of {len(kept)} places there are several slices that differ, as "
        f"{entries[different[0][0]].name} and {entries[different[0][1]].name}"
    )
    if not force:
        raise DataError(f"{where}: {said}; give one of the acquisitions, or --force takes each place's first")
    return kept, (f"{said}: the first was taken",)


def _equal(first: int, second: int, entries: Sequence[Entry], archive: zipfile.ZipFile | None, *, force: bool) -> bool:
    one, other = (read_slice(entries[index], archive, force=force).values for index in (first, second))
    return bool(np.array_equal(one, other))

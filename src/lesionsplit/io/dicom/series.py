"""Read a DICOM series of CT slices as a volume in Hounsfield units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

import numpy as np
from pydicom import Dataset

from lesionsplit.errors import DataError
from lesionsplit.io.archive import FileEntry
from lesionsplit.io.dicom.alternation import preview, turns
from lesionsplit.io.dicom.files import listed, numbers, stated, value_of
from lesionsplit.io.dicom.geometry import Grid, Vectors, grid_of
from lesionsplit.io.dicom.pixels import SliceReader, SliceValues
from lesionsplit.io.dicom.selection import Selection, scrambled
from lesionsplit.io.dicom.slices import CtSlice, slices_of
from lesionsplit.volumes.filling import Filling
from lesionsplit.volumes.grid import check_affine
from lesionsplit.volumes.intensity import DEFAULT, ReadOptions
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Source, Volume

PROJECTIONS: Final = frozenset({"MIP", "MINIP", "MAX_IP", "MIN_IP"})
"""Values of ImageType that mean a projection: each pixel is the maximum or minimum of many slices."""

PATIENTS = "the series has slices of several patients; export it again"

THICKEST = 100.0
"""Maximum thickness of a slice in millimetres; other values are errors."""

ON_GRID = 0.02
"""Maximum distance, in slices, at which a slice is taken as it is and not resampled."""


def read_series(
    entries: Sequence[FileEntry],
    scratch: Scratch,
    source: Source,
    *,
    options: ReadOptions = DEFAULT,
    where: str = "",
) -> Volume:
    """Read the slices of one series.

    Index k increases along the slice normal, independent of the file names; i counts columns and j rows.
    Values are HU, rescaled slice by slice; padding above -1024 HU, by its tag, becomes -1024.

    Args:
        entries: the files, in any order: slices, or enhanced multi-frame objects.
        scratch: holds the array.
        source: path, name and notes of the case.
        options: how the values are read.
        where: the series, for messages; by default the path.

    Raises:
        DataError: files are broken, or do not form one volume.
    """
    where, force = where or str(source.path), options.force
    with entries[0].opened_archive() as archive:
        slices, notes = slices_of(entries, archive, force=force)
        headers = [one.header for one in slices]
        notes = source.notes + notes + _patient_notes(headers, where) + _value_notes(headers, where, force=force)
        reader = SliceReader(archive, force)
        chosen, chosen_notes = Selection(where, force, lambda one: reader.read(one).values).choose(slices)
        grid = grid_of([one.place for one in chosen], where, thickness=_thickness(chosen[0].header), force=force)
        check_affine(grid.affine, where, force=force)
        if _several_patients(headers) and (grid.at is not None or len(chosen) < len(slices)):
            raise DataError(f"{where}: {PATIENTS}")  # whose slices could fill each other's gaps
        notes += chosen_notes + grid.notes
        count = len(chosen) if grid.at is None else len(grid.at)
        read = _on_grid(reader, chosen, grid.at)
        first = next(read)  # before room is made: a header may declare any size
        filling = Filling(scratch, (*chosen[0].place.size, count))
        previews = []
        for k, (values, slice_notes) in enumerate(chain([first], read)):
            filling.put(k, values)
            previews.append(preview(values))
            notes += tuple(note for note in slice_notes if note not in notes)
    array, intensity, filling_notes = filling.finish(options, where)
    notes += filling_notes
    if grid.at is None and (step := turns(previews)) > 1:
        notes += (_alternating(count, step, where, force=force),)
        array, chosen, grid = array[..., ::step], chosen[::step], _coarser(grid, step)
    instances = tuple(one.header for one in chosen)
    if grid.at is not None:
        instances, notes = (), (*notes, "no DICOM objects are written of it: its slices were resampled")
    source = replace(source, instances=instances, notes=notes)
    return Volume(array=array, affine=grid.affine, intensity=intensity, source=source)


def _on_grid(reader: SliceReader, chosen: Sequence[CtSlice], at: Vectors | None) -> Iterator[SliceValues]:
    """The slices of the grid; between slices they are interpolated linearly."""
    if at is None:
        yield from map(reader.read, chosen)
        return
    near: dict[int, SliceValues] = {}
    for place in at:
        below, share = int(place + ON_GRID), float(place - int(place + ON_GRID))
        needed = (below,) if share <= ON_GRID else (below, below + 1)
        near = {index: near.get(index) or reader.read(chosen[index]) for index in needed}
        values, notes = near[below]
        if len(needed) > 1:
            above, more = near[below + 1]
            values = np.rint(values * (1 - share) + above * share).astype(np.result_type(values, above))
            notes += more
        yield SliceValues(values, notes)


def _alternating(count: int, step: int, where: str, *, force: bool) -> str:
    """A note on acquisitions that only the values tell apart."""
    problem = f"its {count} slices are in turn of {step} acquisitions by their values, but no header tells them apart"
    if not force:
        raise DataError(
            f"{where}: {problem}; give one acquisition, or use --force to read the first slice of every {step}"
        )
    return f"{problem}: the first of every {step} slices was read"


def _coarser(grid: Grid, step: int) -> Grid:
    return grid._replace(affine=grid.affine * [1, 1, step, 1])


def _patient_notes(headers: Sequence[Dataset], where: str) -> tuple[str, ...]:
    patients = [stated(header, "PatientID") for header in headers]
    if _several_patients(headers) and not scrambled(headers, "PatientID"):
        raise DataError(f"{where}: {PATIENTS}")
    unnamed = patients.count("")
    return (f"{unnamed} of {len(patients)} slices have no PatientID",) if 0 < unnamed < len(patients) else ()


def _several_patients(headers: Sequence[Dataset]) -> bool:
    return len({stated(header, "PatientID") for header in headers} - {""}) > 1


def _thickness(header: Dataset) -> float | None:
    for keyword in ("SliceThickness", "SpacingBetweenSlices"):
        found = numbers(header, keyword, 1)
        if found and 0 < abs(found[0]) <= THICKEST:
            return abs(found[0])
    return None


def _value_notes(headers: Sequence[Dataset], where: str, *, force: bool) -> tuple[str, ...]:
    """Notes on what the headers state about the pixel values."""
    notes: tuple[str, ...] = ()
    kinds = {str(word).upper() for header in headers for word in listed(value_of(header, "ImageType"))}
    if projection := ", ".join(sorted(kinds & PROJECTIONS)):
        problem = f"its images are projections of many slices ({projection}), not slices"
        if not force:
            raise DataError(f"{where}: {problem}; give the original slices, or use --force to continue")
        notes += (problem,)
    if any(value_of(header, "PhotometricInterpretation") == "MONOCHROME1" for header in headers):
        notes += ("the display of its images is inverted (MONOCHROME1); the values were read unchanged",)
    if any(value_of(header, "LossyImageCompression") == "01" for header in headers):
        notes += ("its slices were compressed with loss: HU are not exactly what the scanner measured",)
    return notes

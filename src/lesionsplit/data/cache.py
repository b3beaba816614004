"""Slices resampled to network pixels once, stored as one memory-mapped array.

An entry is a folder whose name is a digest of its inputs: the placement, and the path, size and time of change of
each slice's files. It is written under another name and then renamed, so that a reader finds a whole entry or none;
a lock keeps two processes from building the same entry twice. An entry with an annotator's masks is separate; that
of the weakly supervised methods contains no masks.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
from filelock import FileLock
from PIL.Image import Resampling
from platformdirs import user_cache_path

from lesionsplit.arrays import new_array, open_array
from lesionsplit.atomic import atomic_folder, sweep
from lesionsplit.data.kind import CHEST_CT, ImageKind
from lesionsplit.data.masks import read_mask
from lesionsplit.data.normalise import Normalisation
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.data.table import Slice, Table
from lesionsplit.errors import DataError
from lesionsplit.images import Float, Grey, as_float, as_grey, full_scale, read_header, resize
from lesionsplit.progress import Progress, silent
from lesionsplit.settings import to_table

FORMAT = 2
"""Part of every key: raise it when the preparation of the same input changes."""

IMAGES, REGIONS, OUTLINES, FACTS = "images.npy", "regions.npy", "outlines.npy", "entry.json"
"""Files of an entry; the second only of other images than lungs, the third only with an annotator."""

Depth: TypeAlias = Literal["uint8", "uint16"]

LEVELS = 256
"""Bins of the histogram of lung grey, to which the normalisation is fitted."""


class _Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of entry.json that describes the other files."""

    dtype: Depth
    labels: list[bool]
    histogram: list[int]
    fingerprint: str
    digest: str = ""
    """Of the rest."""

    def whole(self) -> str:
        """The digest that belongs here."""
        return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(self, digest=""))).hexdigest()


class CachedTeacherOutputs(NamedTuple):
    """Outputs of teachers, on the canvas; (slices, rows, columns) each, of the images' depth."""

    targets: Grey
    """Confidence that a pixel is lesion, full scale for 1; 0 in normal slices."""

    healthy: Grey
    """The slices without their lesions; 0 in normal slices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSlices:
    """Slices on the network's canvas, in grey."""

    images: Grey
    """(slices, rows, columns), or (slices, 3, rows, columns) in colour, memory-mapped, read-only."""

    kind: ImageKind = CHEST_CT

    regions: npt.NDArray[np.uint8] | None = None
    """(slices, rows, columns), memory-mapped, read-only: the fraction of each pixel inside the region, 255 for all of
    it. None: the images are lung-masked."""

    labels: npt.NDArray[np.bool_]
    """(slices,): True for lesion."""

    outlines: npt.NDArray[np.uint8] | None = None
    """(slices, rows, columns), memory-mapped, read-only: the fraction of each pixel inside the annotator's mask, 255
    for all of it; 0 in normal slices. None: prepared without an annotator."""

    teacher_outputs: CachedTeacherOutputs | None = None
    """None: without teachers."""

    normalisation: Normalisation
    """Fitted to the lung pixels of these slices."""

    fingerprint: str
    """Digest of images, labels and masks; it does not depend on paths."""

    def where(self, *, lesion: bool) -> npt.NDArray[np.intp]:
        """The positions of the slices of one label."""
        return np.flatnonzero(self.labels == lesion)


def prepare(
    table: Table,
    placement: PlacementSettings,
    *,
    kind: ImageKind = CHEST_CT,
    annotator: str | None = None,
    folder: Path | None = None,
    progress: Progress = silent,
) -> PreparedSlices:
    """The table's slices on the canvas: from the cache if nothing has changed, otherwise computed now.

    Args:
        table: slices, in the order of the result.
        placement: from frames to the canvas.
        kind: of the images.
        annotator: the annotator whose masks are prepared, too; `Table.supervised_by` checks that every lesion
            slice has one. By default no mask is read.
        folder: the cache; by default the user's cache folder.
        progress: shows how far it is.

    Raises:
        DataError: naming the row: an unreadable image or mask, no lung, not lung-masked.
    """
    folder = folder or user_cache_path("lesionsplit", appauthor=False)
    origin: dict[str, object] = {"root": str(table.root.resolve()), "placement": to_table(placement)}
    stamps: dict[str, object] = {"rows": [_stamp(row) for row in table]}
    if not kind.of_lungs:  # those of lungs are of entries from before there were other images
        origin["kind"] = to_table(kind)
    if annotator is not None:  # without one, names are those of entries from before masks
        origin["annotator"] = annotator
        stamps["masks"] = [
            (str(path), *_state(path)) for path in (row.masks[annotator] for row in table.labelled("lesion"))
        ]
    source = _digest(origin)[:16]
    key = _digest({"format": FORMAT, **stamps})[:16]
    entry = folder / f"{source}-{key}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)  # also where the entry is there, and nothing will be written
        with FileLock(folder / f"{source}.lock"):
            try:
                return _open(entry, table, placement, kind, annotator)
            except (OSError, ValueError):  # there is none, or it is damaged
                _build(table, placement, kind, annotator, entry, progress)
            for stale in folder.glob(f"{source}-*"):
                if stale != entry:
                    shutil.rmtree(stale, ignore_errors=True)
            return _open(entry, table, placement, kind, annotator)
    except OSError as error:
        raise DataError(
            f"{folder}: the cache cannot be written ({error.strerror}); choose another with --cache"
        ) from None


def _build(
    table: Table,
    placement: PlacementSettings,
    kind: ImageKind,
    annotator: str | None,
    entry: Path,
    progress: Progress,
) -> None:
    shutil.rmtree(entry, ignore_errors=True)
    with atomic_folder(entry, durable=True) as temporary:  # zeros after a power failure would train without a word
        _fill(temporary, table, placement, kind, annotator, progress)


def _fill(
    folder: Path,
    table: Table,
    placement: PlacementSettings,
    kind: ImageKind,
    annotator: str | None,
    progress: Progress,
) -> None:
    shape = (len(table), *placement.canvas)
    dtype: Depth = "uint16" if any(_bits(row) > 8 for row in table) else "uint8"
    images: Grey = new_array(folder / IMAGES, _images_shape(shape, kind), dtype)
    regions = None if kind.of_lungs else new_array(folder / REGIONS, shape, np.uint8)
    outlines = None if annotator is None else new_array(folder / OUTLINES, shape, np.uint8)
    histogram = np.zeros(LEVELS, dtype=np.int64)
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        prepared = pool.map(lambda row: _prepare_one(row, placement, kind, annotator), table)
        for number, one in enumerate(progress(prepared, len(table), "Preparing slices")):
            images[number] = as_grey(one.image, images.dtype)
            histogram += one.histogram
            if regions is not None:
                regions[number] = as_grey(one.region)
            if outlines is not None and one.outline is not None:
                outlines[number] = as_grey(one.outline)
    finally:
        pool.shutdown(cancel_futures=True)
    labels = np.array([row.label == "lesion" for row in table])
    Normalisation.fit(histogram)  # refuses slices of one grey, before they are kept
    facts = _Facts(
        dtype=dtype,
        labels=labels.tolist(),
        histogram=histogram.tolist(),
        fingerprint=_fingerprint(images, labels, outlines, regions),
    )
    (folder / FACTS).write_bytes(msgspec.json.encode(msgspec.structs.replace(facts, digest=facts.whole())))


def _bits(row: Slice) -> int:
    try:
        return read_header(row.image).bits
    except DataError as error:
        raise DataError(f"{row.place}: {error}") from None


def _images_shape(shape: tuple[int, int, int], kind: ImageKind) -> tuple[int, ...]:
    return shape if kind.channels == 1 else (shape[0], kind.channels, *shape[1:])


class _Prepared(NamedTuple):
    image: Float
    region: Float
    histogram: npt.NDArray[np.int64]
    outline: Float | None


def _prepare_one(row: Slice, placement: PlacementSettings, kind: ImageKind, annotator: str | None) -> _Prepared:
    """A slice and its region on the canvas, the histogram of its region and, if it has a lesion, its annotated mask."""
    image, lungs = kind.read_row(row)
    levels = image[lungs].astype(np.int64) * (LEVELS - 1) // full_scale(image)
    placed = placement.place(lungs)
    outline = None
    if annotator is not None and row.label == "lesion":
        mask = read_mask(row, annotator).astype(np.float32)
        outline = resize(mask, placed.frame, Resampling.BOX)  # masks may be coarser or finer than images
        outline = placed.apply(outline, mirrored=kind.region == "whole")
    histogram = np.bincount(levels.ravel(), minlength=LEVELS)
    return _Prepared(*kind.place(placed, as_float(image), lungs), histogram, outline)


def _open(
    entry: Path, table: Table, placement: PlacementSettings, kind: ImageKind, annotator: str | None
) -> PreparedSlices:
    """An entry of the cache, every byte checked.

    Raises:
        OSError: there is none.
        ValueError: it is damaged.
    """
    try:
        facts = msgspec.json.decode((entry / FACTS).read_bytes(), type=_Facts)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"{entry / FACTS}: {error}") from None
    shape = (len(table), *placement.canvas)
    images = open_array(entry / IMAGES, _images_shape(shape, kind), facts.dtype)
    regions = None if kind.of_lungs else open_array(entry / REGIONS, shape, np.uint8)
    outlines = None if annotator is None else open_array(entry / OUTLINES, shape, np.uint8)
    labels = np.array(facts.labels, dtype=bool)
    if facts.digest != facts.whole() or facts.fingerprint != _fingerprint(images, labels, outlines, regions):
        raise ValueError(f"{entry}: has changed since it was written")
    return PreparedSlices(
        images=images,
        kind=kind,
        regions=regions,
        outlines=outlines,
        labels=labels,
        normalisation=Normalisation.fit(np.array(facts.histogram, dtype=np.int64)),
        fingerprint=facts.fingerprint,
    )


def _fingerprint(
    images: Grey,
    labels: npt.NDArray[np.bool_],
    outlines: npt.NDArray[np.uint8] | None,
    regions: npt.NDArray[np.uint8] | None,
) -> str:
    content = hashlib.sha256()
    for image in images:  # one by one: the file may be larger than memory
        content.update(image.tobytes())
    content.update(labels.tobytes())
    for outline in outlines if outlines is not None else ():
        content.update(outline.tobytes())
    for region in regions if regions is not None else ():
        content.update(region.tobytes())
    return content.hexdigest()


def _stamp(row: Slice) -> list[str | int]:
    stamp: list[str | int] = [str(row.image), row.label, *_state(row.image)]
    if row.lungs is not None:
        stamp += [str(row.lungs), *_state(row.lungs)]
    return stamp


def _state(path: Path) -> tuple[int, ...]:
    """What changes when another file is put into the place: its time alone may be that of the one before."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

"""Slices brought to network pixels once, kept as one memory-mapped array.

An entry is a folder whose name is a digest of what went in: the placement, and the path, size and
time of change of each slice's files. It is built beside its place and renamed there, so that a reader sees a
whole entry or none; a lock keeps two processes from building the same one twice. With an annotator's
outlines it is an entry of its own, and the weakly supervised methods' has none in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from PIL.Image import Resampling
from platformdirs import user_cache_path

from lesionsplit.data.lungs import read_slice
from lesionsplit.data.masks import read_mask
from lesionsplit.data.normalise import Normalisation
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.data.table import Slice, Table
from lesionsplit.errors import DataError
from lesionsplit.images import Float, Grey, as_float, as_grey, full_scale, read_header, resize
from lesionsplit.progress import Progress, silent
from lesionsplit.settings import to_table

FORMAT = 1
"""Part of every key: raise it whenever the same input would be prepared differently."""

IMAGES, OUTLINES = "images.npy", "outlines.npy"
"""Files of an entry; the second only where an annotator's outlines were asked for."""

LEVELS = 256
"""Bins of the histogram of lung grey, from which the normalisation is fitted."""


class Findings(NamedTuple):
    """What teachers find in slices, on the canvas; (slices, rows, columns) each, of the images' depth."""

    chance: Grey
    """How sure they are that a pixel is lesion, full scale for certain; 0 in normal slices."""

    healthy: Grey
    """The slices without their lesions; not filled in for normal slices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSlices:
    """Slices on the network's canvas, in grey."""

    images: Grey
    """(slices, rows, columns), memory-mapped, read-only."""

    labels: npt.NDArray[np.bool_]
    """(slices,): True for lesion."""

    outlines: npt.NDArray[np.uint8] | None = None
    """(slices, rows, columns), memory-mapped, read-only: the share of each pixel that the annotator
    outlined, 255 for all of it; nothing in normal slices. None: nobody's were asked for."""

    findings: Findings | None = None
    """None: there are no teachers."""

    normalisation: Normalisation
    """Fitted to the lung pixels of these slices."""

    fingerprint: str
    """Digest of images, labels and outlines: the same for the same data wherever it lies."""

    def where(self, *, lesion: bool) -> npt.NDArray[np.intp]:
        """The positions of the slices of one label."""
        return np.flatnonzero(self.labels == lesion)


def prepare(
    table: Table,
    placement: PlacementSettings,
    *,
    annotator: str | None = None,
    folder: Path | None = None,
    progress: Progress = silent,
) -> PreparedSlices:
    """The table's slices on the canvas: from the cache if nothing has changed, else made now.

    Args:
        table: slices in the order wanted.
        placement: how frames are brought to one size.
        annotator: whose outlines are wanted too; `Table.supervised_by` sees that no lesion slice lacks
            one. By default no mask is looked at.
        folder: the cache; by default the user's own cache folder.
        progress: shows how far it is; called with what to iterate, its length and a title.

    Raises:
        DataError: naming the row: an unreadable image or mask, no lung, not lung-masked.
    """
    folder = folder or user_cache_path("lesionsplit", appauthor=False)
    origin = {"root": str(table.root.resolve()), "placement": to_table(placement)}
    stamps: dict[str, object] = {"rows": [_stamp(row) for row in table]}
    if annotator is not None:  # else the names stay those of entries made before there were outlines
        origin["annotator"] = annotator
        stamps["masks"] = [
            (str(path), *_state(path)) for path in (row.masks[annotator] for row in table.labelled("lesion"))
        ]
    source = _digest(origin)[:16]
    key = _digest({"format": FORMAT, **stamps})[:16]
    entry = folder / f"{source}-{key}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{source}.lock"):
            if not (entry / "entry.json").is_file():
                _build(table, placement, annotator, entry, progress)
                for stale in (*folder.glob(f"{source}-*"), *folder.glob(f".{source}-*")):  # those of killed processes
                    if stale != entry:
                        shutil.rmtree(stale, ignore_errors=True)
            return _open(entry)
    except OSError as error:
        raise DataError(
            f"{folder}: the cache cannot be written ({error.strerror}); choose another with --cache"
        ) from None


def _build(table: Table, placement: PlacementSettings, annotator: str | None, entry: Path, progress: Progress) -> None:
    beside = entry.with_name(f".{entry.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        _fill(beside, table, placement, annotator, progress)
        shutil.rmtree(entry, ignore_errors=True)
        beside.rename(entry)
    finally:  # after an error or Ctrl-C nothing half made stays
        shutil.rmtree(beside, ignore_errors=True)


def _fill(folder: Path, table: Table, placement: PlacementSettings, annotator: str | None, progress: Progress) -> None:
    def allocate(name: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        shape = (len(table), *placement.canvas)
        return np.lib.format.open_memmap(folder / name, mode="w+", dtype=dtype, shape=shape)

    images: Grey = allocate(IMAGES, np.uint16 if any(_bits(row) > 8 for row in table) else np.uint8)
    outlines = None if annotator is None else allocate(OUTLINES, np.uint8)
    histogram = np.zeros(LEVELS, dtype=np.int64)
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        prepared = pool.map(lambda row: _prepare_one(row, placement, annotator), table)
        for number, one in enumerate(progress(prepared, len(table), "Preparing slices")):
            images[number] = as_grey(one.image, images.dtype)
            histogram += one.histogram
            if outlines is not None and one.outline is not None:
                outlines[number] = as_grey(one.outline)
    finally:
        pool.shutdown(cancel_futures=True)
    labels = np.array([row.label == "lesion" for row in table])
    entry = {
        "labels": labels.astype(int).tolist(),
        "histogram": histogram.tolist(),
        "fingerprint": _fingerprint(images, labels, outlines),
    }
    (folder / "entry.json").write_text(json.dumps(entry))


def _bits(row: Slice) -> int:
    try:
        return read_header(row.image).bits
    except DataError as error:
        raise DataError(f"{row.place}: {error}") from None


class _Prepared(NamedTuple):
    image: Float
    histogram: npt.NDArray[np.int64]
    outline: Float | None


def _prepare_one(row: Slice, placement: PlacementSettings, annotator: str | None) -> _Prepared:
    """A slice on the canvas, the histogram of its lung and, of a lesion slice if asked to, its outline."""
    image, lungs = read_slice(row)
    levels = image[lungs].astype(np.int64) * (LEVELS - 1) // full_scale(image)
    placed = placement.place(lungs)
    outline = None
    if annotator is not None and row.label == "lesion":
        mask = read_mask(row, annotator).astype(np.float32)
        outline = placed.apply(resize(mask, placed.frame, Resampling.BOX))  # a mask may be coarser or finer
    return _Prepared(placed.apply(as_float(image)), np.bincount(levels, minlength=LEVELS), outline)


def _open(entry: Path) -> PreparedSlices:
    meta = json.loads((entry / "entry.json").read_text())
    outlines = entry / OUTLINES
    return PreparedSlices(
        images=np.load(entry / IMAGES, mmap_mode="r", allow_pickle=False),
        outlines=np.load(outlines, mmap_mode="r", allow_pickle=False) if outlines.is_file() else None,
        labels=np.array(meta["labels"], dtype=bool),
        normalisation=Normalisation.fit(np.array(meta["histogram"], dtype=np.int64)),
        fingerprint=meta["fingerprint"],
    )


def _fingerprint(images: Grey, labels: npt.NDArray[np.bool_], outlines: npt.NDArray[np.uint8] | None) -> str:
    content = hashlib.sha256()
    for image in images:  # one at a time: the file may be larger than memory
        content.update(image.tobytes())
    content.update(labels.tobytes())
    for outline in outlines if outlines is not None else ():
        content.update(outline.tobytes())
    return content.hexdigest()


def _stamp(row: Slice) -> list[str | int]:
    stamp: list[str | int] = [str(row.image), row.label, *_state(row.image)]
    if row.lungs is not None:
        stamp += [str(row.lungs), *_state(row.lungs)]
    return stamp


def _state(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _digest(what: object) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

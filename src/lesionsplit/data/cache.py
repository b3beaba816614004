"""Slices brought to network pixels once, kept as one memory-mapped array.

An entry is a folder whose name is a digest of what went in: the placement, and each file's path,
size and time of change. It is built beside its place and renamed there, so that a reader sees a
whole entry or none; a lock keeps two processes from building the same one twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from platformdirs import user_cache_path

from lesionsplit.data.lungs import read_slice
from lesionsplit.data.normalise import Normalisation
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.data.table import Slice, Table
from lesionsplit.errors import DataError
from lesionsplit.images import Float, Grey, as_float, as_grey, full_scale, read_header
from lesionsplit.progress import Progress, silent
from lesionsplit.settings import to_table

FORMAT = 1
"""Part of every key: raise it whenever the same input would be prepared differently."""

LEVELS = 256
"""Bins of the histogram of lung grey, from which the normalisation is fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSlices:
    """Slices on the network's canvas, in grey."""

    images: Grey
    """(slices, rows, columns), memory-mapped, read-only."""

    labels: npt.NDArray[np.bool_]
    """(slices,): True for lesion."""

    normalisation: Normalisation
    """Fitted to the lung pixels of these slices."""

    fingerprint: str
    """Digest of images and labels: the same for the same data wherever it lies."""

    def where(self, *, lesion: bool) -> npt.NDArray[np.intp]:
        """The positions of the slices of one label."""
        return np.flatnonzero(self.labels == lesion)


def prepare(
    table: Table,
    placement: PlacementSettings,
    *,
    folder: Path | None = None,
    progress: Progress = silent,
) -> PreparedSlices:
    """The table's slices on the canvas: from the cache if nothing has changed, else made now.

    Args:
        table: slices in the order wanted; masks are not looked at.
        placement: how frames are brought to one size.
        folder: the cache; by default the user's own cache folder.
        progress: shows how far it is; called with what to iterate, its length and a title.

    Raises:
        DataError: naming the row: an unreadable image, no lung, not lung-masked.
    """
    folder = folder or user_cache_path("lesionsplit", appauthor=False)
    source = _digest({"root": str(table.root.resolve()), "placement": to_table(placement)})[:16]
    key = _digest({"format": FORMAT, "rows": [_stamp(row) for row in table]})[:16]
    entry = folder / f"{source}-{key}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{source}.lock"):
            if not (entry / "entry.json").is_file():
                _build(table, placement, entry, progress)
                for stale in (*folder.glob(f"{source}-*"), *folder.glob(f".{source}-*")):  # those of killed processes
                    if stale != entry:
                        shutil.rmtree(stale, ignore_errors=True)
            return _open(entry)
    except OSError as error:
        raise DataError(
            f"{folder}: the cache cannot be written ({error.strerror}); choose another with --cache"
        ) from None


def _build(table: Table, placement: PlacementSettings, entry: Path, progress: Progress) -> None:
    beside = entry.with_name(f".{entry.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        _fill(beside, table, placement, progress)
        shutil.rmtree(entry, ignore_errors=True)
        beside.rename(entry)
    finally:  # after an error or Ctrl-C nothing half made stays
        shutil.rmtree(beside, ignore_errors=True)


def _fill(folder: Path, table: Table, placement: PlacementSettings, progress: Progress) -> None:
    deep = any(_bits(row) > 8 for row in table)
    images: Grey = np.lib.format.open_memmap(
        folder / "images.npy", mode="w+", dtype=np.uint16 if deep else np.uint8, shape=(len(table), *placement.canvas)
    )
    histogram = np.zeros(LEVELS, dtype=np.int64)
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        prepared = pool.map(lambda row: _prepare_one(row, placement), table)
        for number, (small, counts) in enumerate(progress(prepared, len(table), "Preparing slices")):
            images[number] = as_grey(small, images.dtype)
            histogram += counts
    finally:
        pool.shutdown(cancel_futures=True)
    labels = np.array([row.label == "lesion" for row in table])
    entry = {
        "labels": labels.astype(int).tolist(),
        "histogram": histogram.tolist(),
        "fingerprint": _fingerprint(images, labels),
    }
    (folder / "entry.json").write_text(json.dumps(entry))


def _bits(row: Slice) -> int:
    try:
        return read_header(row.image).bits
    except DataError as error:
        raise DataError(f"{row.place}: {error}") from None


def _prepare_one(row: Slice, placement: PlacementSettings) -> tuple[Float, npt.NDArray[np.int64]]:
    """A slice on the canvas, and the histogram of its lung."""
    image, lungs = read_slice(row)
    levels = image[lungs].astype(np.int64) * (LEVELS - 1) // full_scale(image)
    return placement.place(lungs).apply(as_float(image)), np.bincount(levels, minlength=LEVELS)


def _open(entry: Path) -> PreparedSlices:
    meta = json.loads((entry / "entry.json").read_text())
    return PreparedSlices(
        images=np.load(entry / "images.npy", mmap_mode="r", allow_pickle=False),
        labels=np.array(meta["labels"], dtype=bool),
        normalisation=Normalisation.fit(np.array(meta["histogram"], dtype=np.int64)),
        fingerprint=meta["fingerprint"],
    )


def _fingerprint(images: Grey, labels: npt.NDArray[np.bool_]) -> str:
    content = hashlib.sha256()
    for image in images:  # one at a time: the file may be larger than memory
        content.update(image.tobytes())
    content.update(labels.tobytes())
    return content.hexdigest()


def _stamp(row: Slice) -> tuple[str, str, int, int]:
    stat = row.image.stat()
    return str(row.image), row.label, stat.st_size, stat.st_mtime_ns


def _digest(what: object) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

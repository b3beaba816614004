"""What teachers find in the slices that their student learns from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric

from lesionsplit.data.cache import Findings, PreparedSlices
from lesionsplit.data.lungs import read_slice
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.data.table import Table
from lesionsplit.errors import SettingsError
from lesionsplit.images import Float, as_float, as_grey
from lesionsplit.methods.base import MethodSettings, supervision
from lesionsplit.model import digest
from lesionsplit.predictor import Predictor
from lesionsplit.progress import Progress, silent


def taught(
    slices: PreparedSlices,
    table: Table,
    placement: PlacementSettings,
    *,
    teachers: Sequence[Path],
    doubt: float,
    folder: Path,
    fabric: Fabric,
    progress: Progress = silent,
) -> PreparedSlices:
    """The same slices with what teachers find in those with lesion; read once and kept.

    Args:
        slices: on the student's canvas.
        table: where they come from, in their order.
        placement: how frames are brought to that canvas.
        teachers: their weights.
        doubt: see `believed`.
        folder: where the findings are kept.
        fabric: device and processes; the first one reads, the others wait.
        progress: shows how far it is.

    Raises:
        WeightsError: a weights file is missing, broken or of another kind.
        SettingsError: a teacher has learnt from masks.
        DataError: a slice cannot be read.
    """
    loaded = [Predictor.load(path, device=str(fabric.device)) for path in teachers]
    for path, predictor in zip(teachers, loaded, strict=True):
        refuse_masks(str(path), predictor.model.card.method)
    key = json.dumps([slices.fingerprint, doubt, *map(digest, teachers)])
    path = folder / f"findings-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
    if fabric.is_global_zero and not path.is_file():
        _read(slices, table, placement, loaded, doubt, path, progress)
    fabric.barrier()
    chance, healthy = np.load(path, mmap_mode="r", allow_pickle=False)
    return replace(slices, findings=Findings(chance, healthy))


def refuse_masks(name: str, method: MethodSettings) -> None:
    """Refuse a teacher that learns from masks.

    Raises:
        SettingsError: it does.
    """
    if method.annotator is not None:
        raise SettingsError(f"{name}: is trained on {supervision(method)}; a teacher may know image labels only")


def believed(scores: Sequence[Float], thresholds: Sequence[float], doubt: float) -> Float:
    """How sure teachers are together that pixels are lesion, 0 to 1, of the scores' shape.

    The mean over teachers of s**2 / (s**2 + (doubt t)**2): scores of different methods are on
    scales of their own, but of each the score t is known that a small share of normal lung reaches. No mask is
    needed. The squares leave little of the haze that a teacher sees all over a slice.

    Args:
        scores: a teacher each, 0 to 1, all of one shape.
        thresholds: t, a teacher each.
        doubt: how many times t a score must be for a teacher to be half sure.
    """
    squares = [(score**2, (doubt * threshold) ** 2) for score, threshold in zip(scores, thresholds, strict=True)]
    sure = [score / (score + half) for score, half in squares]
    mean: Float = np.mean(sure, axis=0, dtype=np.float32)
    return mean


def _read(
    slices: PreparedSlices,
    table: Table,
    placement: PlacementSettings,
    teachers: Sequence[Predictor],
    doubt: float,
    path: Path,
    progress: Progress,
) -> None:
    """Let teachers read the slices with lesion, and write what they find beside its place and then there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    shape = (2, *slices.images.shape)  # of normal slices nothing is written, and takes no room on most file systems
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        findings = np.lib.format.open_memmap(beside, mode="w+", dtype=slices.images.dtype, shape=shape)
        chosen = slices.where(lesion=True)
        rows = [table.slices[at] for at in chosen]
        read = zip(*(teacher.predict_rows(rows) for teacher in teachers), strict=True)
        for at, row, found in zip(chosen, rows, progress(read, len(rows), "Teachers read"), strict=True):
            chance = believed([one.score for one in found], [one.threshold for one in teachers], doubt)
            healthy: Float = np.mean([as_float(one.healthy) for one in found], axis=0, dtype=np.float32)
            placed = placement.place(read_slice(row).lungs)
            findings[:, at] = [as_grey(placed.apply(part), slices.images.dtype) for part in (chance, healthy)]
        findings.flush()
        beside.rename(path)
    finally:  # after an error or Ctrl-C nothing half made stays
        beside.unlink(missing_ok=True)

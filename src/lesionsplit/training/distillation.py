"""The outputs of teachers for the slices that their student learns from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric

from lesionsplit.arrays import is_sealed, new_array, open_array, seal
from lesionsplit.atomic import atomic_file, sweep
from lesionsplit.data.cache import CachedTeacherOutputs, PreparedSlices
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.data.table import Table
from lesionsplit.errors import SettingsError
from lesionsplit.images import Float, Grey, as_float, as_grey
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.models.card import digest, supervision
from lesionsplit.progress import Progress, silent

SMALLEST = float(np.finfo(np.float32).tiny)
"""Keeps 0 / 0 out of `soft_targets`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentSlices:
    """The slices that a student learns from."""

    prepared: PreparedSlices
    """On the student's canvas."""

    table: Table
    """The same slices, in the same order."""

    placement: PlacementSettings
    """From the frames to that canvas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Teachers:
    """The teachers of one student."""

    weights: Sequence[Path]
    half_confidence_ratio: float
    """See `soft_targets`."""

    def load(self, device: str) -> list[SlicePredictor]:
        """The teachers, ready to predict.

        Raises:
            WeightsError: a weights file is missing, broken or of another kind.
            SettingsError: a teacher was trained on masks.
        """
        predictors = [SlicePredictor.load(path, device=device, engine="torch") for path in self.weights]
        for path, predictor in zip(self.weights, predictors, strict=True):
            refuse_masks(str(path), predictor.card.method.annotator)
        return predictors


def with_teacher_outputs(
    slices: StudentSlices, teachers: Teachers, folder: Path, fabric: Fabric, progress: Progress = silent
) -> PreparedSlices:
    """The prepared slices with the outputs of teachers for those with lesion; computed once and stored.

    Args:
        slices: the student's.
        teachers: the student's.
        folder: where the outputs are stored.
        fabric: device and processes; the first process computes, the others wait.
        progress: shows how far it is.

    Raises:
        WeightsError: a weights file is missing, broken or of another kind.
        SettingsError: a teacher was trained on masks.
        DataError: a slice cannot be read, or the disk has no space for the outputs.
    """
    predictors = teachers.load(str(fabric.device))
    key = json.dumps([slices.prepared.fingerprint, teachers.half_confidence_ratio, *map(digest, teachers.weights)])
    path = folder / f"findings-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
    sweep(folder)  # also where the outputs are there, and nothing will be written
    if fabric.is_global_zero and not is_sealed(path):  # what is damaged is computed again
        _compute(slices, predictors, teachers.half_confidence_ratio, path, progress)
    fabric.barrier()
    images = slices.prepared.images
    targets, *healthy = open_array(path, _shape(images), images.dtype)
    outputs = CachedTeacherOutputs(targets, healthy[0] if len(healthy) == 1 else np.stack(healthy, axis=1))
    return replace(slices.prepared, teacher_outputs=outputs)


def refuse_masks(name: str, annotator: str | None) -> None:
    """Refuse a teacher that is trained on masks.

    Raises:
        SettingsError: it is.
    """
    if annotator is not None:
        raise SettingsError(
            f"{name}: is trained on {supervision(annotator)}; name a teacher that is trained on image labels only"
        )


def soft_targets(scores: Sequence[Float], thresholds: Sequence[float], half_confidence_ratio: float) -> Float:
    """Combined confidence of teachers that pixels are lesion, 0 to 1, of the shape of the scores.

    The mean over teachers of s**2 / (s**2 + (half_confidence_ratio t)**2). Scores of different methods have different
    scales, but t is the score that the same small fraction of normal lung reaches, so no mask is needed. The squares
    suppress low scores that a teacher gives to a whole slice.

    Args:
        scores: of each teacher, 0 to 1, all of one shape.
        thresholds: t of each teacher.
        half_confidence_ratio: the confidence is one half where the score is this many times t.
    """
    squares = [
        (score**2, max((half_confidence_ratio * threshold) ** 2, SMALLEST))
        for score, threshold in zip(scores, thresholds, strict=True)
    ]
    confidences = [score / (score + half) for score, half in squares]
    mean: Float = np.mean(confidences, axis=0, dtype=np.float32)
    return mean


def _shape(images: Grey) -> tuple[int, ...]:
    """Of the outputs for prepared images: targets, then each channel of healthy versions."""
    channels = 1 if images.ndim == 3 else images.shape[1]
    return (1 + channels, len(images), *images.shape[-2:])


def _compute(
    slices: StudentSlices,
    teachers: Sequence[SlicePredictor],
    half_confidence_ratio: float,
    path: Path,
    progress: Progress,
) -> None:
    """Write the teachers' outputs for the slices with lesion to ``path``, whole or not at all."""
    images = slices.prepared.images
    thresholds = [teacher.threshold for teacher in teachers]
    with atomic_file(path, durable=True) as temporary:
        outputs = new_array(temporary, _shape(images), images.dtype)  # normal slices stay 0
        positions = slices.prepared.where(lesion=True)
        rows = [slices.table.slices[at] for at in positions]
        predictions = zip(*(teacher.predict_rows(rows) for teacher in teachers), strict=True)
        for at, row, found in zip(positions, rows, progress(predictions, len(rows), "Teachers"), strict=True):
            targets = soft_targets([one.score for one in found], thresholds, half_confidence_ratio)
            healthy: Float = np.mean([as_float(one.healthy) for one in found], axis=0, dtype=np.float32)
            kind = slices.prepared.kind
            region = kind.read_row(row).lungs
            placed = slices.placement.place(region)
            shown, _ = kind.place(placed, healthy, region)
            parts = [placed.apply(targets, mirrored=kind.region == "whole"), *(shown if shown.ndim == 3 else [shown])]
            outputs[:, at] = [as_grey(part, images.dtype) for part in parts]
        del outputs  # unmapped, so that all of it is in the file
        seal(temporary)

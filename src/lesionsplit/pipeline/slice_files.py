"""The files of an image's result: which there are, and what each is called. Decided here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from lesionsplit.errors import OutputError, log_trace, one_line
from lesionsplit.images import Grey, as_grey, shown, write_image
from lesionsplit.inference.predictor import Prediction
from lesionsplit.pipeline.options import SLICE_FILES
from lesionsplit.tiles import outline, overlay_tile

Written = TypeVar("Written")

OUTLINE = (255, 64, 64)

CONTRASTING = (0, 229, 255)
"""Far from the colours of heat maps, and from grey: of other images than slices of CT."""


def slice_files(folder: Path, name: str) -> dict[str, Path]:
    """The paths of an image's files, by kind."""
    return {kind: folder / f"{name}_{kind}.png" for kind in SLICE_FILES}


def write_slice(
    folder: Path,
    name: str,
    image: Grey,
    prediction: Prediction,
    kinds: Sequence[str] = SLICE_FILES,
    floor: float = 0.0,
) -> list[Path]:
    """Write the files of an image; returns their paths.

    Args:
        folder: to write to.
        name: of the image.
        image: itself.
        prediction: what was found in it.
        kinds: which files.
        floor: score below which the overlay shows the image alone.

    Raises:
        OutputError: some could not be made; the others are written.
    """
    files = slice_files(folder, name)
    colour = CONTRASTING if floor else OUTLINE
    draw: dict[str, Callable[[], Grey]] = {
        "score": lambda: as_grey(prediction.score, np.uint16),
        "mask": lambda: np.where(prediction.mask, 255, 0).astype(np.uint8),
        "healthy": lambda: prediction.healthy,
        "overlay": lambda: outline(overlay_tile(shown(image), prediction.score, floor=floor), prediction.mask, colour),
    }
    failed: dict[str, Exception] = {}
    for kind in kinds:
        attempt(files[kind].name, lambda kind=kind: write_image(files[kind], draw[kind]()), failed)  # type: ignore[misc]
    if failed:
        raise OutputError(failed)
    return [files[kind] for kind in kinds]


def attempt(name: str, write: Callable[[], Written], failed: dict[str, Exception]) -> Written | None:
    """Write a file; the error of one that cannot be written is kept, so that the others are written."""
    try:
        return write()
    except Exception as error:
        log_trace(error, f"{name}: {one_line(error)}")
        failed[name] = error
        return None

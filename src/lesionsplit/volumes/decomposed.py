"""A decomposed volume: the results on the volume's grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from lesionsplit.volumes.volume import Volume, Voxels

RIGHT, LEFT = 1, 2
"""Labels of the patient's lungs."""

SIDES: Final = {"right": RIGHT, "left": LEFT}

TOP: Final = 65535
"""The stored value of a score of 1.0."""

EDGE: Final = "edge of the lung, such as a dome of the diaphragm or the base of the heart"
FAINT: Final = "fainter than disease usually is, as streaks, motion and dependent lung are"
"""Why a finding is probably normal."""


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that is not counted as lesion, because it is probably normal."""

    cause: str
    """`EDGE` or `FAINT`."""

    volume_ml: float
    side: str
    """``right`` or ``left``, the lung with most of it."""

    mean_hu: float
    centre_ras_mm: tuple[float, float, float]
    """Middle of the box around it, (x, y, z) in RAS+: to the patient's right, front and head."""

    first_slice: int
    """Counted from 1, from the feet up."""

    last_slice: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecomposedVolume:
    """The results of a volume; every array has its shape, (I, J, K), and may lie on disk.

    `Volume.axial` gives axial slices of each array.
    """

    volume: Volume

    score: Voxels
    """uint16: 65535 is a score of 1.0. Not normalised, comparable between volumes; 0 outside the lungs."""

    lesion: Voxels
    """uint8: 1 where the score is at least the threshold, else 0."""

    lungs: Voxels
    """uint8: 0 outside, `RIGHT` or `LEFT` inside."""

    healthy: Voxels
    """The volume without lesion, in the input's dtype and units; equal to the input outside the lungs."""

    threshold: float
    """The lowest score of a lesion, above 0 and up to 1."""

    lungs_from: str
    """How the lungs were found, for readers."""

    left_out: tuple[LeftOut, ...] = ()
    """Findings that are probably normal: below the threshold in `score`, not in `lesion`, and kept in `healthy`."""

    notes: tuple[str, ...] = ()
    """Limitations that a reader should know: of the files and the lungs."""


def levels_from(threshold: float) -> int:
    """The lowest stored score that reaches a threshold in (0, 1]."""
    return int(np.ceil(threshold * TOP - 1e-9))

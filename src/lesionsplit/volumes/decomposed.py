"""A decomposed volume: the results on the volume's grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from lesionsplit.volumes.volume import Volume, Voxels

RIGHT, LEFT = 1, 2
"""Labels of the patient's lungs."""

SIDES: Final = {"right": RIGHT, "left": LEFT}

TOP: Final = 65535
"""The stored value of a score of 1.0."""


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

    notes: tuple[str, ...] = ()
    """Limitations that a reader should know: of the files and the lungs."""


def levels_from(threshold: float) -> int:
    """The lowest stored score that reaches a threshold in (0, 1]."""
    return int(np.ceil(threshold * TOP - 1e-9))

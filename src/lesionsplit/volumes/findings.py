"""What was found in a volume, on the volume's own grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from lesionsplit.volumes.volume import Volume, Voxels

RIGHT, LEFT = 1, 2
"""The patient's lungs, as labels."""

SIDES: Final = {"right": RIGHT, "left": LEFT}

TOP: Final = 65535
"""The level of a score of 1.0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """A volume taken apart; every array has the volume's shape, (I, J, K), and may lie on disk.

    `Volume.axial` makes axial slices of any of them, one at a time in memory.
    """

    volume: Volume

    score: Voxels
    """uint16: 65535 is a score of 1.0. Raw, comparable between volumes; 0 outside the lungs."""

    lesion: Voxels
    """uint8: 1 where the score reaches the threshold, else 0."""

    lungs: Voxels
    """uint8: 0 outside, `RIGHT` or `LEFT` inside."""

    healthy: Voxels
    """The volume without its lesion: the input's dtype and units; the input itself outside the lungs."""

    threshold: float
    """The score from which a voxel is lesion, above 0 and up to 1."""

    lungs_from: str
    """How the lungs were found, in words."""

    notes: tuple[str, ...] = ()
    """What a reader of the results should know: of the files, of the lungs."""


def levels_from(threshold: float) -> int:
    """The lowest level of a score that reaches a threshold in (0, 1]."""
    return int(np.ceil(threshold * TOP - 1e-9))

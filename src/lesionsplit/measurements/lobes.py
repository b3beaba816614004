"""Lobe label maps: their convention and its checks.

The convention is that of ``lungmask`` (model LTRCLobes) and the order of the lobes in TotalSegmentator: 1 left upper,
2 left lower, 3 right upper, 4 right middle, 5 right lower, 0 none.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from lesionsplit.errors import DataError
from lesionsplit.volumes.decomposed import LEFT, RIGHT
from lesionsplit.volumes.grid import times
from lesionsplit.volumes.scratch import forget
from lesionsplit.volumes.volume import Volume, Voxels

LOBES: Final = ("left upper lobe", "left lower lobe", "right upper lobe", "right middle lobe", "right lower lobe")
"""The lobes of labels 1, 2, ...; 0 is none."""

SIDE_OF: Final = (LEFT, LEFT, RIGHT, RIGHT, RIGHT)
"""The lung that each of `LOBES` belongs to."""

ALLOWED: Final = "allowed: 0 none, " + ", ".join(f"{label} {name}" for label, name in enumerate(LOBES, 1))


def check_labels(lobes: Voxels, volume: Volume, name: str) -> None:
    """Check that all labels of a map are those of `LOBES`, before minutes of work.

    Args:
        lobes: (I, J, K), on the volume's grid.
        volume: the CT.
        name: of the file, for the message.

    Raises:
        DataError: there is another label.
    """
    for one in volume.axial(lobes):
        labels_of(one, name=name)
    forget(lobes)


def check_shape(lobes: Voxels, shape: tuple[int, ...]) -> None:
    """Check the shape of a map.

    Raises:
        DataError: the shapes differ.
    """
    if lobes.shape != shape:
        raise DataError(
            f"lobes: {times(lobes.shape)} voxels, the volume has {times(shape)}; give a label map on the volume's grid"
        )


def labels_of(lobes: Voxels, name: str = "lobes") -> npt.NDArray[np.uint8]:
    """Convert voxels of a map to labels 0 to 5; ``name`` is used in the message.

    Raises:
        DataError: there is another label.
    """
    labels = np.asarray(lobes)
    good = (labels >= 0) & (labels <= len(LOBES))
    if labels.dtype.kind == "f":
        good &= labels == np.rint(labels)
    if not good.all():
        others = np.unique(labels[~good])[:5]
        raise DataError(
            f"{name}: label {', '.join(f'{other:g}' for other in others)} found; {ALLOWED}; renumber the label map"
        )
    return labels.astype(np.uint8)


def check_sides(voxels: npt.NDArray[np.int64]) -> None:
    """Check that lobes lie in their own lung: a map of another convention, or a mirrored one, fails.

    Args:
        voxels: (2, 6), counts in the right and in the left lung, by label.

    Raises:
        DataError: more than half of a lung's lobes lie in the other lung.
    """
    right, left = voxels
    of_right, of_left = (np.array([0, *(side == lung for side in SIDE_OF)], dtype=bool) for lung in (RIGHT, LEFT))
    for name, labels, own, other in (("left", of_left, left, right), ("right", of_right, right, left)):
        if other[labels].sum() > own[labels].sum():
            raise DataError(
                f"lobes: most of labels {', '.join(str(label) for label in np.flatnonzero(labels))} lies outside the "
                f"{name} lung; {ALLOWED}; renumber the label map, or check that it is not mirrored"
            )

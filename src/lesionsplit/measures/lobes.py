"""Lobe label maps: which label is which lobe, and whether a map keeps to that.

The convention is that of ``lungmask`` (model LTRCLobes) and the order in which TotalSegmentator
lists the lobes: 1 left upper, 2 left lower, 3 right upper, 4 right middle, 5 right lower, 0 none.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from lesionsplit.errors import DataError
from lesionsplit.volumes.findings import LEFT, RIGHT
from lesionsplit.volumes.scratch import forget
from lesionsplit.volumes.volume import Volume, Voxels

LOBES: Final = ("left upper lobe", "left lower lobe", "right upper lobe", "right middle lobe", "right lower lobe")
"""Of label 1, 2, ...; 0 is none."""

SIDE_OF: Final = (LEFT, LEFT, RIGHT, RIGHT, RIGHT)
"""The lung that each of `LOBES` belongs to."""

ALLOWED: Final = "allowed: 0 none, " + ", ".join(f"{label} {name}" for label, name in enumerate(LOBES, 1))


def check_labels(lobes: Voxels, volume: Volume, name: str) -> None:
    """See at once whether a map's labels are those of `LOBES`, and not after minutes of work.

    Args:
        lobes: (I, J, K), on the volume's grid.
        volume: whose lobes they are.
        name: the file's, for the message.

    Raises:
        DataError: there are other labels.
    """
    for one in volume.axial(lobes):
        labels_of(one, name=name)
    forget(lobes)


def check_shape(lobes: Voxels, shape: tuple[int, ...]) -> None:
    """Refuse a map on another grid.

    Raises:
        DataError: the shapes differ.
    """
    if lobes.shape != shape:
        raise DataError(
            f"lobes: {_by(lobes.shape)} voxels, the volume has {_by(shape)}; give a label map on the volume's grid"
        )


def labels_of(lobes: Voxels, name: str = "lobes") -> npt.NDArray[np.uint8]:
    """Some voxels of a map as whole labels, 0 to 5; ``name`` stands in the message.

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
    """Refuse a map whose lobes lie in the wrong lung: one of another convention, or a mirrored one.

    Args:
        voxels: (2, 6), how many lie in the right and in the left lung, by label.

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


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))

"""Iterate over a decomposed volume a few axial slices at a time, with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesionsplit.images import Mask
from lesionsplit.measurements import lobes as lobe_maps
from lesionsplit.volumes.decomposed import DecomposedVolume
from lesionsplit.volumes.scratch import forget
from lesionsplit.volumes.volume import Volume, Voxels

VOXELS = 1 << 22
"""Approximate voxels of a chunk: 16 slices of 512 x 512."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Consecutive axial slices: arrays of (slices, rows, columns), see `Volume.axial`."""

    first: int
    """Index of the first slice in the volume, from 0."""

    grey: Voxels
    """Hounsfield units, none below air, or brightness."""

    score: Voxels
    """uint16, 65535 is 1."""

    lungs: npt.NDArray[np.uint8]
    """0, `RIGHT`, `LEFT`."""

    lesion: Mask
    """Restricted to the lungs."""

    lobes: npt.NDArray[np.uint8]
    """0 and the labels of `lobes.LOBES`; all 0 without lobes."""


def depth(findings: DecomposedVolume) -> int:
    """Slices of a chunk."""
    _, rows, columns = findings.volume.axial().shape
    return max(1, VOXELS // int(rows * columns))


def chunks(findings: DecomposedVolume, lobes: Voxels | None) -> Iterator[Chunk]:
    """Iterate over a volume from the feet up, releasing memory on the way.

    Raises:
        DataError: a lobe label is not one of `lobes.LOBES`.
    """
    volume, step = findings.volume, depth(findings)
    for first in range(0, len(volume.axial()), step):
        part = slice(first, first + step)
        sides = _copy(volume, findings.lungs, part)
        yield Chunk(
            first=first,
            grey=volume.seen(_copy(volume, volume.array, part)),
            score=_copy(volume, findings.score, part),
            lungs=sides,
            lesion=(_copy(volume, findings.lesion, part) != 0) & (sides != 0),
            lobes=np.zeros_like(sides) if lobes is None else lobe_maps.labels_of(_copy(volume, lobes, part)),
        )


def lesion_chunks(findings: DecomposedVolume) -> Iterator[tuple[int, Mask]]:
    """As `chunks`, for the lesion only: the index of the first slice and (slices, rows, columns)."""
    volume, step = findings.volume, depth(findings)
    for first in range(0, len(volume.axial()), step):
        part = slice(first, first + step)
        yield first, (_copy(volume, findings.lesion, part) != 0) & (_copy(volume, findings.lungs, part) != 0)


def _copy(volume: Volume, array: Voxels, part: slice) -> Voxels:
    """Copy axial slices and release the memory pages of the array, all of which it may touch."""
    copied: Voxels = volume.axial(array)[part].copy(order="C")
    forget(array)
    return copied

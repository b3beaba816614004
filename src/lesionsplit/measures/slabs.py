"""A volume's findings a few axial slices at a time, so that memory does not grow with the scan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesionsplit.images import Mask
from lesionsplit.measures import lobes as lobe_maps
from lesionsplit.volumes.findings import Findings
from lesionsplit.volumes.scratch import forget
from lesionsplit.volumes.volume import Volume, Voxels

VOXELS = 1 << 22
"""Voxels of a slab, about: 16 slices of 512 x 512."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slab:
    """Axial slices that follow each other: arrays of (slices, rows, columns), see `Volume.axial`."""

    first: int
    """The slab's first slice in the volume, from 0."""

    grey: Voxels
    """Hounsfield units, or brightness."""

    score: Voxels
    """uint16, 65535 is 1."""

    lungs: npt.NDArray[np.uint8]
    """0, `RIGHT`, `LEFT`."""

    lesion: Mask
    """Inside the lungs only."""

    lobes: npt.NDArray[np.uint8]
    """0 and the labels of `lobes.LOBES`; all 0 where none are given."""


def depth(findings: Findings) -> int:
    """Slices of a slab."""
    _, rows, columns = findings.volume.axial().shape
    return max(1, VOXELS // int(rows * columns))


def slabs(findings: Findings, lobes: Voxels | None) -> Iterator[Slab]:
    """Walk the volume from the feet up; what has been seen is dropped from memory.

    Raises:
        DataError: a lobe label is not one of `lobes.LOBES`.
    """
    volume, step = findings.volume, depth(findings)
    for first in range(0, len(volume.axial()), step):
        part = slice(first, first + step)
        sides = _taken(volume, findings.lungs, part)
        yield Slab(
            first=first,
            grey=_taken(volume, volume.array, part),
            score=_taken(volume, findings.score, part),
            lungs=sides,
            lesion=(_taken(volume, findings.lesion, part) != 0) & (sides != 0),
            lobes=np.zeros_like(sides) if lobes is None else lobe_maps.labels_of(_taken(volume, lobes, part)),
        )


def lesion_slabs(findings: Findings) -> Iterator[tuple[int, Mask]]:
    """As `slabs`, the lesion alone: the first slice from 0, and (slices, rows, columns)."""
    volume, step = findings.volume, depth(findings)
    for first in range(0, len(volume.axial()), step):
        part = slice(first, first + step)
        yield first, (_taken(volume, findings.lesion, part) != 0) & (_taken(volume, findings.lungs, part) != 0)


def _taken(volume: Volume, array: Voxels, part: slice) -> Voxels:
    """A copy of some axial slices; what of the array came into memory for it is dropped at once.

    Where slices are not contiguous in the array, that may have been all of it.
    """
    taken: Voxels = volume.axial(array)[part].copy(order="C")
    forget(array)
    return taken

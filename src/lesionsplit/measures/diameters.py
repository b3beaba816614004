"""How far across lesions are, in millimetres of the patient, whatever the grid.

A voxel is the box it stands for, so a lesion reaches to the outer corners of its voxels: a single
one is as wide as its diagonal. The farthest two points of anything are corners of its convex hull.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from lesionsplit.images import Mask
from lesionsplit.measures.components import Components, Labeller
from lesionsplit.measures.slabs import lesion_slabs
from lesionsplit.volumes.findings import Findings
from lesionsplit.volumes.volume import Affine

Points = npt.NDArray[np.float64]


@dataclass(slots=True)
class Extent:
    """How far across one lesion is."""

    axial_mm: float = 0.0
    """Largest distance within an axial slice."""

    slice: int = 0
    """The slice where it is that wide, from 0."""

    corners: list[Points] = field(default_factory=list)
    """(n, 3) each: millimetres of what the hull may consist of."""

    @property
    def mm(self) -> float:
        """Largest distance in three dimensions."""
        return farthest(np.concatenate(self.corners))


def extents(findings: Findings, components: Components, count: int) -> list[Extent]:
    """Of the ``count`` largest components, the largest first: one more walk through the lesion."""
    count = min(count, len(components.sums))
    found = [Extent() for _ in range(count)]
    if not count:
        return found
    number = np.where(components.component_of <= count, components.component_of, 0).astype(np.int32)
    affine = findings.volume.axial_affine
    label = Labeller()
    for first, lesion in lesion_slabs(findings):
        numbers = number[label(lesion)]
        for one, box in enumerate(ndimage.find_objects(numbers), 1):
            if box is None:
                continue
            for index, mask in enumerate(numbers[box] == one, first + box[0].start):
                if mask.any():
                    _widen(found[one - 1], index, outline(mask) + np.array([box[1].start, box[2].start]), affine)
    return found


def outline(mask: Mask) -> Points:
    """(n, 2), rows and columns: the corners of the convex hull of a mask's pixels, each a square of side 1."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    ends = [(rows + up, column) for up in (-0.5, 0.5) for column in (first - 0.5, last + 0.5)]
    points = np.concatenate([np.stack(end, axis=1) for end in ends])
    hull: Points = points[ConvexHull(points).vertices]
    return hull


def farthest(points: Points) -> float:
    """The largest distance between two of (n, 3) points that do not lie in a plane."""
    return float(pdist(points[ConvexHull(points).vertices]).max())


def _widen(extent: Extent, index: int, corners: Points, affine: Affine) -> None:
    """Take in a slice, (n, 2) corners of it."""
    below, above = (
        np.column_stack([np.full(len(corners), index + half), corners]) @ affine[:3, :3].T for half in (-0.5, 0.5)
    )
    across = float(pdist(below).max())
    if across > extent.axial_mm:
        extent.axial_mm, extent.slice = across, index
    extent.corners += [below, above]

"""Diameters of lesions in millimetres of the patient, for any grid.

A voxel is a box, so a lesion extends to the outer corners of its voxels, and a single voxel is as wide as its
diagonal. The two farthest points of a set are vertices of its convex hull.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from lesionsplit.images import Mask
from lesionsplit.measurements.chunks import lesion_chunks
from lesionsplit.measurements.components import Components, Labeller, box_of
from lesionsplit.volumes.decomposed import DecomposedVolume
from lesionsplit.volumes.volume import Affine

Points = npt.NDArray[np.float64]


@dataclass(slots=True)
class Extent:
    """The extent of one lesion."""

    axial_mm: float = 0.0
    """Largest distance within an axial slice."""

    slice: int = 0
    """The slice of that distance, from 0."""

    ends: Points = field(default_factory=lambda: np.zeros((2, 2)))
    """Rows and columns of the two points that are so far apart; the centre of the first voxel is (0, 0)."""

    corners: list[Points] = field(default_factory=list)
    """(n, 3) each: candidates for vertices of the convex hull, in millimetres."""

    @property
    def mm(self) -> float:
        """Largest distance in three dimensions."""
        return farthest(np.concatenate(self.corners))


def extents(findings: DecomposedVolume, components: Components, count: int) -> list[Extent]:
    """Extents of the ``count`` largest components, the largest first, in one pass over the lesion."""
    count = min(count, len(components.sums))
    found = [Extent() for _ in range(count)]
    if not count:
        return found
    number = np.where(components.component_of <= count, components.component_of, 0).astype(np.int32)
    affine = findings.volume.axial_affine
    label = Labeller()
    for first, lesion in lesion_chunks(findings):
        labels, around = label(lesion), box_of(lesion)
        if around is None:
            continue
        corner = np.array([around[0].start, around[1].start])
        numbers = number[labels[:, around[0], around[1]]]
        for one, box in enumerate(ndimage.find_objects(numbers), 1):
            if box is None:
                continue
            start = corner + np.array([box[1].start, box[2].start])
            for index, mask in enumerate(numbers[box] == one, first + box[0].start):
                if mask.any():
                    _widen(found[one - 1], index, outline(mask) + start, affine)
    return found


def outline(mask: Mask) -> Points:
    """(n, 2), rows and columns: vertices of the convex hull of a mask's pixels, squares of side 1."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    ends = [(rows + up, column) for up in (-0.5, 0.5) for column in (first - 0.5, last + 0.5)]
    points = np.concatenate([np.stack(end, axis=1) for end in ends])
    hull: Points = points[ConvexHull(points).vertices]
    return hull


def farthest(points: Points) -> float:
    """The largest distance between two of (n, 3) points that are not in one plane."""
    return float(pdist(points[ConvexHull(points).vertices]).max())


def _widen(extent: Extent, index: int, corners: Points, affine: Affine) -> None:
    """Add the (n, 2) hull vertices of a slice."""
    below, above = (
        np.column_stack([np.full(len(corners), index + half), corners]) @ affine[:3, :3].T for half in (-0.5, 0.5)
    )
    distances = pdist(below)
    across = float(distances.max())
    if across > extent.axial_mm:
        extent.axial_mm, extent.slice = across, index
        first, second = np.triu_indices(len(corners), 1)  # the order of pdist
        extent.ends = corners[[first[distances.argmax()], second[distances.argmax()]]]
    extent.corners += [below, above]

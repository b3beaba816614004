"""Connected components of the lesion in three dimensions, found chunk by chunk.

Voxels are neighbours by a face, an edge or a corner (26 neighbours). Each chunk is labelled together with the
last slice of the chunk before; labels that share a voxel of that slice are one component. Memory holds a chunk
and a row of sums for each label, never a label map of the volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lesionsplit.images import Mask
from lesionsplit.measurements.chunks import Chunk
from lesionsplit.measurements.histograms import LABELS, whole
from lesionsplit.volumes.decomposed import RIGHT

Labels = npt.NDArray[np.int32]

TOUCH = np.ones((3, 3, 3), dtype=bool)

VOXELS, SLICE, ROW, COLUMN, GREY, IN_RIGHT, IN_LOBE = range(7)
"""Columns of `Components.sums`; `IN_LOBE` and the `LABELS` - 1 columns after it count voxels by lobe label."""


class Labeller:
    """Labels chunks in order; the same chunks always get the same labels."""

    def __init__(self) -> None:
        self.count = 0
        """Number of labels so far; several may belong to one component."""

        self._links: list[npt.NDArray[np.int64]] = []
        self._last: Labels | None = None

    def __call__(self, lesion: Mask) -> Labels:
        """Label the next chunk, (slices, rows, columns); 0 is no lesion, new labels start at `count` + 1."""
        labels = np.zeros(lesion.shape, dtype=np.int32)
        last, self._last = self._last, labels[-1].copy()  # a view would hold the chunk
        stack = lesion if last is None else np.concatenate([last[None] > 0, lesion])
        box = box_of(stack)
        if box is None:
            return labels
        found, count = ndimage.label(stack[:, box[0], box[1]], structure=TOUCH)
        found[found > 0] += self.count
        if last is not None:
            self._links.append(_pairs(last[box], found[0]))
            found = found[1:]
        labels[:, box[0], box[1]] = found
        self._last = labels[-1].copy()
        self.count += count
        return labels

    def components(self) -> npt.NDArray[np.int64]:
        """(`count` + 1,): the component of each label, from 1; 0 is none."""
        ones, others = np.concatenate([np.zeros((2, 0), dtype=np.int64), *self._links], axis=1) - 1
        graph = coo_array((np.ones(len(ones), dtype=np.int8), (ones, others)), shape=(self.count, self.count))
        component = np.zeros(self.count + 1, dtype=np.int64)
        if self.count:
            component[1:] = connected_components(graph, directed=False)[1] + 1
        return component


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """All components of a volume, the largest first; among equals the one nearer to the feet."""

    component_of: npt.NDArray[np.int64]
    """The component of each label of a `Labeller`, from 1; 0 is none."""

    sums: npt.NDArray[np.float64]
    """(components, `IN_LOBE` + `LABELS`): voxel counts, and sums of indices and greys."""

    first: npt.NDArray[np.int64]
    """(components, 3): the first slice, row and column of each, from 0."""

    last: npt.NDArray[np.int64]
    """(components, 3): the last slice, row and column of each, from 0."""


class ComponentAccumulator:
    """Accumulates the sums of the components chunk by chunk."""

    def __init__(self) -> None:
        self._label = Labeller()
        self._sums: list[npt.NDArray[np.float64]] = []
        self._first: list[npt.NDArray[np.int64]] = []
        self._last: list[npt.NDArray[np.int64]] = []

    def add(self, chunk: Chunk) -> None:
        """Label the next chunk and add its sums."""
        before = self._label.count
        labels = self._label(chunk.lesion)
        count = self._label.count - before
        where = np.unravel_index(np.flatnonzero(labels), labels.shape)  # several times as fast as np.nonzero
        label = labels[where] - (before + 1)
        slices = where[0] + chunk.first
        in_right, lobe = chunk.lungs[where] == RIGHT, chunk.lobes[where]
        weights = [None, slices, where[1], where[2], whole(chunk.grey[where]), in_right]
        weights += [lobe == one for one in range(LABELS)]
        columns = [np.bincount(label, weight, minlength=count) for weight in weights]
        self._sums.append(np.stack(columns, axis=1).astype(np.float64))
        first, last = _no_box(count)
        for axis, places in enumerate((slices, *where[1:])):
            np.minimum.at(first[:, axis], label, places)
            np.maximum.at(last[:, axis], label, places)
        self._first.append(first)
        self._last.append(last)

    def components(self) -> Components:
        """The components of all chunks."""
        of_label = self._label.components()
        count = int(of_label.max())
        index = of_label[1:] - 1
        sums = np.zeros((count, IN_LOBE + LABELS))
        first, last = _no_box(count)
        np.add.at(sums, index, np.concatenate(self._sums))
        np.minimum.at(first, index, np.concatenate(self._first))
        np.maximum.at(last, index, np.concatenate(self._last))
        order = np.lexsort((*sums[:, [COLUMN, ROW, SLICE]].T, first[:, 0], -sums[:, VOXELS]))
        place = np.zeros(count + 1, dtype=np.int64)
        place[order + 1] = np.arange(1, count + 1)
        return Components(component_of=place[of_label], sums=sums[order], first=first[order], last=last[order])


def _no_box(count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First and last places, (count, 3) each, of components without a voxel so far."""
    return np.full((count, 3), np.iinfo(np.int64).max), np.full((count, 3), -1)


def _pairs(before: Labels, after: Labels) -> npt.NDArray[np.int64]:
    """(2, n): unique pairs of labels that share a voxel of a slice."""
    size = int(after.max()) + 1
    pairs = np.unique(before[before > 0].astype(np.int64) * size + after[before > 0])
    return np.stack(np.divmod(pairs, size))


def box_of(stack: Mask) -> tuple[slice, slice] | None:
    """Rows and columns of the bounding box of a mask, (slices, rows, columns); None if it is empty."""
    flat: Mask = np.logical_or.reduce(stack, axis=0)
    rows, columns = np.flatnonzero(flat.any(axis=1)), np.flatnonzero(flat.any(axis=0))
    return (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)) if len(rows) else None

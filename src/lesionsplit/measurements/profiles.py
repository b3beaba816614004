"""Profiles over the axial slices."""

from __future__ import annotations

import numpy as np

from lesionsplit.measurements.chunks import Chunk
from lesionsplit.scores import slice_score
from lesionsplit.volumes.decomposed import LEFT, RIGHT, TOP


class Profiler:
    """Accumulates counts and scores slice by slice."""

    def __init__(self, smallest: float) -> None:
        """``smallest``: minimum lung pixels of a slice with a score."""
        self._smallest = max(1.0, smallest)
        self.lung: list[int] = []
        """Lung pixels of each slice."""

        self.lesion: list[int] = []
        """Lesion pixels of each slice."""

        self.lung_by_side: list[tuple[int, int]] = []
        """Voxels of right and left lung in each slice."""

        self.lesion_by_side: list[tuple[int, int]] = []
        """Lesion pixels in right and left lung of each slice."""

        self.score: list[float | None] = []
        """`scores.slice_score` of each slice; None if it has too little lung."""

        self.highest: int = -1
        """The highest stored score in the lungs, 0 to 65535; -1 before there is one."""

    def add(self, chunk: Chunk) -> None:
        """Add the next chunk."""
        for sides, lesion, stored in zip(chunk.lungs, chunk.lesion, chunk.score, strict=True):
            of_lung = np.bincount(sides.ravel(), minlength=3)
            of_lesion = np.bincount(sides[lesion], minlength=3)
            self.lung_by_side.append((int(of_lung[RIGHT]), int(of_lung[LEFT])))
            self.lesion_by_side.append((int(of_lesion[RIGHT]), int(of_lesion[LEFT])))
            lungs, pixels = sides != 0, sum(self.lung_by_side[-1])
            self.lung.append(pixels)
            self.lesion.append(sum(self.lesion_by_side[-1]))
            inside = stored[lungs].astype(np.float32) / np.float32(TOP)
            enough = pixels >= self._smallest
            self.score.append(slice_score(inside, np.ones(pixels, dtype=bool)) if enough else None)
            if pixels:
                self.highest = max(self.highest, int(stored[lungs].max()))

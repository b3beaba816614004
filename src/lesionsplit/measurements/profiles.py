"""Profiles over the axial slices."""

from __future__ import annotations

import numpy as np

from lesionsplit.measurements.chunks import Chunk
from lesionsplit.scores import slice_score
from lesionsplit.volumes.decomposed import TOP


class Profiler:
    """Accumulates counts and scores slice by slice."""

    def __init__(self, smallest: float) -> None:
        """``smallest``: minimum lung pixels of a slice with a score."""
        self._smallest = max(1.0, smallest)
        self.lung: list[int] = []
        """Lung pixels of each slice."""

        self.lesion: list[int] = []
        """Lesion pixels of each slice."""

        self.score: list[float | None] = []
        """`scores.slice_score` of each slice; None if it has too little lung."""

        self.highest: int = -1
        """The highest stored score in the lungs, 0 to 65535; -1 before there is one."""

    def add(self, chunk: Chunk) -> None:
        """Add the next chunk."""
        for lungs, lesion, stored in zip(chunk.lungs != 0, chunk.lesion, chunk.score, strict=True):
            pixels = int(np.count_nonzero(lungs))
            self.lung.append(pixels)
            self.lesion.append(int(np.count_nonzero(lesion)))
            inside = stored[lungs].astype(np.float32) / np.float32(TOP)
            enough = pixels >= self._smallest
            self.score.append(slice_score(inside, np.ones(pixels, dtype=bool)) if enough else None)
            if pixels:
                self.highest = max(self.highest, int(stored[lungs].max()))

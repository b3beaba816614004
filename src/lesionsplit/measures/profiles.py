"""What each axial slice holds, and which slice stands out."""

from __future__ import annotations

import numpy as np

from lesionsplit.measures.slabs import Slab
from lesionsplit.reading import slice_score
from lesionsplit.volumes.findings import TOP


class Profiler:
    """Counts slice by slice, while slabs go by."""

    def __init__(self, smallest: float) -> None:
        """``smallest``: pixels of lung from which a slice has a score."""
        self._smallest = max(1.0, smallest)
        self.lung: list[int] = []
        """Pixels of lung of each slice."""

        self.lesion: list[int] = []
        """Pixels of lesion of each slice."""

        self.score: list[float | None] = []
        """`reading.slice_score` of each slice; None where there is too little lung."""

        self.highest: int = -1
        """The highest level of a score in the lungs, -1 before there is one."""

    def add(self, slab: Slab) -> None:
        """Count the next slab."""
        for lungs, lesion, levels in zip(slab.lungs != 0, slab.lesion, slab.score, strict=True):
            pixels = int(np.count_nonzero(lungs))
            self.lung.append(pixels)
            self.lesion.append(int(np.count_nonzero(lesion)))
            inside = levels[lungs].astype(np.float32) / np.float32(TOP)
            enough = pixels >= self._smallest
            self.score.append(slice_score(inside, np.ones(pixels, dtype=bool)) if enough else None)
            if pixels:
                self.highest = max(self.highest, int(levels[lungs].max()))

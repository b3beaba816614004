"""DecomposedVolume made by hand, on any grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lesionsplit.volumes.decomposed import TOP, DecomposedVolume
from lesionsplit.volumes.volume import Source, Volume

Array = npt.NDArray[Any]
Make = Callable[..., DecomposedVolume]


@pytest.fixture(scope="session")
def make_findings() -> Make:
    """A function of a lesion (I, J, K) and an affine; lungs are everywhere, right where x > 0, unless given."""

    def make(
        lesion: Array,
        affine: Array,
        *,
        hu: Array | None = None,
        lungs: Array | None = None,
        score: Array | None = None,
        intensity: Any = "hu",
        kind: Any = "nifti",
        notes: tuple[str, ...] = (),
        source_notes: tuple[str, ...] = (),
    ) -> DecomposedVolume:
        array = np.where(lesion, -500, -850).astype(np.int16) if hu is None else hu
        if lungs is None:
            index = np.indices(lesion.shape).reshape(3, -1)
            x = (affine[:3, :3] @ index + affine[:3, 3:])[0]
            lungs = np.where(x > 0, 1, 2).astype(np.uint8).reshape(lesion.shape)
        volume = Volume(
            array=array,
            affine=np.asarray(affine, dtype=np.float64),
            intensity=intensity,
            source=Source(kind=kind, path=Path("ct.nii"), name="ct", notes=source_notes),
        )
        return DecomposedVolume(
            volume=volume,
            score=(lesion * np.uint16(TOP)).astype(np.uint16) if score is None else score,
            lesion=lesion.astype(np.uint8),
            lungs=lungs,
            healthy=array,
            threshold=0.25,
            lungs_from="drawn",
            notes=notes,
        )

    return make


@pytest.fixture(params=[1 << 22, 1], ids=["one chunk", "a chunk a slice"])
def _slabs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test in one chunk and in as many as there are slices."""
    monkeypatch.setattr("lesionsplit.measurements.chunks.VOXELS", request.param)

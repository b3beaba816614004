"""DecomposedVolume on small DICOM series of every geometry, for what is written."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from lesionsplit.io.dicom.identity import Identity, new_identity
from lesionsplit.volumes.decomposed import DecomposedVolume
from lesionsplit.volumes.volume import LPS_TO_RAS, Source, Volume

SHAPE = (19, 13, 9)
"""Columns, rows, slices: of an odd number of pixels, so that frames do not begin at whole bytes."""

SPACING = (0.75, 1.25, 2.5)

_OBLIQUE = np.linalg.qr(np.array([[1.0, 0.2, -0.1], [-0.15, 1.0, 0.3], [0.1, -0.3, 1.0]]))[0]
_OBLIQUE = _OBLIQUE * np.sign(np.diag(_OBLIQUE))


def _geometry(kind: str, slices: int) -> tuple[np.ndarray, np.ndarray]:
    """ImageOrientationPatient, (6,), and ImagePositionPatient of each slice, (slices, 3)."""
    axes = _OBLIQUE if kind == "oblique" else np.eye(3)
    if kind == "sagittal":
        axes = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    steps = np.arange(slices) * SPACING[2]
    if kind == "descending":
        steps = -steps
    if kind == "irregular":
        steps = np.cumsum(np.where(np.arange(slices) % 3, SPACING[2], 4.0))
    step = np.cross(axes[:, 0], axes[:, 1])
    if kind == "tilted":
        step = np.array([0.0, np.tan(np.radians(18)), 1.0])
    positions = np.array([-101.3, 57.25, -310.5]) + steps[:, None] * step
    return np.round(np.concatenate([axes[:, 0], axes[:, 1]]), 9), np.round(positions, 6)


@pytest.fixture
def find(make: ModuleType) -> Callable[..., DecomposedVolume]:
    """Makes findings of random masks and scores: ``find("oblique", PatientSex=None)``."""

    def findings(
        kind: str = "straight", *, shape: tuple[int, int, int] = SHAPE, lesion: bool = True, **tags: Any
    ) -> DecomposedVolume:
        random = np.random.default_rng(7)
        hu = random.integers(-1000, 100, shape).astype(np.int16)
        orientation, positions = _geometry(kind, shape[2])
        headers = []
        for k, position in enumerate(positions):
            header = make.make_slice(
                hu[..., k],
                position=position,
                number=k + 1,
                spacing=SPACING,
                **{"ImageOrientationPatient": [float(x) for x in orientation], **tags},
            )
            del header.PixelData
            headers.append(header)
        affine = np.eye(4)
        affine[:3, 0] = orientation[:3] * SPACING[0]
        affine[:3, 1] = orientation[3:] * SPACING[1]
        affine[:3, 2] = (
            (positions[-1] - positions[0]) / (shape[2] - 1) if shape[2] > 1 else np.cross(affine[:3, 0], affine[:3, 1])
        )
        affine[:3, 3] = positions[0]
        lungs = random.integers(0, 3, shape).astype(np.uint8)
        if shape[2] > 4:
            lungs[..., :2] = lungs[..., -1] = 0
            lungs[..., 2][lungs[..., 2] == 2] = 0  # one slice with the right lung only
        score = np.where(lungs > 0, random.integers(0, 65536, shape), 0).astype(np.uint16)
        mask = (score > 45000).astype(np.uint8) * lesion
        mask[..., : shape[2] // 2] = 0
        if shape[2] == 1:
            mask[...] = (score > 45000) * lesion
        source = Source(kind="dicom", path=Path("ct"), name="ct", instances=tuple(headers))
        volume = Volume(array=hu, affine=LPS_TO_RAS @ affine, intensity="hu", source=source)
        return DecomposedVolume(
            volume=volume, score=score, lesion=mask, lungs=lungs, healthy=hu, threshold=0.6866, lungs_from="a draw"
        )

    return findings


@pytest.fixture
def identity() -> Identity:
    return new_identity(weights="0123456789abcdef" * 4)


@pytest.fixture(scope="session")
def complaints() -> Callable[[Path], list[str]]:
    """What dciodvfy finds wrong with a file, warnings left out."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy (Debian: dicom3tools) is not installed")

    def check(path: Path) -> list[str]:
        run = subprocess.run([program, str(path)], capture_output=True, text=True, check=False, timeout=60)
        lines = (run.stdout + run.stderr).splitlines()
        assert len(lines) > 0, "dciodvfy at least names the kind of object"
        return [line for line in lines if line.startswith("Error") or "not found" in line.lower()]

    return check

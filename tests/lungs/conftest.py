"""A chest drawn in millimetres of the patient, so that any grid can be laid over it and the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from lesionsplit.volumes.decomposed import LEFT, RIGHT
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Source, Volume

Array = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

SHARED = Path(__file__).parents[3] / "shared" / "data"


class Chest(NamedTuple):
    volume: Volume
    truth: npt.NDArray[np.uint8]
    """`RIGHT`, `LEFT` or 0, on the volume's grid."""

    disease: Bool
    """What was drawn into the lungs as dense as muscle."""


def ball(point: Array, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Bool:
    found: Bool = (((point - centre) / radii) ** 2).sum(axis=-1) < 1
    return found


Disease = Callable[[Array, Bool], Bool]


def draw(affine: Array, shape: tuple[int, int, int], disease: Disease | None = None, noise: float = 12.0) -> Chest:
    """The chest on a grid; +x is the patient's right, +y the front, +z the head, 0 the middle of the chest.

    The right lung is the larger one.
    """
    point = np.moveaxis(np.indices(shape, dtype=np.float64), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    x, y, z = np.moveaxis(point, -1, 0)
    body = (x / 172) ** 2 + (y / 118) ** 2 < 1
    inner = (x / 145) ** 2 + (y / 92) ** 2 < 1
    heart = ball(point, (-24, 16, -25), (52, 46, 75))
    spine = np.hypot(x / 1.2, y + 78) < 34
    middle = np.abs(x + 4) < 26
    dome = ball(point, (70, 0, -170), (85, 90, 85)) | ball(point, (-70, 0, -180), (80, 90, 82))
    top = (np.abs(z) < 125) & ((np.abs(x) / 145) ** 2 + (y / 92) ** 2 < 1 - np.clip((z - 20) / 125, 0, 1) ** 2)
    lungs = inner & top & ~heart & ~spine & ~middle & ~dome
    trachea = (np.hypot(x + 2, y - 2) < 9) & (z > 10)
    hu = np.full(shape, -1000.0)
    hu[body] = np.where((x / 160) ** 2 + (y / 106) ** 2 < 1, 45.0, -95.0)[body]
    hu[np.hypot(x / 1.2, y + 82)[...] < 20] = 350
    hu[lungs] = -850
    vessels = (np.sin(x / 6) * np.sin(y / 7) * np.sin(z / 9)) > 0.93
    hu[lungs & vessels] = 0
    hu[trachea] = -990
    ill = lungs & disease(point, lungs) if disease is not None else np.zeros(shape, dtype=bool)
    hu[ill] = 35
    hu += np.random.default_rng(7).normal(0, noise, shape)
    source = Source(kind="nifti", path=Path("chest.nii"), name="chest")
    array = np.asfortranarray(np.rint(hu).astype(np.int16))
    truth = np.where(lungs, np.where(x > 0, RIGHT, LEFT), 0).astype(np.uint8)
    return Chest(Volume(array=array, affine=affine, intensity="hu", source=source), truth, ill)


def grid(spacing: tuple[float, float, float], shape: tuple[int, int, int], turned: Array | None = None) -> Array:
    """An affine in LPS order of axes (as DICOM has them), centred on the chest, turned by a (3, 3) matrix."""
    affine = np.eye(4)
    matrix = np.diag([-spacing[0], -spacing[1], spacing[2]])
    affine[:3, :3] = matrix if turned is None else turned @ matrix
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


SPACING, SHAPE = (2.2, 2.2, 18.0), (176, 144, 15)


@pytest.fixture(scope="session")
def chest() -> Chest:
    return draw(grid(SPACING, SHAPE), SHAPE)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    with Scratch(tmp_path) as room:
        yield room


@pytest.fixture(scope="session")
def drawing() -> Callable[..., Chest]:
    """`draw` on `grid`: ``drawing(spacing, shape, turned=..., disease=..., noise=...)``."""

    def drawn(
        spacing: tuple[float, float, float] = SPACING,
        shape: tuple[int, int, int] = SHAPE,
        turned: Array | None = None,
        disease: Disease | None = None,
        noise: float = 12.0,
    ) -> Chest:
        return draw(grid(spacing, shape, turned), shape, disease, noise)

    return drawn


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"the real volumes are not here: {SHARED}")
    return SHARED

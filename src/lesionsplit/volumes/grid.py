"""Grids of voxels: is one usable, are two the same, and in which order and direction of axes."""

from __future__ import annotations

import numpy as np

from lesionsplit.errors import DataError
from lesionsplit.volumes.volume import Affine, Volume, Voxels

SMALLEST, LARGEST = 0.02, 100.0
"""Millimetres of a voxel's side that a CT of a person may have; others are in another unit, or a mistake."""

NEAR = 0.05
"""Voxels by which the corners of two grids may be apart that are the same: files round their numbers."""


def check_affine(affine: Affine, where: str, *, force: bool = False) -> None:
    """Refuse a grid that nothing can be measured on.

    Raises:
        DataError: the affine is not finite or turns the volume flat; or its voxels are no CT's and nobody forces.
    """
    if not np.isfinite(affine).all():
        raise DataError(f"{where}: its place in space has values that are not numbers; mend the header")
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    said = " x ".join(f"{side:.4g}" for side in sides)
    if not sides.all() or abs(np.linalg.det(affine[:3, :3] / np.where(sides > 0, sides, 1))) < 1e-3:
        raise DataError(f"{where}: its voxels of {said} mm are flat (two axes run the same way); mend the header")
    if not force and (sides.min() < SMALLEST or sides.max() > LARGEST):
        raise DataError(
            f"{where}: its voxels are {said} mm; allowed: {SMALLEST:g} to {LARGEST:g} mm a side; mend the header, or "
            "--force goes on"
        )


def same_grid(volume: Volume, other: Volume) -> bool:
    """Whether two volumes have the same shape, and each voxel is in the same place to a twentieth of a voxel."""
    return not difference(volume, other.shape, other.affine)


def difference(volume: Volume, shape: tuple[int, ...], affine: Affine) -> str:
    """How another grid differs from a volume's, in words; nothing where it does not."""
    if shape != volume.shape:
        return f"{_times(shape)} voxels, not {_times(volume.shape)}"
    corners = _corners(shape)
    apart = np.linalg.norm((affine @ corners - volume.affine @ corners)[:3], axis=0).max()
    if apart <= NEAR * min(volume.spacing):
        return ""
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.allclose(sides, volume.spacing, rtol=1e-3):
        return f"voxels of {_times(sides)} mm, not {_times(volume.spacing)} mm"
    return f"the same shape, but up to {apart:.3g} mm away"


def on_grid(array: Voxels, affine: Affine, volume: Volume) -> Voxels | None:
    """A view of an array, with its axes in the order and direction of a volume's; None if it is another grid.

    Args:
        array: (I, J, K) of a grid that has the volume's voxels, in any order of axes.
        affine: its own, to RAS+ millimetres.
        volume: whose grid is wanted.
    """
    turned = _turned(array, affine, volume)
    if turned is None or difference(volume, turned[0].shape, turned[1]):
        return None
    return turned[0]


def part_of_grid(array: Voxels, affine: Affine, volume: Volume) -> tuple[Voxels, tuple[slice, slice, slice]] | None:
    """As `on_grid`, of an array that may have a part of the volume's voxels: a view of it, and which ones it has."""
    turned = _turned(array, affine, volume)
    if turned is None:
        return None
    view, own = turned
    start = np.rint(np.linalg.inv(volume.affine) @ own[:, 3])[:3].astype(int)
    stop = start + view.shape
    corners, shift = _corners(view.shape), np.eye(4)
    shift[:3, 3] = start
    apart = np.linalg.norm((own @ corners - volume.affine @ shift @ corners)[:3], axis=0).max()
    if start.min() < 0 or (stop > volume.shape).any() or apart > NEAR * min(volume.spacing):
        return None
    i, j, k = (slice(int(first), int(last)) for first, last in zip(start, stop, strict=True))
    return view, (i, j, k)


def _turned(array: Voxels, affine: Affine, volume: Volume) -> tuple[Voxels, Affine] | None:
    """A view of an array with its axes as a volume's, and the view's affine; None where they run otherwise."""
    to_other = np.linalg.inv(affine) @ volume.affine
    turn = np.rint(to_other[:3, :3]).astype(int)
    if (abs(turn).sum(axis=0) != 1).any() or (abs(turn).sum(axis=1) != 1).any():
        return None
    order = abs(turn).argmax(axis=0)  # the other's axis that runs along each of the volume's
    view = array.transpose(order)
    view = view[tuple(slice(None, None, int(turn[order[axis], axis])) for axis in range(3))]
    back = np.eye(4)
    back[:3, :3] = turn
    back[:3, 3] = np.where(turn.sum(axis=1) < 0, np.array(array.shape) - 1, 0)
    return view, affine @ back


def _corners(shape: tuple[int, ...]) -> Affine:
    """(4, 8): the indices of a grid's corners."""
    corners = np.stack(np.meshgrid(*((0, size - 1) for size in shape), indexing="ij")).reshape(3, 8)
    return np.concatenate([corners, np.ones((1, 8))])


def _times(sizes: object) -> str:
    return " x ".join(f"{size:.4g}" if isinstance(size, float) else str(size) for size in sizes)  # type: ignore[attr-defined]

"""Check and compare voxel grids, and reorder the axes of arrays between them."""

from __future__ import annotations

import numpy as np

from lesionsplit.errors import DataError
from lesionsplit.volumes.volume import Affine, Volume, Voxels

SMALLEST, LARGEST = 0.02, 100.0
"""Range of voxel sizes of a CT in millimetres; other values are errors or in another unit."""

NARROWEST, WIDEST = 100.0, 2500.0
"""Range of the longest side of a CT in millimetres."""

WHOLE_SLICE = 128
"""Rows and columns from which a slice is taken for one of the whole chest."""

NEAR = 0.05
"""Tolerance, in voxels, between the corners of equal grids: files round their numbers."""


def check_affine(affine: Affine, where: str, *, force: bool = False) -> None:
    """Check that a grid can be measured.

    Raises:
        DataError: the affine is not finite or singular; or voxel sizes are not those of a CT and ``force`` is off.
    """
    if not np.isfinite(affine).all():
        raise DataError(f"{where}: its affine has values that are not numbers; correct the header")
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    size = " x ".join(f"{side:.4g}" for side in sides)
    if not sides.all() or abs(np.linalg.det(affine[:3, :3] / sides)) < 1e-3:
        raise DataError(f"{where}: its voxels of {size} mm are flat (two axes are parallel); correct the header")
    if not force and (sides.min() < SMALLEST or sides.max() > LARGEST):
        raise DataError(
            f"{where}: its voxels are {size} mm; allowed: {SMALLEST:g} to {LARGEST:g} mm a side; correct the header, "
            "or use --force to continue"
        )


def check_extent(affine: Affine, shape: tuple[int, int, int], where: str, *, force: bool = False) -> None:
    """Check that a grid of many voxels is as large as a chest: lengths in centimetres are also those of voxels.

    Raises:
        DataError: it is not, and ``force`` is off.
    """
    sides = np.linalg.norm(affine[:3, :3], axis=0) * shape
    if force or np.sort(shape)[1] < WHOLE_SLICE or NARROWEST <= sides.max() <= WIDEST:
        return
    raise DataError(
        f"{where}: its {times(shape)} voxels extend over {times(f'{side:.4g}' for side in sides)} mm; allowed: "
        f"{NARROWEST:g} to {WIDEST:g} mm on the longest side; are its lengths in another unit? Correct the header, or "
        "use --force to continue"
    )


def difference(volume: Volume, shape: tuple[int, ...], affine: Affine) -> str:
    """How a grid differs from a volume's, as text; empty if they are equal."""
    if shape != volume.shape:
        return f"{times(shape)} voxels, not {times(volume.shape)}"
    corners = _corners(shape)
    apart = np.linalg.norm((affine @ corners - volume.affine @ corners)[:3], axis=0).max()
    if apart <= NEAR * min(volume.spacing):
        return ""
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.allclose(sides, volume.spacing, rtol=1e-3):
        return f"voxels of {times(sides)} mm, not {times(volume.spacing)} mm"
    return f"the same shape, but up to {apart:.3g} mm away"


def on_grid(array: Voxels, affine: Affine, volume: Volume) -> Voxels | None:
    """A view of an array with the axes of a volume; None if the grids differ.

    Args:
        array: (I, J, K) on the volume's voxels, with any order and direction of axes.
        affine: of the array, to RAS+ millimetres.
        volume: has the target grid.
    """
    reoriented = _reoriented(array, affine, volume)
    if reoriented is None or difference(volume, reoriented[0].shape, reoriented[1]):
        return None
    return reoriented[0]


def part_of_grid(array: Voxels, affine: Affine, volume: Volume) -> tuple[Voxels, tuple[slice, slice, slice]] | None:
    """As `on_grid`, for an array on a part of the volume's voxels: the view, and the part as slices."""
    reoriented = _reoriented(array, affine, volume)
    if reoriented is None:
        return None
    view, own = reoriented
    start = np.rint(np.linalg.inv(volume.affine) @ own[:, 3])[:3].astype(int)
    stop = start + view.shape
    corners, shift = _corners(view.shape), np.eye(4)
    shift[:3, 3] = start
    apart = np.linalg.norm((own @ corners - volume.affine @ shift @ corners)[:3], axis=0).max()
    if start.min() < 0 or (stop > volume.shape).any() or apart > NEAR * min(volume.spacing):
        return None
    i, j, k = (slice(int(first), int(last)) for first, last in zip(start, stop, strict=True))
    return view, (i, j, k)


def _reoriented(array: Voxels, affine: Affine, volume: Volume) -> tuple[Voxels, Affine] | None:
    """A view of an array with the axes of a volume, and its affine; None if the axes are not parallel."""
    to_other = np.linalg.inv(affine) @ volume.affine
    turn = np.rint(to_other[:3, :3]).astype(int)
    if (abs(turn).sum(axis=0) != 1).any() or (abs(turn).sum(axis=1) != 1).any():
        return None
    order = abs(turn).argmax(axis=0)  # the array's axis along each axis of the volume
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


def times(sizes: object) -> str:
    """Sizes as text, such as ``512 x 512 x 60``."""
    return " x ".join(f"{size:.4g}" if isinstance(size, float) else str(size) for size in sizes)  # type: ignore[attr-defined]

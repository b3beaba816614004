"""The lungs of a CT volume or of a single raw slice, right and left, on the input's own grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy import ndimage

from lesionsplit.errors import NoLungError
from lesionsplit.images import Float, Grey, Mask
from lesionsplit.lungs.blood import enhanced_blood
from lesionsplit.lungs.canvas import AIR, Canvas, place, shrink_all, some_of
from lesionsplit.lungs.doubts import disagreement, what_is_cut
from lesionsplit.lungs.edge import sharpen
from lesionsplit.lungs.levels import levels_of
from lesionsplit.lungs.network import default_model
from lesionsplit.lungs.optional import lungmask_labels
from lesionsplit.lungs.sides import Labels, split_sides
from lesionsplit.lungs.thresholds import (
    body_of,
    closed_sides,
    fill_at_ribs,
    lung_pieces,
    threshold_lungs,
)
from lesionsplit.predictor import choose_device
from lesionsplit.progress import Progress, silent
from lesionsplit.volumes.findings import LEFT, RIGHT
from lesionsplit.volumes.scratch import Scratch, forget
from lesionsplit.volumes.volume import Source, Volume, Voxels

LungMethod: TypeAlias = Literal["network", "thresholds", "lungmask"]

SURE = 0.5
"""Share of a pixel of the canvas from which the network's word counts."""

DEEP = 0.9
"""Share that a pixel inside of the coarse lungs has at least: the edge is not looked for there."""

FORGET = 32
"""Slices after which pages of arrays on disk are given back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundLungs:
    """Where the lungs are."""

    labels: Voxels
    """uint8 on the volume's grid: 0, `RIGHT` or `LEFT`."""

    how: str
    """How they were found, in words."""

    notes: tuple[str, ...] = ()
    """What gives reason to look at them."""


class _Coarse(NamedTuple):
    """Lungs on the canvas; (K, SIDE, SIDE) each."""

    shares: Float
    lungs: Mask
    bodies: Mask
    checked: Mask | None
    """What thresholds find, where it was not they that were asked."""


def find_lungs(
    volume: Volume,
    scratch: Scratch,
    *,
    using: LungMethod = "network",
    lungmask_weights: Path | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> FoundLungs:
    """The patient's right and left lung, with the disease in them and without the airways.

    Slices without lung get none.

    Args:
        volume: HU, or grey on an unknown scale on which air is dark.
        scratch: where the labels are kept.
        using: the network in the package; thresholds and morphology, which lose dense disease; or the
            package ``lungmask``.
        lungmask_weights: the weights' file of that package; it downloads none here.
        device: of the network.
        progress: is shown the slices.

    Raises:
        NoLungError: there is no lung in the volume.
        DataError: ``lungmask`` is not there or has no weights.
        SettingsError: there is no such device.
    """
    labels = scratch.like(volume, np.uint8)
    if using == "lungmask":
        lungmask_labels(volume, lungmask_weights, labels, choose_device(device).type == "cpu")
        if not labels.any():
            raise NoLungError(_no_lung(volume))
        return FoundLungs(labels=labels, how="the package lungmask (R231)", notes=what_is_cut(volume, labels))
    canvas, coarse = _coarse(volume, using, device, progress)
    _fine(volume, canvas, coarse, labels)
    how = "a network, its edge by the CT's own" if using == "network" else "thresholds and morphology"
    doubts = () if coarse.checked is None else disagreement(coarse.lungs, coarse.checked)
    return FoundLungs(labels=labels, how=how, notes=doubts + what_is_cut(volume, labels))


def find_lungs_in_slice(grey: Grey, *, using: LungMethod = "network", device: str = "auto") -> Mask:
    """The lungs of one raw axial slice, (rows, columns), 8 or 16 bit; the front of the body is up.

    Raises:
        NoLungError: there is no lung in it.
    """
    volume = Volume(
        array=grey.T[:, :, None],
        affine=np.diag([-1.0, -1.0, 1.0, 1.0]),
        intensity="grey",
        source=Source(kind="image", path=Path("slice"), name="slice"),
    )
    labels = np.zeros(volume.shape, np.uint8)
    _fine(volume, *_coarse(volume, using, device, silent), labels)
    lungs: Mask = volume.axial(labels)[0] > 0
    return lungs


def _coarse(volume: Volume, using: LungMethod, device: str, progress: Progress) -> tuple[Canvas, _Coarse]:
    view = volume.axial()
    canvas = place(volume, levels_of(volume, some_of(view)))
    shrunk = shrink_all(canvas, _slices(volume), len(view))
    frame = canvas.frame()
    bodies = np.stack([body_of(image + np.float32(AIR), frame) for image in shrunk])
    checked = threshold_lungs(shrunk, frame, bodies)
    if using == "thresholds":
        lungs = fill_at_ribs(checked, bodies)
        shares = np.stack([ndimage.gaussian_filter(one.astype(np.float32), 0.6) for one in lungs])
        coarse = _Coarse(shares, lungs, bodies, None)
    else:
        shares = default_model().shares(shrunk, choose_device(device), progress)
        lungs = _pieces(shares > SURE, shrunk, bodies, frame)
        if volume.intensity == "hu" and len(view) > 1:
            lungs &= ~enhanced_blood(lungs, shrunk + np.float32(AIR))
        coarse = _Coarse(shares, lungs, bodies, checked)
    if not coarse.lungs.any():
        raise NoLungError(_no_lung(volume))
    return canvas, coarse


def _pieces(lungs: Mask, shrunk: Float, bodies: Mask, frame: Mask) -> Mask:
    """What the network says, in the body, without crumbs and gas, and closed; nothing if all of it are crumbs."""
    return closed_sides(lung_pieces(lungs & bodies, shrunk + np.float32(AIR), bodies, frame), bodies)


def _fine(volume: Volume, canvas: Canvas, coarse: _Coarse, labels: Voxels) -> None:
    """Write right and left at full resolution, on the volume's grid."""
    sides = split_sides(coarse.lungs, coarse.bodies)
    into = volume.axial(labels)
    for number, image in enumerate(_slices(volume)):
        if not sides[number].any():
            continue
        share, right = _around(coarse.shares[number], sides[number])
        window = canvas.window(share)
        lungs = sharpen(canvas.enlarge(share, window), canvas.levels.hu(image[window]), canvas.pixel_mm)
        halves = np.where(canvas.enlarge(right, window) > 0, RIGHT, LEFT)
        into[number][window] = np.where(lungs, halves, 0)
        if number % FORGET == FORGET - 1:
            forget(labels)
    forget(labels)


def _around(share: Float, sides: Labels) -> tuple[Float, Float]:
    """Shares of the lungs that were kept, with a rim, and a map that is above 0 nearer to the right one."""
    near_right, near_left = (ndimage.maximum_filter(sides == side, 5) for side in (RIGHT, LEFT))
    kept = np.where(near_right | near_left, share, 0).astype(np.float32)
    kept = np.where(sides > 0, np.maximum(kept, 0.5 + 1e-3), np.minimum(kept, 0.5))  # gaps closed, crumbs gone
    deep = ndimage.binary_erosion(sides > 0, np.ones((3, 3)))
    kept[deep] = np.maximum(kept[deep], DEEP)
    right = ndimage.uniform_filter((sides == RIGHT).astype(np.float32) - (sides == LEFT), 5)
    return kept.astype(np.float32), right


def _slices(volume: Volume) -> Iterator[Voxels]:
    """Axial slices, what lies on disk given back behind them."""
    for number, image in enumerate(volume.axial()):
        yield image
        if number % FORGET == FORGET - 1:
            forget(volume.array)


def _no_lung(volume: Volume) -> str:
    slices = len(volume.axial())
    return (
        f"{volume.source.path}: no lung found in {slices} slice{'s' if slices > 1 else ''}; give CT of the chest, or "
        "the lungs yourself with --lungs FILE"
    )

"""Find the right and the left lung of a CT volume or of one raw slice, on the input's own grid."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from lesionsplit.errors import NoLungError
from lesionsplit.images import Float, Grey, Mask
from lesionsplit.lungs.contrast_vessels import contrast_vessels
from lesionsplit.lungs.hu_scale import hu_scale_of
from lesionsplit.lungs.lungmask_backend import lungmask_labels
from lesionsplit.lungs.method import LungMethod
from lesionsplit.lungs.network import default_network
from lesionsplit.lungs.quality_checks import disagreement_notes, truncation_notes
from lesionsplit.lungs.refine import refine_edge
from lesionsplit.lungs.resample import AIR, Resampler, make_resampler, sample_slices, shrink_all
from lesionsplit.lungs.sides import Labels, split_sides
from lesionsplit.lungs.thresholds import body_of, closed_sides, fill_at_ribs, lung_pieces, threshold_lungs
from lesionsplit.models.device import on_gpu
from lesionsplit.progress import Progress, silent
from lesionsplit.volumes.decomposed import LEFT, RIGHT
from lesionsplit.volumes.scratch import Scratch, releasing
from lesionsplit.volumes.volume import Source, Volume, Voxels

LUNG = 0.5
"""The network's output above which a coarse pixel is lung."""

DEEP = 0.9
"""Minimum share of a pixel inside the coarse lungs: the edge is not refined there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LungLabels:
    """The lungs of a volume."""

    labels: Voxels
    """uint8 on the volume's grid: 0, `RIGHT` or `LEFT`."""

    method: str
    """How they were found, for readers."""

    notes: tuple[str, ...] = ()
    """Reasons to inspect them."""


class _Coarse(NamedTuple):
    """Lungs on the coarse grid; (K, SIDE, SIDE) each."""

    shares: Float
    lungs: Mask
    bodies: Mask
    checked: Mask | None
    """The lungs by thresholds, if another method was used."""


def find_lungs(
    volume: Volume,
    scratch: Scratch,
    *,
    using: LungMethod = "network",
    lungmask_weights: Path | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> LungLabels:
    """Find the patient's right and left lung, with the disease in them and without the airways.

    Slices may be without lung.

    Args:
        volume: HU, or grey on an unknown scale on which air is dark.
        scratch: holds the labels.
        using: the network of this package; thresholds and morphology, which lose dense disease; or the
            package ``lungmask``.
        lungmask_weights: the weights file of ``lungmask``; nothing is downloaded.
        device: of the network.
        progress: receives the batches of slices.

    Raises:
        NoLungError: there is no lung in the volume.
        DataError: ``lungmask`` is not installed or has no weights.
        SettingsError: the device does not exist.
    """
    labels = scratch.like(volume, np.uint8)
    if using == "lungmask":
        lungmask_labels(volume, lungmask_weights, labels, not on_gpu(device))
        if not labels.any():
            raise NoLungError(_no_lung(volume))
        return LungLabels(labels=labels, method="lungmask (R231)", notes=truncation_notes(volume, labels))
    resampler, coarse = _coarse(volume, using, device, progress)
    _refine(volume, resampler, coarse, labels)
    method = "network, with the edge refined on the CT" if using == "network" else "thresholds and morphology"
    notes = () if coarse.checked is None else disagreement_notes(coarse.lungs, coarse.checked)
    return LungLabels(labels=labels, method=method, notes=notes + truncation_notes(volume, labels))


def find_lungs_in_slice(grey: Grey, *, device: str = "auto", path: Path = Path("slice")) -> Mask:
    """Find the lungs of one raw axial slice, (rows, columns), 8 or 16 bit, with the front of the body up.

    Args:
        grey: the slice.
        device: of the network.
        path: of the slice, for messages.

    Raises:
        NoLungError: there is no lung in it.
    """
    volume = Volume(
        array=grey.T[:, :, None],
        affine=np.diag([-1.0, -1.0, 1.0, 1.0]),
        intensity="grey",
        source=Source(kind="image", path=path, name="slice"),
    )
    labels = np.zeros(volume.shape, np.uint8)
    _refine(volume, *_coarse(volume, "network", device, silent), labels)
    lungs: Mask = volume.axial(labels)[0] > 0
    return lungs


def _coarse(volume: Volume, using: LungMethod, device: str, progress: Progress) -> tuple[Resampler, _Coarse]:
    view = volume.axial()
    resampler = make_resampler(volume, hu_scale_of(volume, sample_slices(view)))
    shrunk = shrink_all(resampler, releasing(view, volume.array), len(view))
    frame = resampler.frame()
    with ThreadPoolExecutor(1) as beside:  # the network works in threads of its own
        later = beside.submit(default_network(device).shares, shrunk, progress) if using == "network" else None
        bodies = np.stack([body_of(image + np.float32(AIR), frame) for image in shrunk])
        checked = threshold_lungs(shrunk, frame, bodies)
    if later is None:
        lungs = fill_at_ribs(checked, bodies)
        shares = np.stack([ndimage.gaussian_filter(one.astype(np.float32), 0.6) for one in lungs])
        coarse = _Coarse(shares, lungs, bodies, None)
    else:
        shares = later.result()
        hu = shrunk + np.float32(AIR)
        lungs = closed_sides(lung_pieces((shares > LUNG) & bodies, hu, bodies, frame), bodies)
        if volume.intensity == "hu" and len(view) > 1:
            lungs &= ~contrast_vessels(lungs, hu)
        coarse = _Coarse(shares, lungs, bodies, checked)
    if not coarse.lungs.any():
        raise NoLungError(_no_lung(volume))
    return resampler, coarse


def _refine(volume: Volume, resampler: Resampler, coarse: _Coarse, labels: Voxels) -> None:
    """Write the right and the left lung at full resolution, on the volume's grid."""
    sides = split_sides(coarse.lungs, coarse.bodies)
    output = volume.axial(labels)
    for number, image in enumerate(releasing(volume.axial(), volume.array, labels)):
        if not sides[number].any():
            continue
        share, right = _near_lungs(coarse.shares[number], sides[number])
        window = resampler.window(share)
        hu = resampler.hu_scale.hu(image[window])
        lungs = refine_edge(resampler.enlarge(share, window), hu, resampler.pixel_mm)
        halves = np.where(resampler.enlarge(right, window) > 0, RIGHT, LEFT)
        output[number][window] = np.where(lungs, halves, 0)


def _near_lungs(share: Float, sides: Labels) -> tuple[Float, Float]:
    """The shares in and next to the lungs of a slice, and a map that is above 0 nearer to the right lung."""
    near_right, near_left = (ndimage.maximum_filter(sides == side, 5) for side in (RIGHT, LEFT))
    kept = np.where(near_right | near_left, share, 0).astype(np.float32)
    kept = np.where(sides > 0, np.maximum(kept, 0.5 + 1e-3), np.minimum(kept, 0.5))  # as the coarse lungs have it
    deep = ndimage.binary_erosion(sides > 0, np.ones((3, 3)))
    kept[deep] = np.maximum(kept[deep], DEEP)
    right = ndimage.uniform_filter((sides == RIGHT).astype(np.float32) - (sides == LEFT), 5)
    return kept.astype(np.float32), right


def _no_lung(volume: Volume) -> str:
    slices = len(volume.axial())
    return (
        f"{volume.source.path}: no lung found in {slices} slice{'s' if slices > 1 else ''}; give a chest CT, or your "
        "own lung mask"
    )

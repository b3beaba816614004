"""Leave out findings that are probably normal anatomy or artefacts.

A finding is a connected component of the lesion. The network sees one slice at a time, in which the top of a dome of
the diaphragm looks like a consolidation. Rules with the neighbouring slices and HU judge each finding:

* at least `OVER` of its voxels have no lung within `EDGE_MM` below them, or above them: the edge of the lung;
* its mean HU is below `FAINT_HU` and less than `FAINT_CONTRAST` above the lung within `AROUND_MM` of it: fainter than
  disease usually is, as streaks beside contrast medium and dependent lung are.

In coarse pixels, vessels and edges are blurred until they look like ground glass: scores are first lowered to what is
wider (`partial_volume.open_coarse`).

The scores of what is left out end just below the threshold, so that everything that is made of scores agrees. The
limits were chosen on two chest CTs and ten slices with disease (`experiments/whole_chests.py`), not trained.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesionsplit.images import Mask
from lesionsplit.inference.partial_volume import FARTHEST_MM, NARROWEST, open_coarse
from lesionsplit.inference.volume import COARSE_MM
from lesionsplit.measurements.chunks import chunks
from lesionsplit.measurements.components import GREY, IN_RIGHT, TOUCH, VOXELS, ComponentAccumulator, Components
from lesionsplit.volumes.decomposed import EDGE, FAINT, DecomposedVolume, LeftOut, levels_from
from lesionsplit.volumes.volume import Volume, Voxels

SMALLEST_ML, LARGEST_ML = 0.1, 50.0
"""Findings of other sizes are not judged: small ones are not listed, and large ones are disease."""

EDGE_MM, OVER = 7.5, 0.6
FAINT_HU, FAINT_CONTRAST, AROUND_MM = -630.0, 160.0, 6.0

Box = tuple[slice, slice, slice]


def leave_out(findings: DecomposedVolume) -> DecomposedVolume:
    """Leave out what is probably normal; the arrays are changed in place, and the healthy version gets its grey back.

    Findings of volumes that are not in HU, of one slice, or whose slices are more than `FARTHEST_MM` apart are not
    judged.
    """
    volume = findings.volume
    if max(volume.axial_spacing[1:]) > COARSE_MM and volume.source.kind != "image":
        findings = _without_narrow(findings)
    between, count = volume.axial_spacing[0], len(volume.axial())
    if volume.intensity != "hu" or count < 2 or between > FARTHEST_MM:
        return findings
    accumulator = ComponentAccumulator()
    for chunk in chunks(findings, None):
        accumulator.add(chunk)
    components = accumulator.components()
    sizes = components.sums[:, VOXELS] * volume.voxel_ml
    judged = np.flatnonzero((sizes >= SMALLEST_ML) & (sizes <= LARGEST_ML))
    found = [one for index in judged if (one := _judge(findings, components, int(index))) is not None]
    return replace(findings, left_out=tuple(found))


def _without_narrow(findings: DecomposedVolume) -> DecomposedVolume:
    """Lower the scores of what is too narrow to be told from blurred vessels."""
    volume, lowest = findings.volume, levels_from(findings.threshold)
    score, lesion, healthy = (volume.axial(one) for one in (findings.score, findings.lesion, findings.healthy))
    for at, lowered in open_coarse(score, volume.axial_spacing):
        lesion[at] &= score[at] >= lowest
        gone = lowered & (lesion[at] == 0)
        healthy[at][gone] = volume.axial()[at][gone]
    width = NARROWEST * max(volume.axial_spacing[1:])
    note = f"in such pixels, lesions narrower than {width:.0f} mm cannot be told from vessels and are not counted"
    return replace(findings, notes=(*findings.notes, note))


def _judge(findings: DecomposedVolume, components: Components, index: int) -> LeftOut | None:
    """Leave one finding out if it is probably normal."""
    volume = findings.volume
    sums, first, last = components.sums[index], components.first[index], components.last[index]
    box: Box = tuple(slice(low, high + 1) for low, high in zip(first, last, strict=True))  # type: ignore[assignment]
    lesion, lungs, score = (volume.axial(array) for array in (findings.lesion, findings.lungs, findings.score))
    mask = _component((lesion[box] != 0) & (lungs[box] != 0), int(sums[VOXELS]))
    mean_hu = float(sums[GREY] / sums[VOXELS])
    cause = _cause(findings, box, mask, mean_hu)
    if cause is None:
        return None
    score[box][mask] = levels_from(findings.threshold) - 1
    lesion[box][mask] = 0
    volume.axial(findings.healthy)[box][mask] = volume.axial()[box][mask]
    centre = volume.axial_affine @ [*((first + last) / 2), 1]
    return LeftOut(
        cause=cause,
        volume_ml=float(sums[VOXELS]) * volume.voxel_ml,
        side="right" if sums[IN_RIGHT] * 2 >= sums[VOXELS] else "left",
        mean_hu=mean_hu,
        centre_ras_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        first_slice=int(first[0]) + 1,
        last_slice=int(last[0]) + 1,
    )


def _component(lesion: Mask, voxels: int) -> Mask:
    """The component with so many voxels that reaches all sides of the box."""
    labels, _ = ndimage.label(lesion, structure=TOUCH)
    whole = tuple(slice(0, size) for size in lesion.shape)
    at = next(
        number
        for number, box in enumerate(ndimage.find_objects(labels), 1)
        if box == whole and np.count_nonzero(labels == number) == voxels
    )
    mask: Mask = labels == at
    return mask


def _cause(findings: DecomposedVolume, box: Box, mask: Mask, mean_hu: float) -> str | None:
    volume = findings.volume
    slices = max(1, round(EDGE_MM / volume.axial_spacing[0]))
    around, inner = _widened(box, (slices, 0, 0), volume.axial().shape)
    within = np.zeros([side.stop - side.start for side in around], dtype=bool)
    within[inner] = mask
    lung = volume.axial(findings.lungs)[around] > 0
    for step in (1, -1):
        near = np.zeros_like(lung)
        for apart in range(1, slices + 1):
            near |= ~_moved(lung, step * apart)
        if near[within].mean() >= OVER:
            return EDGE
    if mean_hu < FAINT_HU and mean_hu - _grey_around(findings, box, mask) < FAINT_CONTRAST:
        return FAINT
    return None


def _grey_around(findings: DecomposedVolume, box: Box, mask: Mask) -> float:
    """Median HU of the lung without lesion around a finding; minus infinity where there is none."""
    volume = findings.volume
    spacing = np.array(volume.axial_spacing)
    around, inner = _widened(box, np.ceil(AROUND_MM / spacing).astype(int), volume.axial().shape)
    outside = np.ones([side.stop - side.start for side in around], dtype=bool)
    outside[inner] = ~mask
    near = ndimage.distance_transform_edt(outside, sampling=spacing) <= AROUND_MM
    lesion, lungs = (volume.axial(array)[around] for array in (findings.lesion, findings.lungs))
    ring = near & outside & (lungs > 0) & (lesion == 0)
    return float(np.median(_seen(volume, around)[ring])) if ring.any() else -np.inf


def _seen(volume: Volume, box: Box) -> Voxels:
    seen: Voxels = volume.seen(volume.axial()[box])
    return seen


def _widened(box: Box, by: npt.ArrayLike, shape: tuple[int, ...]) -> tuple[Box, Box]:
    """A wider box in a volume of that shape, and where in it the box lies."""
    wide, inner = [], []
    for side, more, size in zip(box, np.asarray(by), shape, strict=True):
        low = max(0, side.start - int(more))
        wide.append(slice(low, min(size, side.stop + int(more))))
        inner.append(slice(side.start - low, side.stop - low))
    return tuple(wide), tuple(inner)  # type: ignore[return-value]


def _moved(lung: Mask, up: int) -> Mask:
    """The mask moved by slices; lung continues where the scan ends."""
    moved = np.ones_like(lung)
    if up > 0:
        moved[up:] = lung[:-up]
    else:
        moved[:up] = lung[-up:]
    return moved

"""Recognise the padding of a volume: what surrounds the scan and was not measured.

Programs that pad, crop or resample a scan fill in 0, which is water, -1024 or another value; scanners fill in -2000,
-2048 or -3024. Such a value is constant from the corner of a slice inwards, where measured values have noise. The
algorithms get the scan without the rows, columns and slices that are nothing but padding, whatever its value: they
look at the frame, so that a frame of air, too, would move numbers. Padding that is left, such as what lies outside of
a circle, is seen as air. Results have the grid and the values of the file.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from lesionsplit.images import Mask
from lesionsplit.volumes.decomposed import DecomposedVolume
from lesionsplit.volumes.scratch import Scratch, releasing
from lesionsplit.volumes.volume import AIR, Volume, Voxels

DARKEST, BRIGHTEST = -1100.0, -900.0
"""Range of HU in which a constant value is air, clipped or without noise; leaving it out needs no note."""

RUN = 5
"""Pixels of one value along an edge, from the corner of a slice, where there is padding."""

SMALLEST = 16
"""Rows or columns below which what is not padding is no chest, but a few odd voxels in air."""

FEWEST = 0.002
"""Minimum fraction of the voxels that is padding, for it to be mentioned, or to be replaced inside of the frame."""

BONE = 1000.0
"""HU up to which a constant value that is the highest of the volume is clipped tissue, and not padding."""

CENTRE = 0.3
"""Maximum fraction of the central quarter of a slice that is padding brighter than air; more is tissue."""

MOST = 3
"""Maximum number of different values of padding in a volume."""

CONTRAST = 200.0
"""HU between padding and scan from which it shows whether resampling has blended them."""

LEAST, MOST_BLENDED, SPREAD = 0.1, 0.9, 0.1
"""A row is a blend of padding and the next row if the weight of that in it is, by the median, between the first two
and, for the middle half of its voxels, the same to within the third. Measured rows are about equal to the next, or
air before skin, or vary."""

FEWEST_CLEAR = 0.1
"""Minimum fraction of a row with such a contrast, for a decision."""

RIM = 8
"""Maximum number of rows, columns or slices that resampling has blended."""

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Unpadded:
    """A volume, and the scan in it."""

    volume: Volume
    """As it was read."""

    scan: Volume
    """Its part that is not padding, with air where padding is left; the volume itself if there is none."""

    box: Box
    """The part, (slices, rows, columns) of the axial view."""

    def whole(self, decomposed: DecomposedVolume, scratch: Scratch) -> DecomposedVolume:
        """The results of the scan as those of the volume: nothing is found in padding, which keeps its values."""
        if self.scan is self.volume:
            return decomposed
        volume = replace(self.volume, source=self.scan.source)

        def placed(part: Voxels) -> Voxels:
            array = scratch.like(volume, part.dtype)
            volume.axial(array)[self.box] = self.scan.axial(part)
            return array

        found = replace(
            decomposed,
            volume=volume,
            score=placed(decomposed.score),
            lesion=placed(decomposed.lesion),
            lungs=placed(decomposed.lungs),
            healthy=placed(decomposed.healthy),
        )
        healthy, scan = volume.axial(found.healthy), self.scan.axial()
        for number, image in enumerate(releasing(volume.axial(), volume.array, found.healthy)):
            at = number - self.box[0].start
            measured = np.zeros(image.shape, dtype=bool)
            if 0 <= at < len(scan):
                measured[self.box[1:]] = image[self.box[1:]] == scan[at]
            healthy[number][~measured] = image[~measured]
        return found


def unpadded(volume: Volume, scratch: Scratch, *, whole: bool = False) -> Unpadded:
    """Find the scan in a volume; a note says how much of it is padding.

    Args:
        volume: HU with contiguous axial slices; grey volumes are not changed.
        scratch: holds a new array where padding is left.
        whole: take the volume as it is, because its lungs are known.
    """
    view = volume.axial()
    box = everything = _all_of(view)
    nothing = Unpadded(volume, volume, everything)
    if volume.intensity != "hu" or whole:
        return nothing
    left_out: list[float] = []
    count = 0
    while True:  # one frame around another
        values = _values(view[box])
        smaller = _without_frame(view, box, values, volume)
        if any(not part.stop for part in smaller):  # nothing but padding
            return nothing
        if tissue := [value for value in values if value > BRIGHTEST and _is_tissue(view, box, smaller, value)]:
            values = [value for value in values if value not in tissue]
            smaller = _without_frame(view, box, values, volume)
        if smaller == box:
            break
        if stated := [value for value in values if not DARKEST <= value <= BRIGHTEST]:  # air is no surprise
            left_out += stated
            count += view[box].size - view[smaller].size
        box = smaller
    if box != everything and min(part.stop - part.start for part in box[1:]) < SMALLEST:
        return nothing
    bright = [value for value in values if value > BRIGHTEST]
    scan = _cropped(volume, box) if box != everything else volume
    if bright:
        scan, replaced = _with_air(scan, bright, scratch)
        count += replaced
    if scan is volume:
        return nothing
    said = list(dict.fromkeys(left_out + bright))
    notes = volume.source.notes
    if said and count >= FEWEST * view.size:
        hu = ", ".join(f"{value:g}" for value in said)
        notes += (
            f"{count / view.size:.1%} of its voxels are padding ({hu} HU from the corners of slices on), left out",
        )
    return Unpadded(volume, replace(scan, source=replace(volume.source, notes=notes)), box)


def _all_of(view: Voxels) -> Box:
    slices, rows, columns = (slice(0, size) for size in view.shape)
    return slices, rows, columns


def _values(view: Voxels) -> list[float]:
    """The values of padding, the most common first."""
    found: Counter[float] = Counter()
    highest = float(view.max())
    for image in view:
        for corner in (image, image[::-1], image[:, ::-1], image[::-1, ::-1]):
            value = float(corner[0, 0])
            if BRIGHTEST < value < BONE and value >= highest:
                continue
            if (corner[0, :RUN] == value).all() or (corner[:RUN, 0] == value).all():
                found[value] += 1
    return [value for value, _ in found.most_common(MOST)]


def _framed(view: Voxels, values: list[float]) -> bool:
    """Whether an outermost slice, row or column may be nothing but padding."""
    middle = view[len(view) // 2]
    outermost = (view[0], view[-1], middle[0], middle[-1], middle[:, 0], middle[:, -1])
    return bool(values) and any(np.isin(edge, values).all() for edge in outermost)


def _without_frame(view: Voxels, box: Box, values: list[float], volume: Volume) -> Box:
    """A part of a volume without the outer slices, rows and columns that are only padding or blended with it."""
    part = view[box]
    if not _framed(part, values):
        return box
    kept = [np.zeros(size, dtype=bool) for size in part.shape]
    for number, image in enumerate(releasing(part, volume.array)):
        scan = ~np.isin(image, values)
        kept[0][number] = scan.any()
        kept[1] |= scan.any(axis=1)
        kept[2] |= scan.any(axis=0)
    if not kept[0].any():
        return slice(0, 0), slice(0, 0), slice(0, 0)
    ends = [(int(at[0]), int(at[-1]) + 1) for at in map(np.flatnonzero, kept)]
    inner = part[tuple(slice(start, stop) for start, stop in ends)]
    found = []
    for axis, (start, stop) in enumerate(ends):
        outer, planes = np.moveaxis(part, axis, 0), np.moveaxis(inner, axis, 0)
        before = _blended(planes, float(outer[start - 1].flat[0])) if start > 0 else 0
        after = _blended(planes[::-1], float(outer[stop].flat[0])) if stop < len(outer) else 0
        found.append(slice(box[axis].start + start + before, box[axis].start + stop - after))
    slices, rows, columns = found
    return slices, rows, columns


def _blended(planes: Voxels, value: float) -> int:
    """How many of the first slices, rows or columns resampling has blended with padding of a value."""
    most = min(RIM, len(planes) // 4)
    for count in range(most):
        first, second = (plane.astype(np.float32) - value for plane in planes[count : count + 2])
        clear = np.abs(second) > CONTRAST
        if clear.mean() < FEWEST_CLEAR:
            return count
        low, middle, high = np.quantile(first[clear] / second[clear], (0.25, 0.5, 0.75))
        if not LEAST < middle < MOST_BLENDED or high - low > SPREAD:
            return count
    return most


def _with_air(scan: Volume, values: list[float], scratch: Scratch) -> tuple[Volume, int]:
    """A scan with air where padding is left, and how many voxels that are."""
    view = scan.axial()
    count = sum(int(np.count_nonzero(_opened(_padding(image, values)))) for image in releasing(view, scan.array))
    if count < FEWEST * view.size:
        return scan, 0
    array = scratch.like(scan, scan.array.dtype)
    for image, clean in releasing(zip(view, scan.axial(array), strict=True), scan.array, array):
        clean[...] = np.where(_opened(_padding(image, values)), AIR, image)
    return replace(scan, array=array), count


def _is_tissue(view: Voxels, box: Box, inner: Box, value: float) -> bool:
    """Whether much of the centre of a slice would be padding, among the middle half of the slices of the scan.

    Slices at the ends of a scan that was turned may be padding for the most part, and a slice may lack altogether.

    Args:
        view: the volume.
        box: its part in which padding may begin at a corner of a slice.
        inner: the part without outer slices, rows and columns of padding.
        value: of the padding.
    """
    slices = view[inner[0]]
    edge = len(slices) // 4
    quarters = [int(part.stop - part.start) // 4 for part in inner[1:]]
    centre = tuple(
        slice(part.start + quarter - outer.start, part.stop - quarter - outer.start)
        for part, quarter, outer in zip(inner[1:], quarters, box[1:], strict=True)
    )
    for image in slices[edge : len(slices) - edge]:
        padding = _padding(image[box[1:]], [value])
        if not padding.all() and padding[centre].mean() > CENTRE:
            return True
    return False


def _cropped(volume: Volume, box: Box) -> Volume:
    """A part of a volume, as a view."""
    array = volume.from_axial(volume.axial()[box])
    affine = volume.affine.copy()
    affine[:3, 3] = (volume.axial_affine @ [*(part.start for part in box), 1])[:3]
    part = replace(volume, array=array, affine=affine)
    far = part.axial_affine[:3, 3] - affine[:3, 3]  # axes that the axial view turns around begin at the other end
    affine[:3, 3] -= far
    return replace(part, affine=affine)


def _padding(image: Voxels, values: list[float]) -> Mask:
    """Where a slice, (rows, columns), is padding: connected to a corner through values of padding."""
    regions, _ = ndimage.label(np.isin(image, values))
    corners = {int(regions[row, column]) for row in (0, -1) for column in (0, -1)} - {0}
    inside: Mask = np.isin(regions, list(corners))
    return inside


def _opened(padding: Mask) -> Mask:
    """Padding without the single pixels of the scan that touch it and happen to have its value."""
    opened: Mask = ndimage.binary_opening(np.pad(padding, 2, constant_values=True), np.ones((3, 3)))
    return opened[2:-2, 2:-2]

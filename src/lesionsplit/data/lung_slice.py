"""The lungs of a slice: from a mask file, or all pixels of a lung-masked slice that are not black."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from lesionsplit.data.table import Slice
from lesionsplit.errors import DataError, one_failure
from lesionsplit.images import Grey, Mask, full_scale, read_grey, read_mask_file

BLACK = 8 / 255
"""Grey up to this fraction of full scale is background: JPEG leaves artefacts beside the edge of the lungs."""

LARGEST_FRACTION = 0.7
"""Largest fraction of lung in a frame that is cropped to the lungs; a slice with more is not lung-masked."""

LARGEST_IN_FRAME = 0.4
"""The same for a frame that is not cropped: in covid-cell at most 0.22 is lung, in raw slices at least 0.5 is body."""

FEW, SOME = 4095, 16383
"""Values of 12 and of 14 bits. A slice of 16 bits with almost all values up to the first, or with all of many up to the
second, is on another scale: as lung-masked grey it is nearly black."""

SHIFTED, STEPS, DENSE = (32768 - 1100, 32768 + 1000), 16, 0.05
"""Likewise, a slice with almost all of many values in the first range, which are HU + 32768, if more than so many of
them are different, and more than this fraction of those that the range has. Lungs with little noise may lie there where
HU are spread over all of 16 bits, but a step of 1 HU is 44 values then."""

HANDFUL, MANY = 16, 256
"""Numbers of pixels that are not black. A slice with fewer than the first is not checked. One with fewer than the
second may be near the tip of a lung, where all pixels can be dark or alike."""

CROPPED = 0.8
"""A frame is cropped if the bounding box of pixels that are not black fills at least this fraction of it."""


class LungSlice(NamedTuple):
    """A slice and its lung mask, (rows, columns) both."""

    grey: Grey
    """Black outside the lungs."""

    lungs: Mask


def read_slice(row: Slice) -> LungSlice:
    """A slice of a table with its lungs.

    Raises:
        DataError: the image or its lung mask is unreadable, there is no lung, or the slice has no lung mask and is
            not lung-masked; the message names the row.
    """
    try:
        return read_lung_slice(row.image, row.lungs)
    except Exception as error:
        raise DataError(one_failure(error, row.place)) from None


def read_lung_slice(image: Path, lungs: Path | None = None) -> LungSlice:
    """A slice with its lungs: those of a mask file, otherwise all pixels that are not black.

    Raises:
        DataError: a file is unreadable, the lung mask has another shape or is empty, there is no lung, or the
            slice has no lung mask and is not lung-masked.
    """
    grey = read_grey(image)
    if lungs is None:
        return LungSlice(grey, find_lungs(grey))
    seen = lung_masked(grey, read_lungs(lungs, grey))
    check_range(seen.grey)
    return seen


def read_lungs(path: Path, image: Grey) -> Mask:
    """The lung mask of an image, (rows, columns).

    Raises:
        DataError: the file is unreadable, or the mask has another shape or is empty.
    """
    mask = read_mask_file(path, "lung")
    if mask.shape != image.shape:
        raise DataError(
            f"lungs {path} have {mask.shape[0]} x {mask.shape[1]} pixels and the image {image.shape[0]} x "
            f"{image.shape[1]}; lungs must have the image's shape"
        )
    if not mask.any():
        raise DataError(f"lungs {path} are empty; remove slices without lung")
    return mask


def lung_masked(grey: Grey, lungs: Mask) -> LungSlice:
    """A raw slice with black outside its lungs, (rows, columns) both."""
    masked = grey.copy()
    masked[~lungs] = 0
    return LungSlice(masked, lungs)


def find_lungs(image: Grey) -> Mask:
    """The lungs of a lung-masked slice, (rows, columns); dark holes inside count as lung.

    Raises:
        DataError: all pixels are black, the slice is not lung-masked, or its values use few of 16 bits.
    """
    check_range(image)
    lungs = fill_holes(image > BLACK * full_scale(image))
    fraction = float(np.mean(lungs))
    if fraction == 0:
        raise DataError("no lung: every pixel is black; remove slices without lung")
    _, _, rows, columns = bounding_box(lungs)
    most = LARGEST_FRACTION if rows * columns >= CROPPED * lungs.size else LARGEST_IN_FRAME
    if fraction > most:
        raise DataError(
            f"not lung-masked: {fraction:.0%} of the frame is not black (lungs fill at most {most:.0%}); set "
            "everything outside the lungs to 0, or predict with --intensity 8-bit, or find them: `lesionsplit lungs`"
        )
    return lungs


def check_range(image: Grey) -> None:
    """Check that the grey of a lung-masked slice, (rows, columns), has full scale for white.

    Many programs write HU + 1024, or 10 to 14 bits of the scanner, into files of 16 bits: all of it is nearly black.

    Raises:
        DataError: it has 16 bits, and uses few of them.
    """
    if image.dtype != np.uint16:
        return
    seen = image[image > 0]
    if seen.size < HANDFUL:
        return
    low, high = (float(end) for end in np.percentile(seen, (1, 99)))
    lowest, highest = int(seen.min()), int(seen.max())
    dark = high <= FEW or (highest <= SOME and seen.size >= MANY)
    shifted = seen.size >= MANY and SHIFTED[0] <= low and high <= SHIFTED[1] and _dense(seen, low, high)
    if not dark and not shifted:
        return
    if highest <= SOME:
        low, high = lowest, highest
    top = full_scale(image)
    raise DataError(
        f"16 bit, but its values are from {low:.0f} to {high:.0f}, {max(1, round(100 * (high - low) / top))} % of 0 "
        f"to {top}: perhaps HU + 1024, or grey of 10 to 14 bits; predict a slice of the whole chest with --intensity "
        f"8-bit, which finds its scale; write lung-masked slices over the whole range, {top} x (HU + 1450) / 1500"
    )


def _dense(seen: Grey, low: float, high: float) -> bool:
    """Whether there are many different values in a range."""
    count = len(np.unique(seen[(seen >= low) & (seen <= high)]))
    return count > max(STEPS, DENSE * (high - low))


def bounding_box(mask: Mask) -> tuple[int, int, int, int]:
    """Top, left, rows and columns of the bounding box of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return top, left, int(rows[-1]) - top + 1, int(columns[-1]) - left + 1


def fill_holes(mask: Mask) -> Mask:
    """Add what the mask encloses, (rows, columns).

    Labelling what is outside takes a fifth of `binary_fill_holes`' time.
    """
    regions, count = ndimage.label(~mask)
    outside = np.zeros(count + 1, dtype=bool)
    for edge in (regions[0], regions[-1], regions[:, 0], regions[:, -1]):
        outside[edge] = True
    outside[0] = False  # the mask itself
    filled: Mask = ~outside[regions]
    return filled

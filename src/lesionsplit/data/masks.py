"""Annotators' masks: for evaluation and pictures only, never for training."""

from __future__ import annotations

from lesionsplit.data.table import Slice
from lesionsplit.errors import DataError
from lesionsplit.images import Mask, full_scale, read_grey


def read_mask(row: Slice, annotator: str) -> Mask:
    """What an annotator outlined in a slice, at the mask file's own size.

    Raises:
        DataError: naming the row: the file is unreadable, is not black and white, or outlines
            something in a slice whose label is normal.
    """
    try:
        image = read_grey(row.masks[annotator])
    except DataError as error:
        raise DataError(f"{row.place}: {error}") from None
    half = full_scale(image) // 2
    if 0 < image.max() <= half:  # classes 0, 1, 2 for one: all of them would count as black
        raise DataError(
            f"{row.place}: mask {row.masks[annotator]} has values up to {image.max()}; allowed: 0 for outside and "
            f"{full_scale(image)} for lesion"
        )
    mask: Mask = image > half
    if row.label == "normal" and mask.any():
        raise DataError(f"{row.place}: is labelled normal, but {annotator} outlined something in it; mend one of them")
    return mask

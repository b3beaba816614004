"""Annotators' masks: for evaluation and pictures, and for the training of a supervised upper bound alone."""

from __future__ import annotations

from lesionsplit.data.table import Slice
from lesionsplit.errors import DataError
from lesionsplit.images import Mask, read_mask_file


def read_mask(row: Slice, annotator: str) -> Mask:
    """What an annotator outlined in a slice, at the mask file's own size.

    Raises:
        DataError: naming the row: the file is unreadable, is not black and white, or outlines
            something in a slice whose label is normal.
    """
    try:
        mask = read_mask_file(row.masks[annotator], "lesion")
    except DataError as error:
        raise DataError(f"{row.place}: {error}") from None
    if row.label == "normal" and mask.any():
        raise DataError(f"{row.place}: is labelled normal, but {annotator} outlined something in it; mend one of them")
    return mask

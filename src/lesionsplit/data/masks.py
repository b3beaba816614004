"""Annotators' masks, for evaluation, pictures and the training of a supervised upper bound."""

from __future__ import annotations

from lesionsplit.data.table import Slice
from lesionsplit.errors import DataError
from lesionsplit.images import Mask, read_mask_file


def read_mask(row: Slice, annotator: str) -> Mask:
    """An annotator's mask of a slice, at the size of the mask file.

    Raises:
        DataError: the file is unreadable, is not black and white, or marks a lesion in a slice labelled normal; the
            message names the row.
    """
    try:
        mask = read_mask_file(row.masks[annotator], "lesion")
    except DataError as error:
        raise DataError(f"{row.place}: {error}") from None
    if row.label == "normal" and mask.any():
        raise DataError(
            f"{row.place}: is labelled normal, but the mask of annotator {annotator} is not empty; correct one of them"
        )
    return mask

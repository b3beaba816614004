"""What the images of a data set are: which part of each counts, and whether they are grey or in colour.

Stored with the weights as `region` and `channels`. ``lungs`` is chest CT, with all that `data.lung_slice` checks; the
other two are images of anything. Outside the region an image is black on its canvas; to keep that apart from what is
dark inside, the network grey of the region of other images than lungs begins above -1, at `FLOOR`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import numpy as np

from lesionsplit.data.lung_slice import LungSlice, read_lung_slice
from lesionsplit.data.placement import Placement
from lesionsplit.data.table import Slice
from lesionsplit.errors import DataError, SettingsError, one_failure
from lesionsplit.images import Float, Grey, Mask, is_colour, read_colour, read_mask_file, read_plain_grey
from lesionsplit.scores import CALLED_NORMAL, CALLED_NORMAL_OF_IMAGES
from lesionsplit.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

RegionName: TypeAlias = Literal["lungs", "whole", "mask"]
Channels: TypeAlias = Literal[1, 3]

FLOOR = -0.96
"""Lowest network grey inside the region of images other than lungs; outside it is -1."""

SMALLEST = 16
"""Rows and columns that an image has at least."""

SLIVER = 1e-4
"""Fraction of a pixel inside the region below which its grey is not corrected; it is far outside all the same."""

Values = TypeVar("Values", "Tensor", Float)


class ImageKind(Settings, frozen=True):
    """What the images are; the default is chest CT, lung-masked or with lung masks."""

    region: RegionName = "lungs"
    """``lungs``: of chest CT. ``whole``: all of the image. ``mask``: what a mask of each image says."""

    channels: Channels = 1
    """1: grey. 3: red, green, blue; only where the region is not ``lungs``."""

    @property
    def of_lungs(self) -> bool:
        """Whether the images are chest CT."""
        return self.region == "lungs"

    @property
    def noun(self) -> str:
        """What messages call the region."""
        return {"lungs": "lung", "whole": "image", "mask": "region"}[self.region]

    @property
    def called_normal(self) -> float:
        """The lesion fraction below which an image counts as normal; defects may be small."""
        return CALLED_NORMAL if self.of_lungs else CALLED_NORMAL_OF_IMAGES

    def check(self, rows: Iterable[Slice]) -> None:
        """Check that every row has a mask of its region where it needs one.

        Raises:
            DataError: one has none; the message names it.
        """
        if self.region == "mask" and (without := next((row for row in rows if row.lungs is None), None)):
            raise DataError(f"{without.place}: has no mask of its region; add one, or choose --region whole")

    def read_row(self, row: Slice) -> LungSlice:
        """The image of a row with its region.

        Raises:
            DataError: a file is unreadable or of another kind, or there is no region; the message names the row.
        """
        try:
            return self.read(row.image, row.lungs)
        except Exception as error:
            raise DataError(one_failure(error, row.place)) from None

    def read(self, image: Path, mask: Path | None = None) -> LungSlice:
        """An image file with its region; what is outside of a mask is black.

        Raises:
            DataError: a file is unreadable or of another kind, or there is no region.
        """
        if self.of_lungs:
            return read_lung_slice(image, mask)
        return self.seen(self.pixels(image), None if mask is None else read_region(mask), str(image))

    def pixels(self, path: Path) -> Grey:
        """An image file, (rows, columns), or (rows, columns, 3) in colour.

        Raises:
            DataError: it is unreadable, or in colour where the others are grey, or the other way round.
        """
        if self.channels == 1:
            return read_plain_grey(path)
        return read_colour(path)

    def seen(self, image: Grey, mask: Mask | None, name: str) -> LungSlice:
        """An image of another kind than lungs with its region.

        Raises:
            DataError: the image or its mask is of another shape, or the mask is missing or empty.
        """
        shape = image.shape[:2]
        if image.dtype not in (np.uint8, np.uint16) or image.shape[2:] != ((3,) if self.channels == 3 else ()):
            allowed = "(rows, columns, 3)" if self.channels == 3 else "(rows, columns)"
            raise DataError(f"{name}: is {image.dtype} {image.shape}; allowed: {allowed} of uint8 or uint16")
        if min(shape) < SMALLEST:
            raise DataError(f"{name}: has {shape[0]} x {shape[1]} pixels; allowed: at least {SMALLEST} x {SMALLEST}")
        if self.region == "whole":
            if mask is not None:
                raise DataError(f"{name}: has a mask of its region, but the region is whole; choose --region mask")
            return LungSlice(image, np.ones(shape, dtype=bool))
        if mask is None:
            raise DataError(f"{name}: has no mask of its region; add one, or choose --region whole")
        if mask.shape != shape:
            raise DataError(
                f"{name}: the mask of its region has {mask.shape[0]} x {mask.shape[1]} pixels and the image {shape[0]} "
                f"x {shape[1]}; both must have one shape"
            )
        if not mask.any():
            raise DataError(f"{name}: the mask of its region is empty; leave the image out")
        masked = image.copy()
        masked[~mask] = 0
        return LungSlice(masked, mask)

    def place(self, placement: Placement, grey: Float, region: Mask) -> tuple[Float, Float]:
        """Grey on the canvas, and the fraction of each of its pixels that is inside the region, (H, W).

        A whole image fills the canvas: where its sides differ it goes on as its mirror image, so that it has no rim.
        The grey of pixels on the rim of a mask is that of the part inside. The region of lungs is where they are not
        black.

        Args:
            placement: from the frame to the canvas.
            grey: (rows, columns), or (rows, columns, 3) in colour; black outside the region.
            region: (rows, columns).
        """
        shown = placement.apply(grey, mirrored=self.region == "whole")
        if self.region == "whole":
            return shown, np.ones(placement.canvas, dtype=np.float32)
        if self.of_lungs:
            return shown, shown
        inside = placement.apply(region.astype(np.float32))
        return shown / inside.clip(min=SLIVER), inside

    def without_outside(self, resampled: Float, canvas: Float, placement: Placement) -> Float:
        """Values brought back to the frame, where those of pixels outside a mask, which are 0, are not mixed in.

        Args:
            resampled: (rows, columns).
            canvas: what the network was given, (H, W), or (3, H, W) in colour.
            placement: from the frame to the canvas.
        """
        if self.region != "mask":
            return resampled
        inside = (canvas if canvas.ndim == 2 else canvas.max(axis=0)) > -1
        corrected: Float = resampled / placement.undo(inside.astype(np.float32)).clip(min=SLIVER)
        return corrected

    def on_canvas(self, network_grey: Values, region: Values) -> Values:
        """Network grey with what is outside the region apart from all that is inside.

        Args:
            network_grey: (..., H, W).
            region: of a shape that fits, at least one half inside.
        """
        if self.of_lungs:
            return network_grey
        shown: Values = (network_grey.clip(FLOOR, 1) + 1) * (region >= 0.5) - 1
        return shown


CHEST_CT = ImageKind()


def read_region(path: Path) -> Mask:
    """The mask of a region, (rows, columns).

    Raises:
        DataError: it is unreadable.
    """
    return read_mask_file(path, "inside")


def kind_of_images(region: RegionName, paths: Iterable[Path]) -> ImageKind:
    """The kind of images: grey, or in colour.

    Raises:
        DataError: some are in colour and some are grey, or one is unreadable.
    """
    if region == "lungs":
        return CHEST_CT
    first: dict[bool, Path] = {}
    undecided: list[Path] = []  # grey stored with three channels
    for path in paths:
        colour = is_colour(path)
        if colour is None:
            undecided.append(path)
        else:
            first.setdefault(colour, path)
        if len(first) == 2:
            raise DataError(
                f"{first[True]}: is in colour and {first[False]} grey; give all images in colour, or all grey"
            )
    return ImageKind(region=region, channels=3 if True in first else 1)


def check_region(region: RegionName, framework: str | None) -> None:
    """Refuse a region that a framework has no form of.

    Raises:
        SettingsError: it is so.
    """
    if framework == "mindspore" and region != "lungs":
        raise SettingsError(f"region: is {region}; allowed with mindspore: lungs")

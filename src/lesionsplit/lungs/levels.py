"""What a volume's values are in HU; of grey images on an unknown scale, what they would be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lesionsplit.data.raw import otsu
from lesionsplit.images import Float, Mask
from lesionsplit.volumes.volume import Volume, Voxels

LUNG_HU, TISSUE_HU = -880.0, 40.0
"""Of the darker lung and of soft tissue, on which a grey scale is hung up."""

DARKER_LUNG = 0.3
"""Quantile of the air in a body that is taken for `LUNG_HU`: lungs with disease are brighter in part."""

AROUND = 0.3
"""Share of the frame's edge that air around the body takes up; less is lungs or black corners of a close crop."""

BINS = 256


@dataclass(frozen=True, slots=True)
class Levels:
    """A linear scale: HU = gain * value + offset."""

    gain: float = 1.0
    offset: float = 0.0

    def hu(self, image: Voxels) -> Float:
        """In HU, from -1024 to 300, float32."""
        hu = np.clip(image, -32768, 65535).astype(np.float32) if image.dtype.kind == "f" else image.astype(np.float32)
        if self.gain != 1.0 or self.offset != 0.0:
            hu = hu * np.float32(self.gain) + np.float32(self.offset)
        return np.clip(np.nan_to_num(hu, copy=False, nan=-1024.0), -1024.0, 300.0, out=hu)


def levels_of(volume: Volume, slices: Iterable[Voxels]) -> Levels:
    """The scale of a volume; of a grey one by what some of its axial slices hold."""
    return Levels() if volume.intensity == "hu" else grey_levels(slices)


def grey_levels(slices: Iterable[Voxels]) -> Levels:
    """The scale of grey slices, (rows, columns) each: soft tissue and lung are told apart by Otsu's threshold.

    Black around the body would be a class of its own; it is what is dark and reaches a corner, and left out.
    """
    values = np.concatenate([_inside(image) for image in slices])
    if values.min() == values.max():
        return Levels()
    split = _split(values)
    dark, bright = values[values <= split], values[values > split]
    tissue, lung = float(np.median(bright)), float(np.quantile(dark, DARKER_LUNG))
    gain = (TISSUE_HU - LUNG_HU) / (tissue - lung)
    return Levels(gain, TISSUE_HU - gain * tissue)


def outside_air(dark: Mask) -> Mask:
    """The air around the body, of all that is dark in a slice, (rows, columns): what reaches a corner of the frame.

    None if that takes up little of the frame's edge: lungs reach the corners of a close crop.
    """
    regions, _ = ndimage.label(dark)
    corners = {int(regions[row, column]) for row in (0, -1) for column in (0, -1)} - {0}
    found: Mask = np.isin(regions, list(corners))
    edge = np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
    return found if edge.mean() > AROUND else np.zeros_like(found)


def _inside(image: Voxels) -> Float:
    """Values of a slice's body, some of its pixels; of the whole slice where there is no telling."""
    step = max(1, max(image.shape) // 256)
    values = image[::step, ::step].astype(np.float32)
    if values.min() == values.max():
        return values.ravel()
    body: Float = values[~outside_air(values <= _split(values))]
    return body if body.size else values.ravel()


def _split(values: Float) -> float:
    histogram, edges = np.histogram(values, BINS)
    return float(edges[otsu(histogram) + 1])

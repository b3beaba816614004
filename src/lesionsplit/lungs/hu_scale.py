"""The linear map from a volume's values to HU; for grey images it is estimated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesionsplit.images import Float
from lesionsplit.lungs.morphology import outside_air
from lesionsplit.volumes.volume import Volume, Voxels

LUNG_HU, TISSUE_HU = -880.0, 40.0
"""HU assigned to the darker lung and to soft tissue of a grey image."""

DARKER_LUNG = 0.3
"""Quantile of the air inside the body that is assigned `LUNG_HU`: diseased lung is partly brighter."""

BINS = 256


@dataclass(frozen=True, slots=True)
class HuScale:
    """A linear map: HU = gain * value + offset."""

    gain: float = 1.0
    offset: float = 0.0

    def hu(self, image: Voxels) -> Float:
        """Convert values to HU, clipped to -1024 to 300, float32."""
        hu = np.clip(image, -32768, 65535).astype(np.float32) if image.dtype.kind == "f" else image.astype(np.float32)
        if self.gain != 1.0 or self.offset != 0.0:
            hu = hu * np.float32(self.gain) + np.float32(self.offset)
        return np.clip(np.nan_to_num(hu, copy=False, nan=-1024.0), -1024.0, 300.0, out=hu)


def hu_scale_of(volume: Volume, slices: Iterable[Voxels]) -> HuScale:
    """The scale of a volume; for grey volumes it is estimated from some axial slices."""
    return HuScale() if volume.intensity == "hu" else hu_scale_from_grey(slices)


def hu_scale_from_grey(slices: Iterable[Voxels]) -> HuScale:
    """Estimate the scale of grey slices, (rows, columns) each: Otsu's threshold separates soft tissue and lung.

    Black around the body would be a third class; dark components that contain a corner are left out.
    """
    values = np.concatenate([_body_values(image) for image in slices])
    if values.min() == values.max():
        return HuScale()
    threshold = _otsu_threshold(values)
    dark, bright = values[values <= threshold], values[values > threshold]
    tissue, lung = float(np.median(bright)), float(np.quantile(dark, DARKER_LUNG))
    gain = (TISSUE_HU - LUNG_HU) / (tissue - lung)
    return HuScale(gain, TISSUE_HU - gain * tissue)


def otsu(histogram: npt.NDArray[np.int64]) -> int:
    """The last bin of the darker class by Otsu's method (IEEE Trans. SMC 1979): maximum variance between classes."""
    bins = np.arange(len(histogram))
    below = histogram.cumsum().astype(np.float64)
    moment = (histogram * bins).cumsum().astype(np.float64)
    above = below[-1] - below
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = moment / below - (moment[-1] - moment) / above
        between = np.where((below > 0) & (above > 0), below * above * gap**2, -1)
    return int(between.argmax())


def _body_values(image: Voxels) -> Float:
    """Values of a subset of the body's pixels in a slice; of the whole slice if no body is found."""
    step = max(1, max(image.shape) // 256)
    values = image[::step, ::step].astype(np.float32)
    if values.min() == values.max():
        return values.ravel()
    body: Float = values[~outside_air(values <= _otsu_threshold(values))]
    return body if body.size else values.ravel()


def _otsu_threshold(values: Float) -> float:
    histogram, edges = np.histogram(values, BINS)
    return float(edges[otsu(histogram) + 1])

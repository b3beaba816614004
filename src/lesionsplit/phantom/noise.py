"""Random textures of a given grain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL.Image import Resampling
from scipy import ndimage

from lesionsplit.images import Float, resize


def clouds(rng: np.random.Generator, size: int, grain: float) -> Float:
    """Smooth noise (size, size) of mean 0 and standard deviation about 1; ``grain`` in pixels."""
    cells = max(3, round(size / grain) + 1)
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    smooth = resize(coarse, (size, size), Resampling.BICUBIC)
    smooth /= max(float(smooth.std()), 1e-6)
    return smooth


def grain(rng: np.random.Generator, size: int, sigma: float) -> Float:
    """Fine noise (size, size) of standard deviation 1, blurred by ``sigma`` pixels."""
    noise: Float = ndimage.gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), sigma)
    noise /= noise.std()
    return noise


def ramp(values: npt.NDArray[np.float32], low: float, high: float) -> Float:
    """0 up to ``low``, 1 from ``high``, a smooth step between."""
    share = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    smooth: Float = (share * share * (3 - 2 * share)).astype(np.float32)
    return smooth

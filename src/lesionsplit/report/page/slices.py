"""The single slices of the page: original, healthy version, heat map and outline, as data URIs."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from lesionsplit.images import Float, Mask, as_grey, resize
from lesionsplit.report.html import data_uri
from lesionsplit.report.page.summary import Box, Survey, forget_all
from lesionsplit.report.page.window import Shown
from lesionsplit.tiles import heat_tile
from lesionsplit.volumes.decomposed import TOP, DecomposedVolume

LONGEST = 560
"""Pixels of an image's longer side for slices of any size, so that outlines are thin."""

OUTLINE = (64, 220, 255)
"""A colour that is distinct from grey and from every colour of the heat map."""

MOST_GREY, MOST_HEAT = 70_000, 40_000
"""Limits of bytes per image; noisy images get a lower quality."""

QUALITIES = (90, 80, 60, 40, 20, 8, 3)
"""JPEG qualities, the best first."""

OPAQUE = 0.5
"""Opacity of a score of 1."""

STEPS = (64, 32, 16, 8, 4, 2)
"""Numbers of colours of a heat map, the highest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceImages:
    """One axial slice, cropped to the lungs of the whole volume."""

    number: int
    """Counted from 1 at the feet."""

    position_mm: float
    """Position of the slice's centre along the patient's long axis, towards the head."""

    lesion_percent: float
    """Percentage of the slice's lung that is lesion."""

    peak: float
    """Highest score, 0 to 1."""

    width: int
    height: int

    original: str
    healthy: str
    heat: str
    """Transparent where the score is 0."""

    outline: str
    """Transparent except for the lesion's edge."""


def slice_images(findings: DecomposedVolume, seen: Survey, number: int, shown: Shown) -> SliceImages:
    """Images of one slice of the axial view, counted from 0."""
    volume = findings.volume
    cut = (slice(*seen.box.rows), slice(*seen.box.columns))
    original, healthy, score, lesion = (
        np.asarray(volume.axial(array)[number][cut])
        for array in (volume.array, findings.healthy, findings.score, findings.lesion)
    )
    shape = _image_shape(seen.box, volume.axial_spacing)
    scores = resize(score.astype(np.float32) / np.float32(TOP), shape)
    mask: Mask = resize((lesion > 0).astype(np.float32), shape) >= 0.5
    center = volume.axial_affine @ [number, (volume.axial().shape[1] - 1) / 2, (volume.axial().shape[2] - 1) / 2, 1]
    lung = int(seen.lungs[number])
    images = SliceImages(
        number=number + 1,
        position_mm=float(center[2]),
        lesion_percent=100 * int(seen.lesion[number]) / lung if lung else 0.0,
        peak=float(seen.peak[number]) / TOP,
        width=shape[1],
        height=shape[0],
        original=_grey_uri(shown.share(original), shape),
        healthy=_grey_uri(shown.share(healthy), shape),
        heat=_heat_uri(scores),
        outline=_outline_uri(mask),
    )
    forget_all(findings)
    return images


def _image_shape(box: Box, spacing: tuple[float, float, float]) -> tuple[int, int]:
    """Shape of an image with square pixels, (rows, columns)."""
    height = (box.rows[1] - box.rows[0]) * spacing[1]
    width = (box.columns[1] - box.columns[0]) * spacing[2]
    scale = LONGEST / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _grey_uri(share: Float, shape: tuple[int, int]) -> str:
    image = Image.fromarray(as_grey(resize(share, shape)))
    for quality in QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", quality=quality, optimize=True)
        if buffer.tell() <= MOST_GREY:
            break
    return data_uri(buffer.getvalue(), "jpeg")


def _heat_uri(score: Float) -> str:
    """A heat map to lay over an image, as `tiles.overlay_tile` does: a palette from transparent to opaque."""
    lifted = np.sqrt(np.clip(score, 0, 1))  # so that faint lesions are visible
    for steps in STEPS:
        places = np.linspace(0, 1, steps, dtype=np.float32)
        colours = heat_tile(places[None])[0]
        clear = np.rint(OPAQUE * places * 255).astype(np.uint8).tobytes()
        buffer = _png(np.rint(lifted * (steps - 1)).astype(np.uint8), colours.ravel().tolist(), clear)
        if buffer.tell() <= MOST_HEAT:
            break
    return data_uri(buffer.getvalue(), "png")


def _outline_uri(mask: Mask) -> str:
    """The inner edge of a mask: a palette of transparent and one colour."""
    edge = (mask & ~ndimage.binary_erosion(mask)).astype(np.uint8)
    return data_uri(_png(edge, [0, 0, 0, *OUTLINE], b"\x00\xff").getvalue(), "png")


def _png(places: npt.NDArray[np.uint8], palette: list[int], alpha: bytes) -> io.BytesIO:
    """Indices into a palette, (rows, columns), as a PNG; ``alpha`` of each colour."""
    image = Image.frombytes("P", places.shape[::-1], places.tobytes())
    image.putpalette(palette)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", transparency=alpha)
    return buffer

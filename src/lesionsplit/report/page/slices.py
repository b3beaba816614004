"""The slices that are shown one by one: original, healthy version, heat map and outline, as data URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from lesionsplit.images import Float, Mask, as_grey, resize
from lesionsplit.pictures import heat_tile
from lesionsplit.report.page.survey import Box, Survey, forget_all
from lesionsplit.report.page.window import Shown
from lesionsplit.volumes.findings import TOP, Findings

LONGEST = 560
"""Pixels of a picture's longer side, whatever the slice has: outlines stay fine."""

OUTLINE = (64, 220, 255)
"""Stands out from grey and from every colour of the heat map."""

MOST_GREY, MOST_HEAT = 70_000, 40_000
"""Bytes of a picture, at most: noise is coded more coarsely."""

QUALITIES = (90, 80, 60, 40, 20, 8, 3)
"""Of JPEG, the best first."""

OPAQUE = 0.5
"""How much a score of 1.0 hides of what is below it."""

STEPS = (64, 32, 16, 8, 4, 2)
"""Colours of a heat map, the finest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicePictures:
    """One axial slice, cropped to the lungs of the whole volume."""

    number: int
    """From 1, from the feet up."""

    position_mm: float
    """Of the slice's centre along the patient's long axis, to the head."""

    lesion_percent: float
    """Share of the slice's lung that is lesion."""

    peak: float
    """Highest score, 0 to 1."""

    width: int
    height: int

    original: str
    healthy: str
    heat: str
    """Transparent where the score is 0."""

    outline: str
    """Transparent but for the lesion's edge."""


def slice_pictures(findings: Findings, seen: Survey, number: int, shown: Shown) -> SlicePictures:
    """Pictures of a slice of the axial view, counted from 0."""
    volume = findings.volume
    cut = (slice(*seen.box.rows), slice(*seen.box.columns))
    original, healthy, score, lesion = (
        np.asarray(volume.axial(array)[number][cut])
        for array in (volume.array, findings.healthy, findings.score, findings.lesion)
    )
    shape = _picture_shape(seen.box, volume.axial_spacing)
    scores = resize(score.astype(np.float32) / np.float32(TOP), shape)
    mask: Mask = resize((lesion > 0).astype(np.float32), shape) >= 0.5
    center = volume.axial_affine @ [number, (volume.axial().shape[1] - 1) / 2, (volume.axial().shape[2] - 1) / 2, 1]
    lung = int(seen.lungs[number])
    pictures = SlicePictures(
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
    return pictures


def _picture_shape(box: Box, spacing: tuple[float, float, float]) -> tuple[int, int]:
    """(rows, columns) of square pixels."""
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
    return _uri(buffer, "jpeg")


def _heat_uri(score: Float) -> str:
    """A heat map to lay over a picture, as `pictures.overlay_tile` does: a palette, clear at one end."""
    lifted = np.sqrt(np.clip(score, 0, 1))  # faint lesions are to be seen too
    for steps in STEPS:
        places = np.linspace(0, 1, steps, dtype=np.float32)
        colours = heat_tile(places[None])[0]
        clear = np.rint(OPAQUE * places * 255).astype(np.uint8).tobytes()
        buffer = _png(np.rint(lifted * (steps - 1)).astype(np.uint8), colours.ravel().tolist(), clear)
        if buffer.tell() <= MOST_HEAT:
            break
    return _uri(buffer, "png")


def _outline_uri(mask: Mask) -> str:
    """The inner edge of a mask: a palette of nothing and one colour."""
    edge = (mask & ~ndimage.binary_erosion(mask)).astype(np.uint8)
    return _uri(_png(edge, [0, 0, 0, *OUTLINE], b"\x00\xff"), "png")


def _png(places: npt.NDArray[np.uint8], palette: list[int], alpha: bytes) -> io.BytesIO:
    """Places in a palette, (rows, columns), as a PNG; ``alpha`` of each colour."""
    image = Image.frombytes("P", places.shape[::-1], places.tobytes())
    image.putpalette(palette)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", transparency=alpha)
    return buffer


def _uri(buffer: io.BytesIO, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"

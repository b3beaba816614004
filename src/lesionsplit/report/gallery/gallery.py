"""`images.html`: all images of a folder, sorted by score, as one file that loads nothing from the network.

Each image has its heat map, drawn over it from a floor on that a slider moves, and the outline of its lesion mask.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from lesionsplit.images import Float, Grey, as_grey, resize, shown, write_bytes
from lesionsplit.report.html import data_uri, environment, inlined
from lesionsplit.tiles import HEAT, grey_tile

PACKAGE = "lesionsplit.report.gallery"

MOST, LONGER_SIDE = 300, 256
"""Images on a page, those with the highest scores; pixels of an image's longer side there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictured:
    """One image of the page."""

    name: str
    score: float
    """Of the whole image, 0 to 1."""

    lesion: bool
    """Whether it counts as one with lesion."""

    lesion_fraction: float
    """Fraction of its region that is lesion."""

    picture: str
    heat: str
    """Data URIs: the image, and its score as 8-bit grey of the same size, 255 for 1."""

    shape: tuple[int, int]


def pictured(
    name: str, image: Grey, score: Float, *, slice_score: float, lesion: bool, lesion_fraction: float
) -> Pictured:
    """An image as the page shows it.

    Args:
        name: of its file.
        image: (rows, columns), or (rows, columns, 3).
        score: (rows, columns), 0 to 1.
        slice_score: of the whole image.
        lesion: whether it counts as one with lesion.
        lesion_fraction: of its region.
    """
    scale = min(1.0, LONGER_SIDE / max(score.shape))
    shape = (max(1, round(score.shape[0] * scale)), max(1, round(score.shape[1] * scale)))
    picture = Image.fromarray(grey_tile(shown(image))).resize(shape[::-1], Image.Resampling.BOX)
    return Pictured(
        name=name,
        score=slice_score,
        lesion=lesion,
        lesion_fraction=lesion_fraction,
        picture=data_uri(_file(picture, "JPEG"), "jpeg"),
        heat=data_uri(_file(Image.fromarray(as_grey(resize(score, shape))), "PNG"), "png"),
        shape=shape,
    )


def write_gallery(
    path: Path,
    images: Iterable[Pictured],
    *,
    heading: str,
    threshold: float,
    counts: tuple[int, int],
    table: str,
    provenance: Sequence[tuple[str, str]],
) -> None:
    """Write the page.

    Args:
        path: the file.
        images: those that are shown, in any order; at most `MOST`.
        heading: what they are.
        threshold: the lowest score that counts as lesion; the floor of heat maps at first.
        counts: images with lesion, and without, those that are not shown included.
        table: name of the table beside the page.
        provenance: how the results were made.

    Raises:
        DataError: the file cannot be written.
    """
    ordered = sorted(images, key=lambda one: (-one.score, one.name))
    page = (
        environment(PACKAGE)
        .get_template("gallery.html.j2")
        .render(
            heading=heading,
            images=ordered,
            threshold=threshold,
            with_lesion=counts[0],
            without=counts[1],
            table=table,
            provenance=provenance,
            heat=json.dumps(HEAT),
            style=inlined(PACKAGE, "gallery.css"),
            script=inlined(PACKAGE, "gallery.js"),
        )
    )
    write_bytes(path, page.encode())


def _file(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, quality=85)
    return buffer.getvalue()

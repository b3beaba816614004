"""The parts of a page as plain data, and the page itself."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from lesionsplit.report.comparison.cells import NumberTable
from lesionsplit.report.comparison.slice_tiles import SliceTiles
from lesionsplit.report.html import environment, inlined
from lesionsplit.tiles import Tile

PACKAGE = "lesionsplit.report.comparison"

QUALITY = 88
"""JPEG quality of the page's tiles; the PNG beside the page has them without loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A figure as SVG."""

    wide: bytes
    narrow: bytes | None
    """For a narrow screen; None where the figure is narrow."""

    alternative: str
    """Text for those who cannot see the figure."""

    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a page with its own heading."""

    key: str
    heading: str
    words: Sequence[str] = ()
    gallery: SliceTiles | None = None
    plots: Sequence[Plot] = ()
    tables: Sequence[NumberTable] = ()
    points: Sequence[str] = ()
    absent: Sequence[str] = ()
    """What is missing, and why."""


def render(title: str, sections: Sequence[Section], back: tuple[str, str]) -> bytes:
    """A whole page.

    Args:
        title: its heading.
        sections: in their order.
        back: file and name of the page to which it links.
    """
    page = environment(PACKAGE).get_template("page.html.j2")
    style = inlined(PACKAGE, "page.css")
    return page.render(title=title, sections=sections, back=back, style=style, jpeg=jpeg).encode()


def jpeg(tile: Tile) -> bytes:
    """A tile as a file."""
    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, format="JPEG", quality=QUALITY, subsampling=0, optimize=True)
    return buffer.getvalue()

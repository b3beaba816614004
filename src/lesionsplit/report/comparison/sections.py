"""What a page shows, part by part: sentences, plots, pictures and tables, all plain data."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from lesionsplit.pictures import Tile
from lesionsplit.report.comparison.cells import NumberTable
from lesionsplit.report.comparison.pictures import Column, Pictures

QUALITY = 88
"""Of the page's tiles as JPEG; the PNG beside the page has them whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A figure as data URIs."""

    wide: str
    narrow: str | None
    """For a narrow screen; None where it is narrow."""

    said: str
    """For those who do not see it."""

    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Rows of small pictures as data URIs."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """A row's name, and a picture for each column."""

    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a page, under a heading of its own."""

    key: str
    heading: str
    words: tuple[str, ...] = ()
    gallery: Gallery | None = None
    plots: tuple[Plot, ...] = ()
    tables: tuple[NumberTable, ...] = ()
    points: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    """What is not there, and why."""


def svg_uri(svg: bytes) -> str:
    """A vector figure inside the page."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode('ascii')}"


def gallery(pictures: Pictures, caption: str) -> Gallery:
    """Pictures inside the page."""
    rows = zip(pictures.names, pictures.tiles, strict=True)
    return Gallery(
        columns=pictures.columns,
        rows=tuple((name, tuple(map(_tile_uri, tiles))) for name, tiles in rows),
        caption=caption,
    )


def render(title: str, sections: Sequence[Section], *, back: tuple[str, str] | None = None) -> bytes:
    """A whole page, which asks for nothing else.

    Args:
        title: its heading.
        sections: in their order.
        back: file and name of the page that belongs to it; None: there is none.
    """
    page = _environment().get_template("page.html.j2")
    return page.render(title=title, sections=sections, back=back, style=Markup(_source("page.css"))).encode()  # noqa: S704


def _tile_uri(tile: Tile) -> str:
    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, format="JPEG", quality=QUALITY, subsampling=0, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(_source), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _source(name: str) -> str:
    return (files("lesionsplit.report.comparison") / name).read_text("utf-8")

"""Pages that are one file each and load nothing from the network: templates, inlined files and images."""

from __future__ import annotations

import base64
from functools import cache, partial
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup


@cache
def environment(package: str) -> Environment:
    """The templates of a package; a variable that is missing is an error."""
    loader = FunctionLoader(partial(inlined, package))
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {"capital": capital, "data_uri": data_uri}
    return made


def inlined(package: str, name: str) -> Markup:
    """One of our own styles, scripts or templates, unescaped: it does not contain the end of its element."""
    return Markup((files(package) / name).read_text("utf-8"))  # noqa: S704


def data_uri(content: bytes, kind: str) -> str:
    """An image inside a page; ``kind`` is ``png``, ``jpeg`` or ``svg+xml``."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def capital(words: str) -> str:
    """The words with a capital letter at the start."""
    return words[:1].upper() + words[1:]

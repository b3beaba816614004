"""What a network is not for, from the Markdown card beside its weights (NAME.md)."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

HEADING = "## What it is not for"

UNKNOWN = ("These weights come without a card, so what they are not for is unknown.",)


def limits_of(weights: Path | None) -> tuple[str, ...]:
    """The points under "What it is not for" in the card, as plain sentences; `UNKNOWN` if there are none.

    Args:
        weights: a weights file, by default the one in the package.
    """
    card = files("lesionsplit") / "weights" / "default.md" if weights is None else weights.with_suffix(".md")
    if not card.is_file():
        return UNKNOWN
    section = card.read_text(encoding="utf-8").partition(f"{HEADING}\n")[2].partition("\n## ")[0]
    points = re.split(r"^\* ", section, flags=re.MULTILINE)[1:]
    return tuple(map(_without_markup, points)) or UNKNOWN


def _without_markup(point: str) -> str:
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(point.split()))
    return text.replace("**", "").replace("`", "")

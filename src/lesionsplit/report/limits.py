"""What a network is not for, in its card's words."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

HEADING = "## What it is not for"

UNKNOWN = ("These weights come without a card: nobody has said what they are not for.",)


def limits_of(weights: Path | None) -> tuple[str, ...]:
    """The points under "What it is not for" in the card beside a weights file (NAME.md), as plain sentences."""
    card = files("lesionsplit") / "weights" / "default.md" if weights is None else weights.with_suffix(".md")
    if not card.is_file():
        return UNKNOWN
    _, _, after = card.read_text(encoding="utf-8").partition(HEADING)
    points = re.split(r"^\* ", after.partition("\n## ")[0], flags=re.MULTILINE)[1:]
    return tuple(map(_plain, points)) or UNKNOWN


def _plain(point: str) -> str:
    """Markdown without its marks."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(point.split()))
    return text.replace("**", "").replace("`", "")

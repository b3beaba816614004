"""The table of a campaign in docs/reliability.md."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from .campaign import Tally

BEGIN, END = "<!-- make campaign: begin -->", "<!-- make campaign: end -->"
NODE = ("<!-- node campaign: begin -->", "<!-- node campaign: end -->")

COLUMNS = {
    "survived": ("survived",),
    "refused": ("refused",),
    "traceback": ("traceback",),
    "hang or crash": ("hang", "crash", "memory"),
    "lost": ("lost",),
    "wrong": ("wrong",),
}
"""Of the table, and the fates that each counts."""

TITLES = {
    "readers": "Changed files: read as something valid, or refused with one line",
    "kills": "Commands killed at a point (SIGKILL, SIGTERM), and called again",
    "disks": "Commands whose disk failed at a point or was full, and called again",
}


def markdown(tallies: Sequence[Tally], seconds: float) -> str:
    """The tables of all groups."""
    where = f"{os.cpu_count()} CPU cores, Python {platform.python_version()}, torch {version('torch')}"
    day = datetime.now(timezone.utc).date().isoformat()
    lines = [f"Measured on {day} in {seconds / 60:.0f} minutes: {where}.", ""]
    for group, title in TITLES.items():
        chosen = [one for one in tallies if one.group == group]
        if not chosen:
            continue
        lines += [f"**{title}**", "", f"| kind | tried | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 2) + "|"]
        lines += [_row(one.kind, one.fates) for one in chosen]
        lines += [_row("**all**", sum((one.fates for one in chosen), Counter())), ""]
    return "\n".join(lines)


def _row(kind: str, fates: Counter[str]) -> str:
    cells = [str(sum(fates[fate] for fate in counted)) for counted in COLUMNS.values()]
    return f"| {kind} | {fates.total()} | {' | '.join(cells)} |"


def put_between(page: Path, text: str, marks: tuple[str, str] = (BEGIN, END)) -> None:
    """Replace what stands between two marks of a page.

    Raises:
        ValueError: the page has no marks.
    """
    before, begin, rest = page.read_text().partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise ValueError(f"{page}: has no marks {marks[0]} and {marks[1]}")
    page.write_text(f"{before}{marks[0]}\n{text.rstrip()}\n{marks[1]}{after}")

"""What a source archive needs of the tree."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "tests", "docs", "experiments", "benchmarks")


def test_nothing_is_a_link() -> None:
    """The build follows a link to a folder and leaves out the folder itself: the archive of 0.2.0 had no configs."""
    paths = [*ROOT.iterdir(), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    assert [path.name for path in paths if path.is_symlink() and path.name != ".venv"] == []


def test_the_archive_has_what_its_makefile_needs() -> None:
    (listed,) = re.findall(r"^include = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.M)
    included = set(re.findall(r'"([^"]*)"', listed))
    assert {*FOLDERS, "hatch_build.py", "Makefile", "constraints.txt", "mkdocs.yml"} <= included
    assert all((ROOT / one).exists() for one in included)

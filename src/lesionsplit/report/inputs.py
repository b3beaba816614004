"""Which image files a command is given, and how many of them went which way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lesionsplit.data.table import list_images
from lesionsplit.errors import DataError


@dataclass
class Outcome:
    """How many slices went which way."""

    done: int = 0
    skipped: int = 0
    failed: int = 0

    def __iadd__(self, other: Outcome) -> Outcome:
        """Count others too."""
        self.done += other.done
        self.skipped += other.skipped
        self.failed += other.failed
        return self


def gather(inputs: Sequence[Path], out: Path, written: str) -> list[Path]:
    """The image files that inputs stand for.

    Args:
        inputs: files, and folders of them.
        out: the folder that results go to.
        written: what a result is named after its slice's name, for the message: ``score``.

    Raises:
        DataError: an input does not exist, a folder has no image, two would be written under one name, or
            results would go among the slices.
    """
    paths: list[Path] = []
    for path in inputs:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
        found = list_images(path) if path.is_dir() else [path]
        if not found:
            raise DataError(f"{path}: has no image in it; give a folder of PNG, JPG or TIFF files")
        paths += found
    taken: dict[str, Path] = {}
    for path in dict.fromkeys(paths):
        other = taken.setdefault(path.stem, path)
        if other != path:
            raise DataError(f"{path} and {other} would both be written as {path.stem}_{written}.png; give them apart")
    if out.resolve() in {path.parent.resolve() for path in paths}:
        raise DataError(f"{out}: holds slices that are given; choose another folder for what is found in them")
    return list(taken.values())

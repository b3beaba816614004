"""Which inputs a command is given, which its options apply to, and how many of them went which way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lesionsplit.data.table import list_images
from lesionsplit.errors import DataError, SettingsError, one_failure
from lesionsplit.io.cases import FoundCases
from lesionsplit.io.dicom.recognise import NOT_DICOM
from lesionsplit.pipeline.options import PredictOptions


@dataclass
class Outcome:
    """How many slices went which way."""

    done: int = 0
    skipped: int = 0
    failed: int = 0

    unusable: int = field(default=0, compare=False)
    """How many of the failed ones have no use for an option that was given."""

    def __iadd__(self, other: Outcome) -> Outcome:
        """Count others too."""
        self.done += other.done
        self.skipped += other.skipped
        self.failed += other.failed
        self.unusable += other.unusable
        return self


def usable(found: FoundCases, options: PredictOptions) -> FoundCases:
    """The cases and images that the options apply to; the others are refused before anything is read."""
    kept = replace(found, cases=[], images=[], refused=list(found.refused))
    for case in found.cases:
        try:
            options.check_volume(case.where, no_dicom="" if case.kind == "dicom" else NOT_DICOM)
        except SettingsError as error:  # noqa: PERF203  a line for each input
            kept.refused.append(str(error))
        else:
            kept.cases.append(case)
    if found.images:
        more = f" and {len(found.images) - 1} more" if len(found.images) > 1 else ""
        try:
            options.check_image(f"{found.images[0]}{more}")
        except SettingsError as error:
            kept.refused.append(str(error))
        else:
            kept.images += found.images
    return kept


def gather(
    inputs: Sequence[Path], out: Path, written: str, refuse: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """The image files that inputs stand for.

    Args:
        inputs: files, and folders of them.
        out: the folder that results go to.
        written: what a result is named after its slice's name, for the message: ``score``.
        refuse: receives a line about each input that holds no image.

    Raises:
        DataError: no input holds an image, two would be written under one name, or results would go among the slices.
    """
    paths: list[Path] = []
    refused: list[str] = []
    for path in inputs:
        try:
            paths += _images_of(path)
        except Exception as error:  # noqa: PERF203  a line for each input
            refused.append(one_failure(error, str(path)))
    if not paths:
        raise DataError("; ".join(refused))
    for line in refused:
        refuse(line)
    taken: dict[str, Path] = {}
    for path in dict.fromkeys(paths):
        other = taken.setdefault(path.stem, path)
        if other != path:
            raise DataError(f"{path} and {other} would both be written as {path.stem}_{written}.png; give them apart")
    if out.resolve() in {path.parent.resolve() for path in paths}:
        raise DataError(f"{out}: holds slices that are given; choose another folder for what is found in them")
    return list(taken.values())


def _images_of(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    found = list_images(path) if path.is_dir() else [path]
    if not found:
        raise DataError(f"{path}: has no image in it; give a folder of PNG, JPG or TIFF files")
    return found

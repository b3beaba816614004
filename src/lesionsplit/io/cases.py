"""Find the cases in files, folders and archives."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lesionsplit.errors import DataError, one_failure
from lesionsplit.images import SUFFIXES as IMAGE_SUFFIXES
from lesionsplit.io.archive import FileEntry, entries_of
from lesionsplit.io.case import Case
from lesionsplit.io.contents import Contents, files_below, files_in, grouped, inside, scan
from lesionsplit.io.files import SUFFIXES as VOLUME_SUFFIXES
from lesionsplit.io.files import header_beside, kind_of
from lesionsplit.io.names import safe, stem, unique

if TYPE_CHECKING:
    from lesionsplit.io.heads import Head

__all__ = ["Case", "FoundCases", "find_cases"]

ALLOWED = f"DICOM, {', '.join(VOLUME_SUFFIXES)}, {', '.join(IMAGE_SUFFIXES)}, a folder or a .zip of them"


@dataclass(slots=True)
class FoundCases:
    """The cases and images that inputs hold."""

    cases: list[Case] = field(default_factory=list)

    images: list[Path] = field(default_factory=list)
    """Single slices as image files: PNG, JPG, TIFF."""

    refused: list[str] = field(default_factory=list)
    """A message for each input that is not a case."""


def find_cases(inputs: Sequence[Path], *, recursive: bool) -> FoundCases:
    """Find the cases in files, folders and archives.

    A volume file is a case. Single DICOM files are grouped by series. A folder or a zip archive must hold one
    series or one volume, in its own files or, if it has none, in the folders below; with ``recursive`` every
    series and volume at any depth is a case. Localisers and derived objects (segmentations, reports,
    screenshots) are left out.

    Args:
        inputs: files, folders and archives.
        recursive: read everything below folders.
    """
    found = FoundCases()
    heads: list[Head] = []
    for path in _once(inputs):
        try:
            if path.is_dir():
                _add_folder(found, path, recursive=recursive)
            elif not path.exists():
                raise DataError(f"{path}: no such file or folder")
            elif path.suffix.lower() == ".zip":
                _add_archive(found, path, recursive=recursive)
            else:
                heads += _add_file(found, path)
        except Exception as error:  # noqa: PERF203  one message per input
            found.refused.append(one_failure(error, str(path)))
    try:
        _add_heads(found, heads)
    except Exception as error:
        found.refused.append(one_failure(error, str(heads[0].entry)))
    return found


def _once(inputs: Sequence[Path]) -> list[Path]:
    """Remove duplicates, keeping the first path. `Path.resolve` would fail on a link to itself."""
    first: dict[str, Path] = {}
    for path in inputs:
        first.setdefault(os.path.realpath(path), path)
    return list(first.values())


def _add_file(found: FoundCases, path: Path) -> list[Head]:
    contents = scan([FileEntry(path)])
    if contents.volumes:
        _add_volume(found, contents.volumes[0], path, stem(path.name))
    found.images += [entry.path for entry in contents.images]
    if contents.broken:
        raise DataError(contents.broken[0][1])
    if contents.skipped:
        raise DataError(
            f"{path}: is not a CT slice but: {contents.skipped[0][1]}; give a CT series with one file per slice, or "
            "NIfTI"
        )
    if not contents:
        if header := header_beside(path):
            raise DataError(f"{path}: holds the voxels of {header.name}; give that file")
        raise DataError(f"{path}: is not a volume or a slice; allowed: {ALLOWED}")
    return [head for heads in contents.series.values() for head in heads]


def _add_heads(found: FoundCases, heads: Sequence[Head]) -> None:
    """Add single DICOM files, grouped by series."""
    contents = Contents(series=grouped(heads))
    for series in contents.series.values():
        first = series[0].entry
        if len(series) == 1:
            _add_series(found, series, first.path, stem(first.name), str(first), contents)
        else:
            folder = first.folder
            _add_series(found, series, folder, _folder_name(folder), f"{folder} ({len(series)} files)", contents)


def _add_folder(found: FoundCases, folder: Path, *, recursive: bool) -> None:
    contents = scan(files_below(folder, found.refused.append) if recursive else files_in(folder))
    if not contents and not recursive:
        contents = scan(files_below(folder))
    _add_contents(found, contents, folder, _folder_name(folder), recursive=recursive)
    if recursive:
        for archive in contents.archives:
            try:
                _add_archive(found, archive.path, recursive=True)
            except Exception as error:  # noqa: PERF203
                found.refused.append(one_failure(error, str(archive.path)))


def _add_archive(found: FoundCases, path: Path, *, recursive: bool) -> None:
    _add_contents(found, scan(entries_of(path)), path, stem(path.name), recursive=recursive)


def _add_contents(found: FoundCases, contents: Contents, path: Path, name: str, *, recursive: bool) -> None:
    """Add the cases of a folder or an archive with the name ``name``."""
    count = len(contents.series) + len(contents.volumes)
    if not count:
        _add_images(found, contents, path, recursive=recursive)
        return
    places = {key: inside([head.entry.folder for head in heads], path) for key, heads in contents.series.items()}
    counts = Counter(places.values())
    if count > 1 and not recursive:
        beside = path.is_dir() and max(counts.values(), default=0) > 1  # no folder holds one of them alone
        give = "give the files of one of them" if beside else "give one of them"
        raise DataError(f"{path}: holds {contents.listing()}; {give}, or use --recursive to read each as a case")
    for key, heads in contents.series.items():
        given = path if path.is_file() else path / (places[key] if recursive else "")
        parts = [name, *(places[key].parts if recursive else ())]
        where = str(given)
        if counts[places[key]] > 1:  # the folder's name would not be unique
            title = "-".join(filter(None, (heads[0].number, heads[0].description)))
            parts.append(stem(heads[0].entry.name) if len(heads) == 1 else title)
            where = str(heads[0].entry) if len(heads) == 1 else f"{given}, series {contents.title(heads)}"
        _add_series(found, heads, given, "-".join(parts), where, contents)
    for entry in contents.volumes:
        below = inside([entry.folder], path).parts
        label = () if entry.member and count == 1 else (stem(entry.name),)
        _add_volume(found, entry, path if entry.member else entry.path, "-".join((name, *below, *label)))
    own = {head.entry.folder for heads in contents.series.values() for head in heads}
    found.refused += contents.lost(own)
    if recursive:
        taken = {entry.folder for entry in contents.volumes}
        taken |= own
        found.images += [entry.path for entry in contents.images if not entry.member and entry.folder not in taken]


def _add_images(found: FoundCases, contents: Contents, path: Path, *, recursive: bool) -> None:
    """Add the images of a folder without volumes, or messages about what it holds."""
    if contents.broken and not recursive and not contents.images:
        raise DataError(contents.broken[0][1])
    lost = contents.lost(())
    found.refused += lost
    if contents.images and not path.is_file():
        found.images += [entry.path for entry in contents.images]
    elif contents.images:
        raise DataError(f"{path}: holds images, which are not read from archives; unpack it")
    elif lost or (recursive and contents.archives and not path.is_file()):
        return  # reported already, or the archives follow
    elif left := contents.left_out():
        raise DataError(f"{path}: holds no CT slices but: {left}; give a CT series with one file per slice, or NIfTI")
    elif contents.archives and path.is_file():
        raise DataError(f"{path}: holds an archive, which is not read from archives; unpack it")
    elif contents.archives and not recursive:
        raise DataError(f"{path}: holds {len(contents.archives)} archives; give one of them, or use --recursive")
    else:
        raise DataError(f"{path}: holds nothing readable; allowed: {ALLOWED}")


def _add_series(
    found: FoundCases, heads: Sequence[Head], path: Path, name: str, where: str, contents: Contents
) -> None:
    folders = {head.entry.folder for head in heads}
    left = contents.left_out(folders)
    case = Case(
        kind="dicom",
        path=path,
        name=unique(safe(name), [case.name for case in found.cases]),
        entries=tuple(head.entry for head in heads),
        where=where,
        broken=tuple(line for folder, line in contents.broken if folder in folders),
        notes=(f"left out beside it: {left}",) if left else (),
    )
    found.cases.append(case)


def _add_volume(found: FoundCases, entry: FileEntry, path: Path, name: str) -> None:
    name = unique(safe(name), [case.name for case in found.cases])
    found.cases.append(Case(kind=kind_of(entry.name), path=path, name=name, entries=(entry,), where=str(entry)))


def _folder_name(folder: Path) -> str:
    return folder.resolve().name

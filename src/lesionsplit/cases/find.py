"""The cases in what a user gives: files, folders, archives."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lesionsplit.cases.case import Case
from lesionsplit.cases.names import safe, stem, unique
from lesionsplit.cases.scan import Contents, Head, files_below, files_in, inside, scan
from lesionsplit.errors import DataError
from lesionsplit.images import SUFFIXES as IMAGE_SUFFIXES
from lesionsplit.volumes.archive import Entry, entries_of
from lesionsplit.volumes.files import SUFFIXES as VOLUME_SUFFIXES
from lesionsplit.volumes.files import kind_of

__all__ = ["Case", "Found", "find_cases"]

ALLOWED = f"DICOM, {', '.join(VOLUME_SUFFIXES)}, {', '.join(IMAGE_SUFFIXES)}, a folder or a .zip of them"


@dataclass(slots=True)
class Found:
    """What inputs hold."""

    cases: list[Case] = field(default_factory=list)

    images: list[Path] = field(default_factory=list)
    """Single slices as pictures: PNG, JPG, TIFF."""

    refused: list[str] = field(default_factory=list)
    """A line for each input that is not a case."""


def find_cases(inputs: Sequence[Path], *, recursive: bool) -> Found:
    """Find the cases in files, folders and archives.

    A file of a volume is a case. DICOM files that are given one by one are cases by series. A folder, or a
    zip archive, is one series or one volume: in its own files or, where it has none, in those of the folders
    below; with several it is refused, unless ``recursive``, which takes all there is, at any depth.
    Localisers and objects made of CT (segmentations, reports, screenshots) are left out.

    Args:
        inputs: what the user gives, in that order.
        recursive: take everything below folders.
    """
    found = Found()
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
        except DataError as error:  # noqa: PERF203  of each input, what is wrong with it
            found.refused.append(str(error))
    _add_heads(found, heads)
    return found


def _once(inputs: Sequence[Path]) -> list[Path]:
    """Each file and folder as it is given first. Not by `Path.resolve`, which fails on a link to itself."""
    first: dict[str, Path] = {}
    for path in inputs:
        first.setdefault(os.path.realpath(path), path)
    return list(first.values())


def _add_file(found: Found, path: Path) -> list[Head]:
    contents = scan([Entry(path)])
    if contents.volumes:
        _add_volume(found, contents.volumes[0], path, stem(path.name))
    found.images += [entry.path for entry in contents.images]
    if contents.broken:
        raise DataError(contents.broken[0][1])
    if contents.skipped:
        raise DataError(
            f"{path}: is not a slice of a CT but: {contents.skipped[0][1]}; give a CT series with a file a slice, or "
            "NIfTI"
        )
    if not contents:
        raise DataError(f"{path}: is neither a volume nor a slice; allowed: {ALLOWED}")
    return [head for heads in contents.series.values() for head in heads]


def _add_heads(found: Found, heads: Sequence[Head]) -> None:
    """DICOM files that were given one by one: those of a series belong together."""
    contents = Contents()
    for head in heads:
        contents.series.setdefault(head.series, []).append(head)
    for series in contents.series.values():
        first = series[0].entry
        if len(series) == 1:
            _add_series(found, series, first.path, stem(first.name), str(first), contents)
        else:
            folder = first.folder
            _add_series(found, series, folder, _folder_name(folder), f"{folder} ({len(series)} files)", contents)


def _add_folder(found: Found, folder: Path, *, recursive: bool) -> None:
    contents = scan(files_below(folder) if recursive else files_in(folder))
    if not contents and not recursive:
        contents = scan(files_below(folder))
    _add_contents(found, contents, folder, _folder_name(folder), recursive=recursive)
    if recursive:
        for archive in contents.archives:
            try:
                _add_archive(found, archive.path, recursive=True)
            except DataError as error:  # noqa: PERF203
                found.refused.append(str(error))


def _add_archive(found: Found, path: Path, *, recursive: bool) -> None:
    _add_contents(found, scan(entries_of(path)), path, stem(path.name), recursive=recursive)


def _add_contents(found: Found, contents: Contents, path: Path, name: str, *, recursive: bool) -> None:
    """The cases of a folder or an archive that is called ``name``."""
    count = len(contents.series) + len(contents.volumes)
    if not count:
        _add_images(found, contents, path, recursive=recursive)
        return
    if count > 1 and not recursive:
        raise DataError(
            f"{path}: holds {contents.listing()}; give one of them alone, or --recursive takes each as a case"
        )
    places = {key: inside([head.entry.folder for head in heads], path) for key, heads in contents.series.items()}
    for key, heads in contents.series.items():
        given = path if path.is_file() else path / (places[key] if recursive else "")
        parts = [name, *(places[key].parts if recursive else ())]
        where = str(given)
        if list(places.values()).count(places[key]) > 1:  # then the folder's name does not tell them apart
            said = "-".join(filter(None, (heads[0].number, heads[0].description)))
            parts.append(stem(heads[0].entry.name) if len(heads) == 1 else said)
            where = str(heads[0].entry) if len(heads) == 1 else f"{given}, series {heads[0]}"
        _add_series(found, heads, given, "-".join(parts), where, contents)
    for entry in contents.volumes:
        below = inside([entry.folder], path).parts
        label = () if entry.member and count == 1 else (stem(entry.name),)
        _add_volume(found, entry, path if entry.member else entry.path, "-".join((name, *below, *label)))
    if recursive:
        own = {head.entry.folder for heads in contents.series.values() for head in heads}
        found.refused += contents.lost(own)
        taken = {entry.folder for entry in contents.volumes}
        taken |= {head.entry.folder for heads in contents.series.values() for head in heads}
        found.images += [entry.path for entry in contents.images if not entry.member and entry.folder not in taken]


def _add_images(found: Found, contents: Contents, path: Path, *, recursive: bool) -> None:
    """Of a folder without volumes: its pictures; or a line that says what it has instead, if recursive several."""
    if contents.broken and not recursive:
        raise DataError(contents.broken[0][1])
    lost = contents.lost(()) if recursive else []
    found.refused += lost
    if contents.images and not path.is_file():
        found.images += [entry.path for entry in contents.images]
    elif contents.images:
        raise DataError(f"{path}: holds pictures, which are not read from an archive; unpack it")
    elif lost or (recursive and contents.archives and not path.is_file()):
        return  # all is said, or is to come from the archives
    elif left := contents.left_out():
        raise DataError(f"{path}: holds no CT slices, but: {left}; give a CT series with a file a slice, or NIfTI")
    elif contents.archives and not recursive:
        raise DataError(f"{path}: holds {len(contents.archives)} archives; give them, or --recursive takes each")
    else:
        raise DataError(f"{path}: holds nothing that can be read; allowed: {ALLOWED}")


def _add_series(found: Found, heads: Sequence[Head], path: Path, name: str, where: str, contents: Contents) -> None:
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


def _add_volume(found: Found, entry: Entry, path: Path, name: str) -> None:
    name = unique(safe(name), [case.name for case in found.cases])
    found.cases.append(Case(kind=kind_of(entry.name), path=path, name=name, entries=(entry,), where=str(entry)))


def _folder_name(folder: Path) -> str:
    return folder.resolve().name

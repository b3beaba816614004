"""The folder of a case: it gets all of its files or none, and its manifest lists them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from lesionsplit.atomic import beside, locked
from lesionsplit.disk import sync, sync_all
from lesionsplit.errors import DataError
from lesionsplit.pipeline.case_table import has_numbers

MANIFEST = "manifest.json"
"""Written last: a folder is complete if it has one that is not unfinished."""


class DamagedManifestError(DataError):
    """A manifest that cannot be read. It concerns one case, and no other."""


class Input(msgspec.Struct, frozen=True):
    """The part of a manifest that identifies the files of a case."""

    fingerprint: str = ""
    """See `fingerprint`."""

    state: str = ""
    """See `state`."""

    sha256: str = ""
    """See `content`; empty if the files were changed while they were read."""

    label_maps: str = msgspec.field(name="label maps", default="")
    """`content` of the user's label maps."""

    path: str = ""
    """Empty if the case is de-identified."""


class Manifest(msgspec.Struct, frozen=True):
    """The fields of a manifest that are read back; the others are for people."""

    settings: dict[str, Any]
    input: Input
    files: list[str] = []
    row: dict[str, str] = {}
    unfinished: bool = False
    """Whether a process was killed while it moved the files: nothing whole is there."""

    @property
    def masked(self) -> bool:
        """Whether the case is de-identified."""
        return bool(self.settings.get("deidentify"))


@contextmanager
def whole_or_not(folder: Path, check: Callable[[], None]) -> Iterator[Path]:
    """Write to a hidden folder, then move its files to ``folder``, the manifest last.

    After an error ``folder`` stays as it was. Other files in it, such as corrected masks, are never touched.

    Args:
        folder: the place of the files.
        check: called before anything is moved, when no other process can move files.

    Raises:
        DataError: a file cannot be written.
    """
    with beside(folder) as temporary:
        temporary.mkdir()
        yield temporary
        sync_all(temporary)  # a manifest must not survive a power failure that its files do not
        with locked(folder.parent):
            check()
            folder.mkdir(parents=True, exist_ok=True)
            _take_away(folder, temporary)
            for file in sorted(temporary.iterdir(), key=lambda file: file.name == MANIFEST):
                file.replace(folder / file.name)
            sync(folder)


def _take_away(folder: Path, temporary: Path) -> None:
    """Remove the files that the manifest of an earlier call lists.

    Until the new manifest replaces it, the manifest lists the files of both calls as unfinished: if this process is
    killed, a later call with other settings or other kinds of files takes all of them away.
    """
    try:
        before = read_manifest(folder / MANIFEST)
    except DamagedManifestError:
        before = None
    files = {*(before.files if before is not None else ()), *(file.name for file in temporary.iterdir())} - {MANIFEST}
    begun = temporary / f"{MANIFEST}.begun"
    whole = json.loads((temporary / MANIFEST).read_bytes())
    begun.write_text(json.dumps(whole | {"unfinished": True, "files": sorted(files)}))
    sync(begun)
    begun.replace(folder / MANIFEST)
    for name in files:
        if os.path.isfile(folder / name):  # noqa: PTH113 - `Path.is_file` raises for a name that is too long
            (folder / name).unlink(missing_ok=True)


def _plain(name: str) -> bool:
    """Whether a name is that of a file in the folder itself."""
    return Path(name).name == name and name not in {"", ".."}


def read_manifest(path: Path) -> Manifest | None:
    """A manifest, if there is one.

    Raises:
        DamagedManifestError: the file is damaged, or not a manifest of lesionsplit.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
        if has_numbers(found.row) and all(map(_plain, found.files)):
            return found
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError):
        pass
    raise DamagedManifestError(
        f"{path}: is damaged, or not a manifest of lesionsplit; choose another folder, or --overwrite"
    )

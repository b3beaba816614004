"""An open volume file: its header, and a function that reads its slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lesionsplit.csvtext import printable
from lesionsplit.errors import DataError
from lesionsplit.volumes.filling import Filling
from lesionsplit.volumes.grid import check_affine, check_extent, times
from lesionsplit.volumes.intensity import DEFAULT, ReadOptions
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Affine, Kind, Source, Volume, Voxels

DEFLATE = 1032
"""Maximum compression ratio of deflate."""


def check_bytes(path: Path, shape: tuple[int, ...], needed: int, *, compressed: bool) -> None:
    """Check that a file can hold the voxels that its header declares, before memory is allocated for them.

    Raises:
        DataError: the file is too small.
    """
    found = path.stat().st_size
    if needed > found * (DEFLATE if compressed else 1):
        raise DataError(
            f"{path}: its header declares {times(shape)} voxels, {needed} bytes, but the file has {found}; is it "
            "complete?"
        )


def check_beside(header: Path, voxels: Path) -> None:
    """Check that the file of the voxels is beside its header: a header must not make any other file readable.

    Raises:
        DataError: it does not exist, is the header itself, or a link that leads away.
    """
    if not voxels.is_file():
        raise DataError(f"{header}: its voxels should be in {printable(voxels.name)}, which does not exist")
    folders = {header.parent.resolve(), header.resolve().parent}
    if voxels.resolve().parent not in folders or voxels.resolve() == header.resolve():
        name = printable(voxels.name)
        raise DataError(f"{header}: its voxels should be in {name}, a link to another folder; copy the file itself")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A volume whose slices have not been read yet."""

    kind: Kind
    path: Path
    shape: tuple[int, int, int]
    affine: Affine
    """To RAS+ millimetres."""

    read: Callable[[int], Voxels]
    """Slice k, (I, J), any real type, in the file's units; slices are read in order. Raises DataError."""

    notes: tuple[str, ...] = ()

    doubts: tuple[str, ...] = ()
    """What had to be guessed or repaired and changes measures: refused, or with ``force`` notes."""

    def volume(
        self, scratch: Scratch, *, name: str, given: Path | None = None, options: ReadOptions = DEFAULT
    ) -> Volume:
        """Read all slices into a volume.

        Args:
            scratch: holds the array.
            name: of the case.
            given: the path that the user gave, if it is not the file itself.
            options: how the values are read.

        Raises:
            DataError: the file is broken, its grid cannot be used, or its values do not fit the options.
        """
        where = str(given or self.path)
        if self.doubts and not options.force:
            raise DataError(f"{where}: {self.doubts[0]}; correct the header, or use --force to continue")
        check_affine(self.affine, where, force=options.force)
        check_extent(self.affine, self.shape, where, force=options.force)
        filling = Filling(scratch, self.shape)
        for k in range(self.shape[2]):
            filling.put(k, self.read(k))
        array, intensity, notes = filling.finish(options, where)
        source = Source(kind=self.kind, path=given or self.path, name=name, notes=self.notes + self.doubts + notes)
        return Volume(array=array, affine=self.affine, intensity=intensity, source=source)

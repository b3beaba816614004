"""A volume file that is open: what its header says, and how its slices are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lesionsplit.volumes.filling import Filling
from lesionsplit.volumes.grid import check_affine
from lesionsplit.volumes.intensity import AIR, Wanted
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import Affine, Kind, Source, Volume, Voxels


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Slices that are still in their file."""

    kind: Kind
    path: Path
    shape: tuple[int, int, int]
    affine: Affine
    """To RAS+ millimetres."""

    read: Callable[[int], Voxels]
    """Slice k, (I, J), any real type, in the file's units; slices are read in order. Raises DataError."""

    notes: tuple[str, ...] = ()

    def volume(
        self, scratch: Scratch, *, name: str, given: Path | None = None, intensity: Wanted = "auto", force: bool = False
    ) -> Volume:
        """Read all slices into a volume.

        Args:
            scratch: where the array is kept.
            name: names the case.
            given: what the user gave, where it is not the file itself.
            intensity: what the values are.
            force: go on where that makes sense.

        Raises:
            DataError: the file is broken, its grid cannot be used, or its values are not what they should be.
        """
        where = str(given or self.path)
        check_affine(self.affine, where, force=force)
        filling = Filling(scratch, self.shape, floor=None if intensity == "grey" else AIR)
        for k in range(self.shape[2]):
            filling.put(k, self.read(k))
        array, meant, odd = filling.finish(intensity, where, force=force)
        source = Source(kind=self.kind, path=given or self.path, name=name, notes=self.notes + odd)
        return Volume(array=array, affine=self.affine, intensity=meant, source=source)

"""A CT volume: voxels, where they are in the patient, and what their values mean.

Here, and only here, the conventions meet. World coordinates are millimetres in RAS+ (x grows to the
patient's right, y to the front, z to the head), as nibabel has them; DICOM and ITK count in LPS+ and
are turned on reading and writing by `LPS_TO_RAS`.
No axis is ever guessed from a shape: which one runs from foot to head follows from the affine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

if TYPE_CHECKING:
    from pydicom import Dataset

Voxels: TypeAlias = npt.NDArray[Any]
"""(I, J, K), in the order of the file's own indices; may lie on disk (`volumes.scratch`)."""

Affine: TypeAlias = npt.NDArray[np.float64]
"""(4, 4): voxel indices (i, j, k, 1) to millimetres (x, y, z, 1) of the voxel's centre."""

Intensity: TypeAlias = Literal["hu", "grey"]
"""``hu``: Hounsfield units. ``grey``: brightness on an unknown scale, of which only the order means something."""

Kind: TypeAlias = Literal["nifti", "nrrd", "metaimage", "dicom", "image"]

LPS_TO_RAS: Affine = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Its own inverse. An affine of LPS+ millimetres becomes one of RAS+ by multiplication from the left."""

AXIAL = ("S", "P", "L")
"""Of the axial view: slices go up, rows to the back, columns to the patient's left, as radiologists look at them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a volume comes from."""

    kind: Kind
    path: Path
    """What was given: a file, a folder or a zip."""

    name: str
    """Names the case in tables and folders."""

    instances: tuple[Dataset, ...] = ()
    """DICOM only: the headers of the slices, without pixels, in the order of the volume's last axis."""

    notes: tuple[str, ...] = ()
    """What was odd about the files and was put up with: slices missing, duplicates left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """Voxels with their place in the patient."""

    array: Voxels
    """(I, J, K). Hounsfield units as int16, or float32 where the file has fractions; or grey."""

    affine: Affine
    intensity: Intensity
    source: Source

    _to_axial: npt.NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Work out which axes are rows, columns and slices."""
        orientation = ornt_transform(io_orientation(self.affine), axcodes2ornt(AXIAL))
        object.__setattr__(self, "_to_axial", orientation)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along i, j and k."""
        i, j, k = self.array.shape
        return i, j, k

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres from a voxel to the next along i, j and k."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def voxel_ml(self) -> float:
        """Millilitres of a voxel; right for sheared grids too."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def axial(self, array: Voxels | None = None) -> Voxels:
        """The volume, or another array on its grid, as axial slices: (slices, rows, columns), see `AXIAL`.

        A view, whatever the order and direction of the file's axes: what is written to it is written to
        the array, so that results lie on the input's grid without ever being turned back. Of an
        oblique volume, slices are those of its own axis nearest to the patient's long axis.
        """
        view: Voxels = apply_orientation(self.array if array is None else array, self._to_axial)
        return view

    def from_axial(self, slices: Voxels) -> Voxels:
        """The way back: axial slices, (slices, rows, columns), as an array on the volume's grid; a view, too."""
        back = ornt_transform(axcodes2ornt(AXIAL), io_orientation(self.affine))
        array: Voxels = apply_orientation(slices, back)
        return array

    @property
    def axial_spacing(self) -> tuple[float, float, float]:
        """Millimetres between slices, rows and columns of the axial view."""
        spacing: list[float] = [0.0, 0.0, 0.0]
        for axis, (position, _) in zip(self.spacing, self._to_axial, strict=True):
            spacing[int(position)] = axis
        slices, rows, columns = spacing
        return slices, rows, columns

    @property
    def axial_affine(self) -> Affine:
        """(4, 4): indices (slice, row, column, 1) of the axial view to millimetres in RAS+."""
        affine = np.zeros((4, 4))
        affine[:, 3] = self.affine[:, 3]
        for axis, (position, direction) in enumerate(self._to_axial):
            affine[:, int(position)] = self.affine[:, axis] * direction
            if direction < 0:
                affine[:, 3] += self.affine[:, axis] * (self.shape[axis] - 1)
        return affine

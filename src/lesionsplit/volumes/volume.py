"""A CT volume: voxels, their positions in the patient, and the meaning of their values.

World coordinates are millimetres in RAS+ (x increases to the patient's right, y to the front, z to the head), as in
nibabel; LPS+ of DICOM and ITK is converted by `LPS_TO_RAS` on reading and writing. The affine determines which axis
runs from foot to head; no axis is guessed from a shape.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pydicom import Dataset

Voxels: TypeAlias = npt.NDArray[Any]
"""(I, J, K), in the file's order of axes; may lie on disk (`volumes.scratch`)."""

Affine: TypeAlias = npt.NDArray[np.float64]
"""(4, 4): maps voxel indices (i, j, k, 1) to millimetres (x, y, z, 1) of the voxel's centre."""

Intensity: TypeAlias = Literal["hu", "grey"]
"""``hu``: Hounsfield units. ``grey``: brightness on an unknown scale."""

Kind: TypeAlias = Literal["nifti", "nrrd", "metaimage", "dicom", "image", "array"]

LPS_TO_RAS: Affine = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Multiplied from the left, converts an affine from LPS+ to RAS+; it is its own inverse."""

AIR = -1024
"""HU of air: lower values, such as the padding outside the scanner's circle, mean air too."""

AXIAL = ("S", "P", "L")
"""The axial view: slices go up, rows to the back, columns to the patient's left, the radiological convention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The origin of a volume."""

    kind: Kind
    path: Path
    """The file, folder or zip archive that the user gave."""

    name: str
    """The name of the case in tables and folders."""

    instances: tuple[Dataset, ...] = ()
    """DICOM only: the headers of the slices, without pixels, in the order of the volume's last axis."""

    notes: tuple[str, ...] = ()
    """Accepted inconsistencies of the files, such as missing or duplicate slices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """Voxels with their positions in the patient."""

    array: Voxels
    """(I, J, K), as in the file. Hounsfield units as int16, or float32 if int16 cannot hold them; or grey."""

    affine: Affine
    intensity: Intensity
    source: Source

    _to_axial: npt.NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Determine which axes are rows, columns and slices."""
        from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform  # images need none of nibabel

        orientation = ornt_transform(io_orientation(self.affine), axcodes2ornt(AXIAL))
        object.__setattr__(self, "_to_axial", orientation)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along i, j and k."""
        i, j, k = self.array.shape
        return i, j, k

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel spacing in millimetres along i, j and k."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    def seen(self, values: Voxels) -> Voxels:
        """Some of its values as the algorithms see them: nothing in HU is darker than air."""
        return np.maximum(values, AIR) if self.intensity == "hu" else values

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres, also for sheared grids."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def axial(self, array: Voxels | None = None) -> Voxels:
        """The volume, or another array on its grid, as axial slices: (slices, rows, columns), see `AXIAL`.

        It is a view for any order and direction of the file's axes: writing to it writes to the array, so
        results are on the input's grid. In an oblique volume, slices are along the axis nearest to the
        patient's long axis.
        """
        from nibabel.orientations import apply_orientation

        view: Voxels = apply_orientation(self.array if array is None else array, self._to_axial)
        return view

    def from_axial(self, slices: Voxels) -> Voxels:
        """The inverse of `axial`: axial slices, (slices, rows, columns), as a view on the volume's grid."""
        from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

        back = ornt_transform(axcodes2ornt(AXIAL), io_orientation(self.affine))
        array: Voxels = apply_orientation(slices, back)
        return array

    @property
    def axial_spacing(self) -> tuple[float, float, float]:
        """Spacing in millimetres of slices, rows and columns of the axial view."""
        spacing: list[float] = [0.0, 0.0, 0.0]
        for axis, (position, _) in zip(self.spacing, self._to_axial, strict=True):
            spacing[int(position)] = axis
        slices, rows, columns = spacing
        return slices, rows, columns

    @property
    def axial_affine(self) -> Affine:
        """(4, 4): maps indices (slice, row, column, 1) of the axial view to millimetres in RAS+."""
        affine = np.zeros((4, 4))
        affine[:, 3] = self.affine[:, 3]
        for axis, (position, direction) in enumerate(self._to_axial):
            affine[:, int(position)] = self.affine[:, axis] * direction
            if direction < 0:
                affine[:, 3] += self.affine[:, axis] * (self.shape[axis] - 1)
        return affine

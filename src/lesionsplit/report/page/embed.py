"""The volume and its heat map for the page's viewer: cropped, resampled, 8 bit, as base64 of NIfTI files."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip

from lesionsplit.images import as_grey, resize
from lesionsplit.report.page.summary import FORGET_EVERY, Box, forget_all
from lesionsplit.report.page.window import KEPT, Shown, window_of
from lesionsplit.volumes.decomposed import TOP, DecomposedVolume
from lesionsplit.volumes.volume import Affine

MOST_BYTES = 6_000_000
"""Limit of base64 text, for both volumes together."""

SIZES = ((256, 160), (224, 160), (192, 128), (160, 96), (128, 64), (96, 48))
"""Limits of (pixels along the longer side, slices); the first that keeps within `MOST_BYTES` is used."""

SLACK = 1.15
"""Factor of sizes above the estimate that are tried: coarser volumes have less noise and need fewer bytes per voxel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Two volumes on one grid."""

    ct: str
    """Base64 of a gzipped NIfTI file: uint8, scaled so that its values are the volume's."""

    score: str
    """Base64 of a gzipped NIfTI file: uint8, scaled so that its values are the square roots of scores, 0 to 1.

    With square roots, 8 bit resolve faint scores, and the viewer's linear colours agree with those of `slices`.
    """

    shape: tuple[int, int, int]
    """Columns, rows, slices."""

    spacing: tuple[float, float, float]
    """Millimetres along columns, rows and slices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """A part of the axial view on a coarser grid."""

    box: Box
    rows: int
    columns: int
    slices: int
    together: int
    """Slices of the volume that are combined into one."""

    affine: Affine
    """(4, 4): indices (column, row, slice, 1) to millimetres in RAS+."""

    @property
    def voxels(self) -> int:
        """Number of voxels of one volume."""
        return self.rows * self.columns * self.slices


def embed(findings: DecomposedVolume, box: Box) -> Embedded:
    """The volume and the score inside ``box``, at the highest resolution within `MOST_BYTES`."""
    shown = KEPT if findings.volume.intensity == "hu" else window_of(findings.volume)
    grids = [_grid(findings, box, longest, slices) for longest, slices in SIZES]
    most = grids[0].voxels
    for grid in grids:
        if grid.voxels <= most or grid is grids[-1]:
            embedded = _embed(findings, grid, shown)
            size = len(embedded.ct) + len(embedded.score)
            if size <= MOST_BYTES:
                break
            most = int(grid.voxels * MOST_BYTES / size * SLACK)
    return embedded


def _grid(findings: DecomposedVolume, box: Box, longest: int, most_slices: int) -> _Grid:
    (first, last), (top, bottom), (left, right) = box.slices, box.rows, box.columns
    shrink = max(1.0, (bottom - top) / longest, (right - left) / longest)
    rows, columns = (max(1, round(size / shrink)) for size in (bottom - top, right - left))
    together = math.ceil((last - first) / most_slices)
    axial = findings.volume.axial_affine  # of (slice, row, column)
    steps = np.array([together, (bottom - top) / rows, (right - left) / columns])
    starts = np.array([first, top, left]) + (steps - 1) / 2  # centres of the first coarse voxel
    affine = np.eye(4)
    affine[:3, :3] = (axial[:3, :3] * steps)[:, ::-1]
    affine[:3, 3] = axial[:3, :3] @ starts + axial[:3, 3]
    slices = math.ceil((last - first) / together)
    return _Grid(box=box, rows=rows, columns=columns, slices=slices, together=together, affine=affine)


def _embed(findings: DecomposedVolume, grid: _Grid, shown: Shown) -> Embedded:
    values, scores = findings.volume.axial(), findings.volume.axial(findings.score)
    cut = (slice(*grid.box.rows), slice(*grid.box.columns))
    shape = (grid.columns, grid.rows, grid.slices)
    ct, score = np.zeros(shape, np.uint8, order="F"), np.zeros(shape, np.uint8, order="F")
    first, last = grid.box.slices
    for place in range(grid.slices):
        group = range(first + place * grid.together, min(last, first + (place + 1) * grid.together))
        mean = np.asarray(np.mean([shown.share(values[number][cut]) for number in group], axis=0, dtype=np.float32))
        # the maximum of the combined slices, so that thin lesions remain visible
        peak = np.max([scores[number][cut] for number in group], axis=0).astype(np.float32) / np.float32(TOP)
        ct[..., place] = as_grey(resize(mean, (grid.rows, grid.columns))).T
        score[..., place] = as_grey(np.sqrt(resize(peak, (grid.rows, grid.columns)))).T
        if (place * grid.together) // FORGET_EVERY != ((place + 1) * grid.together) // FORGET_EVERY:
            forget_all(findings)
    forget_all(findings)
    columns, rows, slices = (float(step) for step in np.linalg.norm(grid.affine[:3, :3], axis=0))
    return Embedded(
        ct=_nifti(ct, grid.affine, shown.width / 255, shown.low),
        score=_nifti(score, grid.affine, 1 / 255, 0.0),
        shape=shape,
        spacing=(columns, rows, slices),
    )


def _nifti(array: npt.NDArray[np.uint8], affine: Affine, slope: float, intercept: float) -> str:
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(slope, intercept)  # once set, nibabel writes the array unchanged
    return base64.b64encode(igzip.compress(image.to_bytes(), 3, mtime=0)).decode("ascii")

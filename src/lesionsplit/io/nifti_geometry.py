"""What headers of NIfTI say of geometry and scale that cannot be true, and that nibabel repairs in silence."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import aff2axcodes

from lesionsplit.errors import DataError
from lesionsplit.volumes.grid import times
from lesionsplit.volumes.volume import Affine

MILLIMETRES: Final = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}

ROUNDING, OVER = 1e-6, 0.01
"""How much longer than 1 a quaternion is by rounding, and up to which length it is taken for one of 1."""

SAME_VOLUME = 0.01
"""Relative difference of voxel volumes up to which two forms agree."""

SAME_PLACE = 0.5
"""Likewise the distance of corners, in voxels: a quaternion cannot hold the shear of a tilted gantry."""


class Geometry(NamedTuple):
    """What is odd about the geometry and the scale of a header."""

    notes: tuple[str, ...]

    doubts: tuple[str, ...]
    """What changes measures."""

    repaired: bool
    """Whether other programs may read another geometry, or none."""


def geometry(raw: Any, header: Any) -> Geometry:
    """Look at the geometry and the scale of a header.

    Args:
        raw: the header as it is in the file.
        header: as nibabel has repaired it.
    """
    over = False
    notes: list[str] = []
    doubts = _unknown_codes(raw, header) + _scale(raw)
    spacing, axes = np.array(raw["pixdim"][1:4], np.float64), int(raw["dim"][0])
    sform, qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if not sform:
        wrong = [axis for axis in range(min(axes, 3)) if not spacing[axis] > 0]
        if wrong and not np.isnan(spacing).any():
            read = times(float(size) for size in header["pixdim"][1:4])
            doubts.append(f"its spacing (pixdim) is {times(map(float, spacing))}, which was read as {read} mm")
    if qform and not sform:
        turned, turns = float(raw["pixdim"][0]), [float(raw[f"quatern_{axis}"]) for axis in "bcd"]
        if turned not in (-1, 0, 1):
            doubts.append(f"its qfac (pixdim[0]) is {turned:g}, not 1 or -1, and was read as 1")
        length = float(np.sum(np.square(turns)))
        over = length > 1 + ROUNDING
        if over:
            said = f"its quaternion has b2 + c2 + d2 = {length:.6g}, more than 1, and was normalised with a = 0"
            (notes if length <= 1 + OVER else doubts).append(said)
    if not sform and not qform:
        notes.append("the file has no orientation (sform and qform codes are 0): left and right may be swapped")
    if sform and not np.isnan(spacing).any():
        more_notes, more_doubts = _disagreement(raw, header, qform)
        notes, doubts = notes + more_notes, doubts + more_doubts
    return Geometry(tuple(notes), tuple(doubts), over or bool(doubts))


def lengths(header: Any, where: str) -> tuple[float, tuple[str, ...]]:
    """Millimetres of a header's unit of length, and notes.

    Raises:
        DataError: it is no unit of length.
    """
    try:
        unit = header.get_xyzt_units()[0]
        factor = MILLIMETRES[unit]
    except KeyError:
        raise DataError(f"{where}: has no unit of length; allowed: mm, meter, micron") from None
    return factor, () if factor == 1 else (f"its lengths, in {unit}, were converted to millimetres",)


def _disagreement(raw: Any, header: Any, qform: bool) -> tuple[list[str], list[str]]:
    """Notes and doubts about an sform that disagrees with the qform, or with the spacing."""
    own = header.get_sform()
    sides = voxel_sizes(own)
    if not np.isfinite(own).all() or not sides.all():
        return [], []  # refused for that
    spacing = np.abs(np.array(raw["pixdim"][1:4], np.float64))
    if not np.isclose(np.prod(spacing), np.prod(sides), rtol=SAME_VOLUME):
        said = f"its sform has voxels of {times(map(float, sides))} mm, its pixdim of {times(map(float, spacing))} mm"
        return ([], [f"{said}: the sform was used"]) if qform else ([f"{said}: the sform was used"], [])
    if not qform:
        return [], []
    other: Affine = header.get_qform()
    shape = np.array([*header.get_data_shape(), 1, 1][:3]) - 1
    corners = np.array(np.meshgrid(*zip([0] * 3, shape, strict=True), indexing="ij")).reshape(3, -1)
    apart = np.linalg.norm((own[:3, :3] - other[:3, :3]) @ corners + (own - other)[:3, 3:], axis=0).max()
    if not apart > SAME_PLACE * sides.min():
        return [], []
    turned = " and in other directions" if aff2axcodes(own) != aff2axcodes(other) else ""
    return [f"its sform and qform place it up to {apart:.3g} mm apart{turned}: the sform was used"], []


def _unknown_codes(raw: Any, header: Any) -> list[str]:
    """Doubts about forms that are not used because of their code."""
    return [
        f"its {form}_code is {int(raw[f'{form}_code'])}, which has no meaning: the {form} was not used"
        for form in ("sform", "qform")
        if int(raw[f"{form}_code"]) != int(header[f"{form}_code"])
    ]


def _scale(raw: Any) -> list[str]:
    """Doubts about the scale of the values; none about what stands for no scale: 0, or not a number."""
    slope, inter = float(raw["scl_slope"]), float(raw["scl_inter"])
    unscaled = slope == 0 or np.isnan(slope)
    if np.isinf(slope) or (unscaled and np.isfinite(inter) and inter != 0):
        return [f"its scale is {slope:g} (scl_slope) and {inter:g} (scl_inter): values were read unscaled"]
    return []

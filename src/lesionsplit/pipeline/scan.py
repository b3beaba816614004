"""Whatever a user has of a scan, as what the pipeline works on: a volume, or an image of one slice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionsplit.data.kind import CHEST_CT, ImageKind, read_region
from lesionsplit.data.lung_slice import LungSlice, check_range, find_lungs, lung_masked, read_lung_slice, read_lungs
from lesionsplit.data.table import list_images
from lesionsplit.errors import DataError, NoLungError
from lesionsplit.images import SUFFIXES, Grey, Mask, read_grey, read_mask_file
from lesionsplit.inference.predictor import Prediction
from lesionsplit.io.case import Case
from lesionsplit.io.cases import find_cases
from lesionsplit.io.names import stem
from lesionsplit.io.stack import Stack
from lesionsplit.pipeline.options import PredictOptions
from lesionsplit.volumes.scratch import Scratch
from lesionsplit.volumes.volume import LPS_TO_RAS, Volume

ALLOWED = (
    "allowed: a path, a nibabel image, a SimpleITK image, an array (I, J, K) with affine=, or a slice (rows, columns) "
    "of uint8 or uint16"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceImage:
    """One slice as an image."""

    name: str
    image: Grey
    """(rows, columns), or (rows, columns, 3) in colour, as it was given."""

    seen: LungSlice
    """As the network is given it: black outside the lungs, which may be empty."""

    restore: Callable[[Prediction], Prediction]
    """From a prediction of ``seen`` to one of ``image``."""


def open_scan(
    source: Any,
    scratch: Scratch,
    options: PredictOptions,
    *,
    affine: Any = None,
    device: str = "auto",
    kind: ImageKind = CHEST_CT,
) -> Volume | SliceImage:
    """Read a scan.

    Args:
        source: see `ALLOWED`.
        scratch: where a volume's array is kept.
        options: what its values mean; whether to continue despite inconsistencies; an image's lungs.
        affine: (4, 4), voxel indices to millimetres in RAS+, of an array (I, J, K).
        device: of the network that finds the lungs of an image.
        kind: what images the weights are for.

    Raises:
        DataError: it cannot be read, or is none of these.
    """
    if affine is not None and not isinstance(source, np.ndarray):
        raise DataError("affine applies to an array (I, J, K) only; other sources have their own")
    if isinstance(source, (str, Path)):
        return _open_path(Path(source), scratch, options, device, kind)
    if isinstance(source, np.ndarray):
        if affine is None and (source.ndim == 2 or not kind.of_lungs):
            return slice_image(source, "slice" if kind.of_lungs else "image", options, device, kind)
        if source.ndim != 3 or affine is None:
            raise DataError(f"the source is an array of shape {source.shape}; {ALLOWED}")
        return _volume(source, np.asarray(affine), scratch, options)
    if hasattr(source, "dataobj") and hasattr(source, "affine"):  # nibabel
        return _of_nibabel(source, scratch, options)
    if hasattr(source, "GetDirection") and hasattr(source, "GetOrigin"):  # SimpleITK
        return _volume(*_of_simpleitk(source), scratch, options)
    raise DataError(f"the source is a {type(source).__name__}; {ALLOWED}")


def read_image(
    path: Path,
    options: PredictOptions,
    lungs: Path | None = None,
    device: str = "auto",
    kind: ImageKind = CHEST_CT,
) -> SliceImage:
    """An image file as a slice.

    Args:
        path: PNG, JPG or TIFF, 8 or 16 bit.
        options: whether a slice is lung-masked (``auto``) or shows the whole chest (``8-bit``).
        lungs: the file of its lung mask, or of its region, if there is one.
        device: of the network that finds lungs.
        kind: what images the weights are for.

    Raises:
        DataError: it cannot be read, or is not lung-masked.
    """
    if not kind.of_lungs:
        return _plain(kind.pixels(path), None if lungs is None else read_region(lungs), stem(path.name), kind)
    if options.intensity == "8-bit":
        raw = read_grey(path)
        return _whole_chest(raw, stem(path.name), None if lungs is None else read_lungs(lungs, raw), device)
    seen = read_lung_slice(path, lungs)
    return _lung_masked(seen.grey if lungs is None else read_grey(path), stem(path.name), seen)


def slice_image(
    image: npt.NDArray[Any],
    name: str,
    options: PredictOptions,
    device: str = "auto",
    kind: ImageKind = CHEST_CT,
) -> SliceImage:
    """An array, (rows, columns), as a slice; see `read_image`.

    Raises:
        DataError: the array or its lungs are of another type or shape, or it is not lung-masked.
    """
    if not kind.of_lungs:
        region: Any = options.regions
        return _plain(image, read_region(region) if isinstance(region, Path) else region, name, kind)
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
        raise DataError(f"the slice is {image.dtype} {image.shape}; allowed: (rows, columns) of uint8 or uint16")
    lungs: Any = options.lungs
    if isinstance(lungs, Path):
        lungs = read_mask_file(lungs, "lung")
    if lungs is not None and (lungs.shape != image.shape or lungs.dtype != np.bool_ or not lungs.any()):
        raise DataError(
            f"the lungs are {lungs.dtype} {lungs.shape}; allowed: bool {image.shape}, with at least one pixel set"
        )
    if options.intensity == "8-bit":
        return _whole_chest(image, name, lungs, device)
    seen = lung_masked(image, find_lungs(image) if lungs is None else lungs)
    check_range(seen.grey)
    return _lung_masked(image, name, seen)


def lungs_file(lungs: Path, image: Path) -> Path:
    """The lung mask of an image: NAME_lungs.png in a folder, as `lesionsplit lungs` writes it, or the file itself."""
    return lungs / f"{image.stem}_lungs.png" if lungs.is_dir() else lungs


def region_file(regions: Path, image: Path) -> Path:
    """The mask of an image's region: NAME.png or another image of that name in a folder, or the file itself.

    Raises:
        DataError: the folder has none.
    """
    if not regions.is_dir():
        return regions
    found = [path for path in list_images(regions) if path.stem == image.stem]
    if not found:
        raise DataError(f"{image}: has no mask of its region in {regions}; add {image.stem}.png")
    return found[0]


def mask_file(options: PredictOptions, image: Path, kind: ImageKind) -> Path | None:
    """The user's mask of an image, of its lungs or of its region, if there is one.

    Raises:
        DataError: it is missing in the folder that was given.
    """
    if kind.of_lungs:
        return lungs_file(options.lungs, image) if isinstance(options.lungs, Path) else None
    return region_file(options.regions, image) if isinstance(options.regions, Path) else None


def one_case(path: Path) -> Case | Path:
    """The one volume, or the one image, that a path stands for.

    Raises:
        DataError: there is none, or there are several.
    """
    found = find_cases([path], recursive=False)
    if found.refused:
        raise DataError(found.refused[0])
    everything: list[Case | Path] = [*found.cases, *found.images]
    if len(everything) != 1:
        raise DataError(f"{path}: holds {len(everything)} scans; give one of them, or predict_many for several")
    return everything[0]


def _open_path(
    path: Path, scratch: Scratch, options: PredictOptions, device: str, kind: ImageKind
) -> Volume | SliceImage:
    found = one_case(path)
    if isinstance(found, Case):
        if not kind.of_lungs:
            raise DataError(f"{path}: is a volume, and these weights are for single images ({', '.join(SUFFIXES)})")
        return found.read(scratch, options.reading)
    if isinstance(options.lungs if kind.of_lungs else options.regions, np.ndarray):
        return slice_image(
            kind.pixels(found) if not kind.of_lungs else read_grey(found), stem(found.name), options, device, kind
        )
    return read_image(found, options, mask_file(options, found, kind), device, kind)


def _of_nibabel(image: Any, scratch: Scratch, options: PredictOptions) -> Volume:
    """An image of nibabel, whose lengths may be in another unit than millimetres."""
    from lesionsplit.io.nifti_geometry import lengths  # loads nibabel

    factor, notes = lengths(image.header, "the source") if hasattr(image.header, "get_xyzt_units") else (1.0, ())
    affine = np.diag([factor] * 3 + [1]) @ np.asarray(image.affine, np.float64)
    return _volume(np.asanyarray(image.dataobj), affine, scratch, options, notes)


def _volume(
    array: npt.NDArray[Any],
    affine: npt.NDArray[np.float64],
    scratch: Scratch,
    options: PredictOptions,
    notes: tuple[str, ...] = (),
) -> Volume:
    if (
        array.ndim != 3
        or affine.shape != (4, 4)
        or affine.dtype.kind not in "iuf"
        or array.dtype.kind not in "iuf"
        or 0 in array.shape
    ):
        raise DataError(
            f"the source is {array.dtype} {array.shape} with an affine {affine.shape}; allowed: numbers (I, J, K) and "
            "(4, 4)"
        )
    stack = Stack(
        kind="array",
        path=Path("array"),
        shape=array.shape,
        affine=affine.astype(np.float64),
        read=lambda k: np.asarray(array[..., k]),
        notes=notes,
    )
    return stack.volume(scratch, name="scan", options=options.reading)


def _of_simpleitk(image: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Voxels (I, J, K) and the affine to RAS+ millimetres of a SimpleITK image."""
    import SimpleITK

    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise DataError(f"the SimpleITK image has {image.GetDimension()} dimensions; allowed: 3, of single numbers")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayViewFromImage(image).transpose(2, 1, 0), LPS_TO_RAS @ affine


def _whole_chest(image: Grey, name: str, lungs: Mask | None, device: str) -> SliceImage:
    """A slice of the whole chest on an unknown grey scale; its lungs are found where none are given."""
    from lesionsplit.inference.hu_window import window_of
    from lesionsplit.lungs.find import find_lungs_in_slice
    from lesionsplit.lungs.hu_scale import hu_scale_from_grey

    if lungs is None:
        try:
            lungs = find_lungs_in_slice(image, device=device)
        except NoLungError:
            lungs = np.zeros(image.shape, dtype=bool)
    window = window_of(hu_scale_from_grey([image]))
    grey = window.to_grey(image)

    def restore(found: Prediction) -> Prediction:
        return replace(found, healthy=window.with_change(image, grey, found.healthy, found.lungs))

    return SliceImage(name=name, image=image, seen=lung_masked(grey, lungs), restore=restore)


def _plain(image: Grey, region: Mask | None, name: str, kind: ImageKind) -> SliceImage:
    """An image of anything."""
    seen = kind.seen(image, region, name)

    def restore(found: Prediction) -> Prediction:
        inside = seen.lungs if image.ndim == 2 else seen.lungs[..., None]
        return replace(found, healthy=np.where(inside, found.healthy, image))

    return SliceImage(name=name, image=image, seen=seen, restore=restore)


def _lung_masked(image: Grey, name: str, seen: LungSlice) -> SliceImage:
    """A slice of which the network sees the lungs."""

    def restore(found: Prediction) -> Prediction:
        return replace(found, healthy=np.where(seen.lungs, found.healthy, image))

    return SliceImage(name=name, image=image, seen=seen, restore=restore)

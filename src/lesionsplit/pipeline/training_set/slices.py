"""From one volume to the slices that train reads: lung-masked grey, lungs, masks and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lesionsplit.data.table import MASK_PREFIX, Label
from lesionsplit.errors import DataError
from lesionsplit.images import Mask, write_image
from lesionsplit.inference.hu_window import window_of
from lesionsplit.io.label_maps import read_labels
from lesionsplit.lungs.find import LungLabels, find_lungs
from lesionsplit.lungs.hu_scale import hu_scale_of
from lesionsplit.lungs.method import LungMethod
from lesionsplit.lungs.resample import sample_slices
from lesionsplit.lungs.user_mask import lungs_from_user_mask
from lesionsplit.pipeline.training_set.lidc import reader_masks
from lesionsplit.pipeline.training_set.plan import Planned, Span
from lesionsplit.settings import Count, NonNegative, NonNegativeInt, Settings
from lesionsplit.volumes.padding import unpadded
from lesionsplit.volumes.scratch import Scratch, axially_stored, releasing
from lesionsplit.volumes.volume import Volume, Voxels


class Choice(Settings, frozen=True):
    """Which slices of a scan are written, and how they are labelled."""

    every: Count = 1
    """Every k-th axial slice, counted from the feet."""

    min_lung_cm2: NonNegative = 10.0
    """Minimum lung area of a slice."""

    labels_from: str | None = None
    """The annotator whose masks give the image labels; None: the table's."""

    min_lesion_mm2: NonNegative = 10.0
    """With ``labels_from``, the minimum area in the lungs of a slice with lesion. One with less, but not none, is left
    out, as no label would be right. With ``drop_unseen``, the area from which a lesion counts as visible."""

    drop_unseen: str | None = None
    """The annotator by whose masks slices of lesion-labelled scans without visible disease are left out."""

    lung_method: LungMethod = "network"
    intensity: Literal["auto", "hu", "8-bit"] = "auto"
    seed: NonNegativeInt = 0
    """Of the order in which patients are put into splits."""

    split: tuple[NonNegative, NonNegative, NonNegative] = (0.6, 0.2, 0.2)
    """Fractions of the patients in train, val and test."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written of a scan."""

    rows: list[dict[str, str]]
    """For slices.csv, without split; from the feet up."""

    voxels: str
    """Digest of the voxels."""

    notes: tuple[str, ...]


def write_slices(folder: Path, name: str, volume: Volume, known: Planned, choice: Choice) -> Written:
    """Write the slices of a volume: ``0001.png``, 16 bit, ``lungs/0001_lungs.png`` and ``mask_NAME/0001.png``.

    Folders of their own keep `predict NAME/` from taking masks for slices.

    The grey is what `predict` gives the network, so that weights trained on it suit prediction.

    Args:
        folder: an empty folder.
        name: of the scan; paths in rows start with it.
        volume: HU, or grey on an unknown scale.
        known: labels, masks and lungs.
        choice: which slices.

    Raises:
        NoLungError: there is no lung.
        DataError: a mask is on another grid, or no slice is left.
    """
    with Scratch() as scratch:
        volume = axially_stored(volume, scratch)
        digest = _digest(volume)
        whole = unpadded(volume, scratch, whole=known.lungs is not None)
        scan = whole.scan
        lungs = _lungs(scan, known, scratch, choice)
        maps = {one: read_labels(path, volume, scratch) for one, path in known.masks.items()}
        if known.contours is not None:
            maps |= reader_masks(known.contours, volume, scratch)
        masks = {one: volume.axial(labels)[whole.box] for one, labels in maps.items()}
        if choice.labels_from is not None and choice.labels_from not in masks:
            found = ", ".join(masks) or "none"
            raise DataError(f"{name}: has no mask of {choice.labels_from}, which gives the labels; found: {found}")
        views = (scan.axial(), scan.axial(lungs.labels), masks)
        marks = volume.array, lungs.labels
        picked = _picked(views, known, choice, (scan.axial_spacing, whole.box[0].start or 0))
        window = window_of(hu_scale_of(scan, sample_slices(scan.axial())))
        rows = []
        for number, label, inside in releasing(picked, *marks):
            at = number - 1 - (whole.box[0].start or 0)
            grey = np.where(inside, window.to_grey(scan.seen(views[0][at])), 0).astype(np.uint16)
            row = {
                "image": f"{number:04d}.png",
                "label": label,
                "series": name,
                "lungs": f"lungs/{number:04d}_lungs.png",
            }
            write_image(folder / row["image"], grey)
            _write_mask(folder / row["lungs"], inside)
            if label == "lesion":
                for annotator, mask in masks.items():
                    file = f"{MASK_PREFIX}{annotator}/{number:04d}.png"
                    _write_mask(folder / file, _lesion(mask[at], known.values) & inside)
                    row[MASK_PREFIX + annotator] = file
            paths = {key: f"{name}/{value}" for key, value in row.items() if key not in ("label", "series")}
            rows.append(row | paths)
    if not rows:
        raise DataError(
            f"{name}: no slice is left of {len(views[0])}; allowed: slices with a label and at least "
            f"{choice.min_lung_cm2:g} cm2 of lung; lower --min-lung-cm2 or --every"
        )
    return Written(rows, digest, (*scan.source.notes, *lungs.notes))


def _lungs(volume: Volume, known: Planned, scratch: Scratch, choice: Choice) -> LungLabels:
    if known.lungs is not None:
        return lungs_from_user_mask(volume, read_labels(known.lungs, volume, scratch), scratch)
    return find_lungs(volume, scratch, using=choice.lung_method)


def _picked(
    views: tuple[Voxels, Voxels, dict[str, Voxels]], known: Planned, choice: Choice, grid: tuple[Any, int]
) -> Iterator[tuple[int, Label, Mask]]:
    """Number, label and lungs of each slice that is written; numbers are those of the whole file."""
    images, lungs, masks = views
    (_, down, right), start = grid
    pixel_mm2 = down * right
    for at in range(len(images)):
        number = at + start + 1
        inside: Mask = lungs[at] > 0
        if (number - 1) % choice.every or np.count_nonzero(inside) * pixel_mm2 < 100 * max(choice.min_lung_cm2, 1e-9):
            continue
        areas = {
            one: np.count_nonzero(_lesion(mask[at], known.values) & inside) * pixel_mm2 for one, mask in masks.items()
        }
        label = _label(known.spans, number, areas, choice)
        if label is not None:
            yield number, label, inside


def _label(spans: Sequence[Span], number: int, areas: dict[str, float], choice: Choice) -> Label | None:
    if choice.labels_from is not None:
        area = areas[choice.labels_from]
        if 0 < area < choice.min_lesion_mm2:
            return None
        return "lesion" if area else "normal"
    label = next((one.label for one in spans if (one.first or 1) <= number <= (one.last or number)), None)
    seen = areas.get(choice.drop_unseen or "", np.inf)
    return None if label == "lesion" and seen < choice.min_lesion_mm2 else label


def _lesion(labels: Voxels, values: tuple[int, ...]) -> Mask:
    found: Mask = np.isin(labels, values) if values else labels > 0
    return found


def _write_mask(path: Path, mask: Mask) -> None:
    write_image(path, np.where(mask, 255, 0).astype(np.uint8))


def _digest(volume: Volume) -> str:
    stamp = hashlib.sha256(str(volume.shape).encode())
    for one in releasing(volume.axial(), volume.array):
        stamp.update(np.ascontiguousarray(one, dtype=np.float32).tobytes())
    return stamp.hexdigest()

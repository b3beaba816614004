"""A data set of phantom slices, in the layout for `data.table`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta
from scipy import ndimage

from lesionsplit.atomic import atomic_folder, sweep
from lesionsplit.csvtext import csv_text
from lesionsplit.data.table import TABLE, Label, Split
from lesionsplit.errors import DataError
from lesionsplit.images import Grey, Mask, write_bytes, write_image
from lesionsplit.phantom.anatomy import Subject, to_grey
from lesionsplit.phantom.lesions import FREQUENCIES, KINDS, Lesion, add_lesions
from lesionsplit.progress import Progress, silent
from lesionsplit.settings import Count, NonNegativeInt, Settings

SPACING = 0.012
"""Between slices of a series, as a fraction of the lung's height."""

SMALLEST = 120
"""Smallest extent of the lesions of a slice, in pixels of a 512 x 512 frame."""

VISIBLE = 12
"""Smallest added grey that annotator A sees."""

SPLITS: tuple[Split, ...] = ("train", "val", "test", "train", "train")
"""The split of each person, in turn."""

COLUMNS = ("image", "label", "split", "series", "healthy", "mask_a", "mask_b", "mask_b_revised")


class PhantomSettings(Settings, frozen=True):
    """Size of the data set."""

    normal: Count = 150
    """Slices without lesion; about three fifths are for train, a fifth each for val and test."""

    lesion: Count = 150
    """Slices with lesion."""

    size: Annotated[int, Meta(ge=64, le=2048, multiple_of=2)] = 512
    """Rows and columns of the frame."""

    seed: NonNegativeInt = 0


@dataclass(frozen=True, slots=True)
class PhantomSlice:
    """A slice with a known lesion: ``image`` minus ``healthy`` is exactly what the lesion adds."""

    image: Grey
    healthy: Grey
    extent: Mask
    visible: Mask
    """The mask of annotator A: the part that adds at least `VISIBLE`."""


def write_phantom(folder: Path, settings: PhantomSettings, progress: Progress = silent) -> None:
    """Write a data set to a new folder.

    Lesion slices have a healthy version and the masks of three annotators: ``a`` is the visible part at half the
    resolution, ``b`` the exact extent, and ``b_revised`` the extent dilated by two pixels.

    Raises:
        DataError: the folder exists, or cannot be written.
    """
    sweep(folder.parent)  # a process may have been killed when the data set was there
    if folder.exists():
        raise DataError(f"{folder}: exists already; name a new folder for the phantom")
    with atomic_folder(folder) as temporary:
        rows = list(_write_slices(temporary, settings, progress))
        write_bytes(temporary / TABLE, csv_text(COLUMNS, rows).encode())


def draw_series(label: Label, number: int, settings: PhantomSettings) -> list[PhantomSlice]:
    """Neighbouring slices of one synthetic person; a function of label, number and seed alone.

    Each person has a normal series and, at another height, a series with lesions, so that the labels differ in the
    lesions and not in the persons. Both series have the same number and so the same split.
    """
    person = np.random.default_rng((settings.seed, number))
    rng = np.random.default_rng((settings.seed, number, label == "lesion"))
    middle = float(rng.uniform(0.12, 0.93))
    subject = Subject(person, settings.size, middle)
    lesions = []
    if label == "lesion":
        kinds = [KINDS[number] for number in rng.choice(len(KINDS), size=1 + rng.poisson(1.2), p=FREQUENCIES)]
        lesions = [Lesion(rng, subject, middle, kind) for kind in kinds]
    count = int(rng.integers(2, 6))
    heights = middle + SPACING * (np.arange(count) - (count - 1) / 2)
    slices = [_draw_slice(subject, lesions, float(height)) for height in heights]
    smallest = SMALLEST * (settings.size / 512) ** 2
    return [one for one in slices if label == "normal" or one.extent.sum() >= smallest]


def _draw_slice(subject: Subject, lesions: list[Lesion], height: float) -> PhantomSlice:
    healthy = subject.healthy(height)
    part = add_lesions(healthy, lesions, height)
    base = to_grey(healthy.grey)
    image = to_grey(base + part.added)
    return PhantomSlice(image, base, part.extent, part.extent & (part.added >= VISIBLE))


def _write_slices(folder: Path, settings: PhantomSettings, progress: Progress) -> Iterator[dict[str, str]]:
    wanted: list[tuple[Label, int]] = [("normal", settings.normal), ("lesion", settings.lesion)]
    ticks = iter(
        progress(range(settings.normal + settings.lesion), settings.normal + settings.lesion, "Drawing slices")
    )
    for label, count in wanted:
        written = 0
        for number, series in enumerate(_series_in_parallel(label, settings)):
            split = SPLITS[number % len(SPLITS)]
            for one in series[: count - written]:
                yield _write_slice(folder, one, f"{label}_{written + 1}", label, split, f"{label[0]}{number:03d}")
                written += 1
                next(ticks)
            if written == count:
                break
    next(ticks, None)  # ends the progress display


def _series_in_parallel(label: Label, settings: PhantomSettings) -> Iterator[list[PhantomSlice]]:
    """Endless series, generated a few ahead."""
    workers = os.cpu_count() or 1
    pool = ThreadPoolExecutor(workers)
    try:
        ahead = [pool.submit(draw_series, label, number, settings) for number in range(2 * workers)]
        for number in itertools.count(len(ahead)):
            yield ahead.pop(0).result()
            ahead.append(pool.submit(draw_series, label, number, settings))
    finally:
        pool.shutdown(cancel_futures=True)


def _write_slice(folder: Path, one: PhantomSlice, name: str, label: Label, split: Split, series: str) -> dict[str, str]:
    row = {"image": f"images/{name}.png", "label": label, "split": split, "series": series}
    write_image(folder / row["image"], one.image)
    if label == "lesion":
        files = {
            "healthy": one.healthy,
            "mask_a": _halve(one.visible),
            "mask_b": one.extent,
            "mask_b_revised": ndimage.binary_dilation(one.extent, iterations=2) & (one.image > 0),
        }
        for column, image in files.items():
            path = f"{column.replace('mask_', 'masks-').replace('_', '-')}/{name}.png"
            write_image(folder / path, image if column == "healthy" else np.where(image, 255, 0).astype(np.uint8))
            row[column] = path
    return row


def _halve(mask: Mask) -> Mask:
    """A mask at half the resolution: true where at least two of four pixels are."""
    rows, columns = mask.shape
    half: Mask = mask.reshape(rows // 2, 2, columns // 2, 2).sum(axis=(1, 3)) >= 2
    return half

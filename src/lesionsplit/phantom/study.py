"""A whole data set of phantom slices, in the layout that `data.table` reads."""

from __future__ import annotations

import csv
import io
import itertools
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta
from scipy import ndimage

from lesionsplit.data.table import TABLE, Label, Split
from lesionsplit.errors import DataError
from lesionsplit.images import Grey, Mask, write_bytes, write_image
from lesionsplit.phantom.anatomy import Subject, to_grey
from lesionsplit.phantom.lesions import KINDS, OFTEN, Lesion, add_lesions
from lesionsplit.progress import Progress, silent
from lesionsplit.settings import Settings

SPACING = 0.012
"""Between slices of a series, in heights of the lung."""

SMALLEST = 120
"""Pixels of a 512 x 512 frame that a lesion slice's extents have at least."""

VISIBLE = 12
"""Grey that annotator A needs to see a lesion."""

SPLITS: tuple[Split, ...] = ("train", "val", "test", "train", "train")
"""Whose turn it is, person by person."""

COLUMNS = ("image", "label", "split", "series", "healthy", "mask_a", "mask_b", "mask_b_revised")


class PhantomSettings(Settings, frozen=True):
    """How much to draw."""

    normal: Annotated[int, Meta(ge=1)] = 150
    """Slices without lesion; about three fifths are for training, a fifth each for val and test."""

    lesion: Annotated[int, Meta(ge=1)] = 150
    """Slices with lesion."""

    size: Annotated[int, Meta(ge=64, le=2048, multiple_of=2)] = 512
    """Rows and columns of the frame."""

    seed: Annotated[int, Meta(ge=0)] = 0


@dataclass(frozen=True, slots=True)
class DrawnSlice:
    """A slice as it is written: ``image = healthy + added``, exactly."""

    image: Grey
    healthy: Grey
    extent: Mask
    seen: Mask
    """What annotator A outlines: the part that adds at least `VISIBLE`."""


def write_phantom(folder: Path, settings: PhantomSettings, progress: Progress = silent) -> None:
    """Draw a data set into a folder that does not exist yet.

    Lesion slices come with what they look like healthy, and with three sets of masks, so that
    annotators can be compared: ``a`` is careful (the visible part, half the resolution), ``b`` is the
    exact extent and ``b_revised`` is generous (two pixels more).

    Raises:
        DataError: the folder exists, or cannot be written.
    """
    if folder.exists():
        raise DataError(f"{folder}: exists already; name a new folder for the phantom")
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        rows = list(_write_slices(beside, settings, progress))
        table = io.StringIO()
        writer = csv.DictWriter(table, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_bytes(beside / TABLE, table.getvalue().encode())
        beside.rename(folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); choose another place") from None
    finally:  # after an error or Ctrl-C nothing half drawn stays
        shutil.rmtree(beside, ignore_errors=True)


def draw_series(label: Label, number: int, settings: PhantomSettings) -> list[DrawnSlice]:
    """Neighbouring slices of one imagined person; a function of label, number and seed alone.

    Each person is drawn healthy and, elsewhere in the lungs, ill: what sets the labels apart is the
    lesions and not who happened to fall ill. Both series get the same number and so the same split.
    """
    person = np.random.default_rng((settings.seed, number))
    rng = np.random.default_rng((settings.seed, number, label == "lesion"))
    middle = float(rng.uniform(0.12, 0.93))
    subject = Subject(person, settings.size, middle)
    lesions = []
    if label == "lesion":
        kinds = [KINDS[number] for number in rng.choice(len(KINDS), size=1 + rng.poisson(1.2), p=OFTEN)]
        lesions = [Lesion(rng, subject, middle, kind) for kind in kinds]
    count = int(rng.integers(2, 6))
    heights = middle + SPACING * (np.arange(count) - (count - 1) / 2)
    drawn = [_draw_slice(subject, lesions, float(height)) for height in heights]
    smallest = SMALLEST * (settings.size / 512) ** 2
    return [one for one in drawn if label == "normal" or one.extent.sum() >= smallest]


def _draw_slice(subject: Subject, lesions: list[Lesion], height: float) -> DrawnSlice:
    healthy = subject.healthy(height)
    part = add_lesions(healthy, lesions, height)
    base = to_grey(healthy.grey)
    image = to_grey(base + part.added)
    return DrawnSlice(image, base, part.extent, part.extent & (part.added >= VISIBLE))


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
    next(ticks, None)  # lets the progress close


def _series_in_parallel(label: Label, settings: PhantomSettings) -> Iterator[list[DrawnSlice]]:
    """Series without end, drawn a few ahead."""
    workers = os.cpu_count() or 1
    pool = ThreadPoolExecutor(workers)
    try:
        ahead = [pool.submit(draw_series, label, number, settings) for number in range(2 * workers)]
        for number in itertools.count(len(ahead)):
            yield ahead.pop(0).result()
            ahead.append(pool.submit(draw_series, label, number, settings))
    finally:
        pool.shutdown(cancel_futures=True)


def _write_slice(folder: Path, one: DrawnSlice, name: str, label: Label, split: Split, series: str) -> dict[str, str]:
    row = {"image": f"images/{name}.png", "label": label, "split": split, "series": series}
    write_image(folder / row["image"], one.image)
    if label == "lesion":
        files = {
            "healthy": one.healthy,
            "mask_a": _half(one.seen),
            "mask_b": one.extent,
            "mask_b_revised": ndimage.binary_dilation(one.extent, iterations=2) & (one.image > 0),
        }
        for column, image in files.items():
            path = f"{column.replace('mask_', 'masks-').replace('_', '-')}/{name}.png"
            write_image(folder / path, image if column == "healthy" else np.where(image, 255, 0).astype(np.uint8))
            row[column] = path
    return row


def _half(mask: Mask) -> Mask:
    """A mask at half the resolution: set where at least two of four pixels are."""
    rows, columns = mask.shape
    half: Mask = mask.reshape(rows // 2, 2, columns // 2, 2).sum(axis=(1, 3)) >= 2
    return half

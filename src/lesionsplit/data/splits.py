"""Splits of a data set that comes without: by series, which file names show, or at random."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lesionsplit.data.table import MASK_PREFIX, Slice, Split, Table
from lesionsplit.images import write_bytes

SHARES: dict[Split, float] = {"val": 0.15, "test": 0.15}
"""The rest is for training."""

FEWEST = 4
"""Series of a label from which on each split gets at least one of them."""


def divide(table: Table, seed: int) -> tuple[Table, str]:
    """Divide a data set into splits, the slices of a series together.

    A series is what names share before their last number, as in ``patient7_031.png``, if there are several of them
    with several slices each; otherwise each slice is one. A data set that has its own test images gets no others.

    Args:
        table: without splits, or without val.
        seed: of the random choice.

    Returns:
        The table, with series; and how it was divided, for people.
    """
    rows = table.slices
    free = [row for row in rows if row.split == "train"]
    series, by_name = series_of(free)
    wanted: dict[Split, float] = dict(SHARES) if len(free) == len(rows) else {"val": SHARES["val"]}
    split_of = _choose(free, series, wanted, seed)
    divided = tuple(
        replace(row, series=series[row.image], split=split_of[series[row.image]]) if row.image in series else row
        for row in rows
    )
    counts = ", ".join(
        f"{sum(row.split == split for row in divided)} {split}" for split in ("train", "val", "test") if split
    )
    how = f"by series, {len(set(series.values()))} names before the last number" if by_name else "image by image"
    said = f"split at random with seed {seed}, {how}: {counts}"
    return replace(table, slices=divided, divided=True), said


def series_of(rows: Sequence[Slice]) -> tuple[dict[Path, str], bool]:
    """The series of images by their names, and whether names show any.

    Args:
        rows: of both labels; one series may have images of both.
    """
    stems = {row.image: re.sub(r"\d+\D*$", "", row.image.stem).rstrip("_-. ") for row in rows}
    names = set(stems.values())
    of_label = [{stems[row.image] for row in rows if row.label == label} for label in ("normal", "lesion")]
    enough = all(not some or len(some) >= FEWEST for some in of_label)
    if "" not in names and enough and 2 * len(names) <= len(rows):
        return stems, True
    return {row.image: row.series for row in rows}, False


def _choose(
    rows: Sequence[Slice], series: Mapping[Path, str], wanted: Mapping[Split, float], seed: int
) -> dict[str, Split]:
    """The split of each series; series of each label are divided in the same shares."""
    split_of: dict[str, Split] = {}
    for label in ("lesion", "normal"):
        names = sorted({series[row.image] for row in rows if row.label == label} - split_of.keys())
        order = [names[at] for at in np.random.default_rng(seed).permutation(len(names))]
        for split, share in wanted.items():
            count = max(1, round(share * len(names))) if len(names) >= FEWEST else 0
            split_of |= dict.fromkeys(order[:count], split)
            order = order[count:]
        split_of |= dict.fromkeys(order, "train")
    return split_of


def write_table(path: Path, table: Table) -> None:
    """Write a data set as slices.csv, with absolute paths; no mask is left out.

    Raises:
        DataError: the file cannot be written.
    """
    columns = ["image", "label", "split", "series", "region", *(MASK_PREFIX + name for name in table.annotators)]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in table:
        cells = {"image": row.image.resolve(), "label": row.label, "split": row.split, "series": row.series}
        masks = {MASK_PREFIX + name: mask.resolve() for name, mask in row.masks.items()}
        writer.writerow({**cells, "region": row.lungs.resolve() if row.lungs else "", **masks})
    write_bytes(path, text.getvalue().encode(), durable=True)

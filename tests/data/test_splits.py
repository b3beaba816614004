"""Splits of data sets that come without."""

from pathlib import Path

import numpy as np
import pytest

from lesionsplit.data.splits import divide, series_of, write_table
from lesionsplit.data.table import Table, read_table
from lesionsplit.errors import DataError
from lesionsplit.images import write_image

GREY = np.arange(400, dtype=np.uint8).reshape(20, 20)


def two_folders(folder: Path, normal: list[str], lesion: list[str]) -> Table:
    for label, names in (("normal", normal), ("lesion", lesion)):
        for name in names:
            write_image(folder / label / f"{name}.png", GREY)
    return read_table(folder)


def test_numbered_images_are_divided_one_by_one(tmp_path: Path) -> None:
    table = two_folders(tmp_path, [f"{at:03d}" for at in range(20)], [f"d{at}" for at in range(10)])
    assert not table.divided
    divided, said = divide(table, seed=0)
    assert divided.divided
    counts = {(row.label, row.split) for row in divided}
    assert len(counts) == 6
    assert [len(divided.split(split).labelled("normal")) for split in ("train", "val", "test")] == [14, 3, 3]
    assert said == "split at random with seed 0, image by image: 20 train, 5 val, 5 test"
    assert divide(table, seed=0)[0] == divided
    assert divide(table, seed=1)[0] != divided


def test_a_series_by_names_stays_in_one_split(tmp_path: Path) -> None:
    names = [f"patient{one}_{at:02d}" for one in range(8) for at in range(3)]
    table = two_folders(tmp_path, names, [f"patient{one}_9{at}" for one in range(4, 12) for at in range(2)])
    assert series_of(table.slices)[1]
    divided, said = divide(table, seed=0)
    assert "by series, 12 names" in said
    split_of: dict[str, str] = {}
    for row in divided:
        assert split_of.setdefault(row.series, row.split) == row.split
    assert {row.series for row in divided if "patient5_" in row.image.name} == {"patient5"}
    assert {row.split for row in divided} == {"train", "val", "test"}


def test_what_was_divided_is_read_back(tmp_path: Path) -> None:
    table = two_folders(tmp_path / "data", [f"{at}" for at in range(6)], [f"{at}" for at in range(6)])
    write_image(tmp_path / "data" / "mask" / "3.png", (GREY > 250).astype(np.uint8) * 255)
    divided, _ = divide(read_table(table.root), seed=3)
    write_table(tmp_path / "run" / "splits.csv", divided)
    again = read_table(tmp_path / "run" / "splits.csv")
    assert again.divided
    assert [(row.label, row.split, row.series) for row in again] == [
        (row.label, row.split, row.series) for row in divided
    ]
    assert again.annotators == ("mask",)


def test_the_layout_of_mvtec_keeps_its_test_images(tmp_path: Path) -> None:
    for at in range(10):
        write_image(tmp_path / "train" / "good" / f"{at:03d}.png", GREY)
    for kind in ("good", "hole", "stain"):
        write_image(tmp_path / "test" / kind / "000.png", GREY)
    write_image(tmp_path / "ground_truth" / "hole" / "000_mask.png", (GREY > 250).astype(np.uint8) * 255)
    table = read_table(tmp_path)
    assert [(row.label, row.split, list(row.masks)) for row in table][-3:] == [
        ("normal", "test", []),
        ("lesion", "test", ["mask"]),
        ("lesion", "test", []),
    ]
    divided, _ = divide(table, seed=0)
    assert [len(divided.split(split)) for split in ("train", "val", "test")] == [8, 2, 3]


@pytest.mark.parametrize("made", [[], ["normal"]])
def test_an_empty_folder_is_a_line(tmp_path: Path, made: list[str]) -> None:
    for name in made:
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="is empty" if made else "has neither slices.csv nor"):
        read_table(tmp_path)

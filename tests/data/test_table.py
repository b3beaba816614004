from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionsplit.data.table import Table, read_table
from lesionsplit.errors import DataError

HEADER = "image,label,split,series,mask_a,mask_b\n"


def picture(path: Path, shape: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, 50, dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("1", "2", "3"):
        picture(tmp_path / f"images/{name}.png")
    picture(tmp_path / "a/2.png", (4, 4))
    picture(tmp_path / "b/2.png")
    return tmp_path


def read(folder: Path, rows: str, header: str = HEADER) -> Table:
    (folder / "slices.csv").write_text(header + rows)
    return read_table(folder)


GOOD = "images/1.png,normal,train,s1,,\nimages/2.png,lesion,val,s2,a/2.png,b/2.png\n"


def test_a_table_says_what_is_in_it(folder: Path) -> None:
    table = read(folder, GOOD)
    assert [row.label for row in table] == ["normal", "lesion"]
    assert table.annotators == ("a", "b")
    assert table.slices[1].masks == {"a": folder / "a/2.png", "b": folder / "b/2.png"}
    assert [row.image.name for row in table.split("val")] == ["2.png"]
    assert len(table.labelled("normal")) == 1


def test_neighbours_are_rows_of_a_series_that_follow_each_other(folder: Path) -> None:
    apart = read(folder, f"{GOOD}images/3.png,normal,train,s1,,\n")
    assert [(row.series, row.position) for row in apart] == [("s1", 0), ("s2", 1), ("s1", 2)]
    assert [row.position for row in apart.labelled("normal")] == [0, 2]  # a choice of rows makes no new neighbours
    for row in apart:
        assert apart.around([row]).slices == (row,)
    beside = read(folder, f"images/3.png,normal,train,s1,,\n{GOOD}")
    assert beside.around(beside.slices[1:2]).slices == beside.slices[:2]


def test_without_masks_nothing_but_labels_is_left(folder: Path) -> None:
    table = read(folder, GOOD).without_masks()
    assert table.annotators == ()
    assert all(row.masks == {} and row.healthy is None for row in table)


LUNGS = "image,label,split,series,lungs,mask_a\n"


def test_lungs_are_no_lesion_mask(folder: Path) -> None:
    picture(folder / "l/2.png")
    table = read(folder, "images/1.png,normal,train,s1,,\nimages/2.png,lesion,val,s2, l/2.png ,a/2.png\n", LUNGS)
    assert [row.lungs for row in table] == [None, folder / "l/2.png"]
    assert table.annotators == ("a",)
    assert [row.lungs for row in table.without_masks()] == [None, folder / "l/2.png"]


@pytest.mark.parametrize("shape", [(8, 7), (4, 4), (16, 16)])
def test_lungs_of_another_shape_are_refused(folder: Path, shape: tuple[int, int]) -> None:
    picture(folder / "l/2.png", shape)
    with pytest.raises(DataError) as caught:
        read(folder, "images/2.png,lesion,val,s2,l/2.png,\n", LUNGS)
    assert f"line 2 (images/2.png): lungs {folder}/l/2.png have {shape[0]} x {shape[1]} pixels and the image 8 x 8" in (
        str(caught.value)
    )


def test_missing_lungs_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"line 2 \(images/2.png\): lungs .*/l/2.png is missing"):
        read(folder, "images/2.png,lesion,val,s2,l/2.png,\n", LUNGS)


def test_an_upper_bound_sees_one_annotators_masks_of_train_and_no_other(phantom: Table) -> None:
    given = phantom.supervised_by("b")
    assert given.annotators == ("b",)
    for row, before in zip(given, phantom, strict=True):
        seen = row.split == "train" and row.label == "lesion"
        assert row == replace(before, healthy=None, masks={"b": before.masks["b"]} if seen else {})


def test_an_upper_bound_needs_an_annotator_that_is_there(phantom: Table) -> None:
    with pytest.raises(DataError, match=r"no masks of annotator 'c' in split 'train'; found: a, b, b_revised; choose"):
        phantom.supervised_by("c")
    with pytest.raises(DataError, match=r"no masks of annotator 'a' in split 'train'; found: none; choose"):
        phantom.without_masks().supervised_by("a")


def test_an_upper_bound_needs_every_lesion_slice_of_train_outlined(phantom: Table) -> None:
    at = next(i for i, row in enumerate(phantom) if row.split == "train" and row.label == "lesion")
    rows = list(phantom)
    rows[at] = replace(rows[at], masks={"b": rows[at].masks["b"]})
    lacking = replace(phantom, slices=tuple(rows))
    with pytest.raises(
        DataError, match=rf"slices.csv line {at + 2} .* has no mask of annotator 'a'; found: b; a super"
    ):
        lacking.supervised_by("a")
    assert lacking.supervised_by("b").annotators == ("b",)


def test_the_phantoms_table_is_like_covid_cells(phantom: Table) -> None:
    assert phantom.annotators == ("a", "b", "b_revised")
    assert {row.split for row in phantom} == {"train", "val", "test"}
    assert all(row.healthy for row in phantom.labelled("lesion"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("images/9.png,normal,train,s1,,\n", "slices.csv line 2 (images/9.png): image {}/images/9.png is missing"),
        ("images/1.png,sick,train,s1,,\n", "line 2 (images/1.png): label is 'sick'; allowed: normal, lesion"),
        ("images/1.png,normal,dev,s1,,\n", "line 2 (images/1.png): split is 'dev'; allowed: train, val, test"),
        ("images/1.png,normal,train,,,\n", "line 2 (images/1.png): has no series"),
        (",normal,train,s1,,\n", "line 2: has no image"),
        ("images/1.png,normal,train,s1,,,,\n", "line 2 (images/1.png): has more fields than the header"),
        (
            "images/1.png,normal,train,s1,,\nimages/1.png,normal,train,s1,,\n",
            "line 3 (images/1.png): is already listed at ",
        ),
        (
            "images/1.png,normal,train,s1,,\nimages/2.png,lesion,val,s1,,\n",
            "line 3 (images/2.png): series 's1' is in split 'val' here and in 'train' at",
        ),
        ("images/2.png,lesion,train,s1,a/3.png,\n", "line 2 (images/2.png): {}/a/3.png: no such file"),
        ("", "has no slice"),
    ],
)
def test_a_wrong_row_is_named(folder: Path, rows: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(folder, rows)
    assert message.format(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(8, 7), (3, 3), (4, 8), (12, 12)])
def test_a_mask_of_another_shape_is_refused(folder: Path, shape: tuple[int, int]) -> None:
    picture(folder / "a/2.png", shape)
    with pytest.raises(DataError, match=rf"mask .*a/2.png has {shape[0]} x {shape[1]} pixels and the image 8 x 8"):
        read(folder, GOOD)


@pytest.mark.parametrize("shape", [(8, 8), (4, 4), (2, 2), (16, 16)])
def test_a_mask_at_a_whole_multiple_of_the_resolution_is_fine(folder: Path, shape: tuple[int, int]) -> None:
    picture(folder / "a/2.png", shape)
    assert read(folder, GOOD).annotators == ("a", "b")


def test_missing_columns_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match="lacks the columns series, split; found: image, label"):
        read(folder, "images/1.png,normal\n", "image,label\n")


def test_columns_of_the_users_own_are_left_alone(folder: Path) -> None:
    table = read(folder, "images/1.png,normal,train,s1,63\n", "image,label,split,series,age\n")
    assert len(table) == 1


def test_two_folders_are_a_data_set(tmp_path: Path) -> None:
    picture(tmp_path / "normal/b.png")
    picture(tmp_path / "normal/a.jpg")
    picture(tmp_path / "lesion/c.tif")
    (tmp_path / "lesion/notes.txt").write_text("not an image")
    table = read_table(tmp_path)
    assert [(row.image.name, row.label, row.split) for row in table] == [
        ("a.jpg", "normal", "train"),
        ("b.png", "normal", "train"),
        ("c.tif", "lesion", "train"),
    ]


def test_a_folder_that_is_no_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has neither slices\.csv nor the folders normal/ and lesion/"):
        read_table(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        read_table(tmp_path / "nowhere")
    (tmp_path / "other.csv").write_text("image,label\n")
    with pytest.raises(DataError, match=r"other\.csv: is a file; give a folder with slices\.csv"):
        read_table(tmp_path / "other.csv")


def test_the_table_itself_names_its_folder(phantom_folder: Path) -> None:
    assert read_table(phantom_folder / "slices.csv") == read_table(phantom_folder)


def test_a_split_without_slices_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match="has no slice in split 'test'; found: train, val"):
        read(folder, GOOD).split("test")


def test_a_table_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "slices.csv").write_bytes(b"\xff\xfe\x00image")
    with pytest.raises(DataError, match="must be comma-separated UTF-8 text"):
        read_table(folder)

from __future__ import annotations

from pathlib import Path

import pytest

from lesionsplit.errors import DataError
from lesionsplit.pipeline.inputs import gather


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "slices").mkdir()
    for name in ("b.png", "a.jpg", "notes.txt", ".hidden.png"):
        (tmp_path / "slices" / name).touch()
    return tmp_path / "slices"


def test_folders_stand_for_the_images_in_them(folder: Path, tmp_path: Path) -> None:
    assert gather([folder, folder / "b.png"], tmp_path / "out", "score") == [folder / "a.jpg", folder / "b.png"]


def test_what_cannot_be_read_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        gather([tmp_path / "nowhere"], tmp_path / "out", "score")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: has no image in it"):
        gather([tmp_path / "empty"], tmp_path / "out", "score")


def test_two_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "b.png").touch()
    with pytest.raises(DataError, match=r"would both be written as b_lungs\.png; give them apart"):
        gather([folder, tmp_path / "b.png"], tmp_path / "out", "lungs")


def test_results_do_not_go_among_the_slices(folder: Path) -> None:
    with pytest.raises(DataError, match="holds slices that are given; choose another folder"):
        gather([folder / "b.png"], folder / "../slices", "score")

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from lesionsplit.errors import DataError
from lesionsplit.images import read_grey
from lesionsplit.lungs.find import find_lungs_in_slice
from lesionsplit.pipeline.lung_masks import COLOUR, COLUMNS, SIDE, write_lungs


def chest(shift: int = 0) -> npt.NDArray[np.uint8]:
    rows, columns = np.ogrid[:60, :80]
    image = np.where(((rows - 30) / 28) ** 2 + ((columns - 40) / 38) ** 2 < 1, 200, 10).astype(np.uint8)
    for middle in (22 + shift, 58 - shift):
        image[((rows - 30) / 20) ** 2 + ((columns - middle) / 12) ** 2 < 1] = 60
    return image


@pytest.fixture
def slices(tmp_path: Path) -> Path:
    folder = tmp_path / "slices"
    folder.mkdir()
    for number in range(COLUMNS + 1):
        Image.fromarray(chest(number % 3)).save(folder / f"{number}.png")
    return folder


def test_lungs_are_white_on_black_and_on_the_sheet(tmp_path: Path, slices: Path) -> None:
    outcome = write_lungs([slices], tmp_path / "out")
    assert (outcome.done, outcome.skipped, outcome.failed) == (COLUMNS + 1, 0, 0)
    for path in slices.iterdir():
        found = np.asarray(Image.open(tmp_path / f"out/{path.stem}_lungs.png"))
        np.testing.assert_array_equal(found, np.where(find_lungs_in_slice(read_grey(path)), 255, 0))
        assert found[30, 22] == found[30, 58] == 255
        assert found[30, 40] == found[2, 2] == 0
    page = np.asarray(Image.open(tmp_path / "out/lungs.png"))
    assert page.shape[0] > 2 * SIDE
    assert page.shape[1] > COLUMNS * SIDE
    assert (page == COLOUR).all(axis=-1).sum() > 6 * 300


def test_slices_without_lung_are_said_and_left_out(tmp_path: Path, slices: Path) -> None:
    Image.fromarray(np.full((60, 80), 200, dtype=np.uint8)).save(slices / "belly.png")
    (slices / "broken.png").write_text("no picture")
    said: list[str] = []
    outcome = write_lungs([slices], tmp_path / "out", say=said.append)
    assert (outcome.done, outcome.failed) == (COLUMNS + 1, 2)
    assert said[0].startswith(f"{slices / 'belly.png'}: no lung found")
    assert said[1].startswith(f"{slices / 'broken.png'}: is not an image")
    assert not list((tmp_path / "out").glob("b*"))


def test_lungs_of_a_slice_that_was_replaced_are_kept_with_a_line(tmp_path: Path, slices: Path) -> None:
    write_lungs([slices], tmp_path / "out")
    before = (tmp_path / "out" / "0_lungs.png").read_bytes()
    said: list[str] = []
    assert write_lungs([slices], tmp_path / "out", say=said.append).skipped == COLUMNS + 1
    assert said == []
    shutil.copy(slices / "1.png", slices / "0.png")
    os.utime(slices / "0.png", (1, 1))
    write_lungs([slices], tmp_path / "out", say=said.append)
    file = tmp_path / "out" / "0_lungs.png"
    assert said == [
        f"{slices / '0.png'}: has changed since {file} was found; look at it, or find all anew with --overwrite"
    ]
    assert file.read_bytes() == before
    Image.fromarray(read_grey(file)).save(file)  # by another program, which does not know the slice
    write_lungs([slices], tmp_path / "out", say=said.append)
    assert len(said) == 1


def test_lungs_mended_by_hand_stay(tmp_path: Path, slices: Path) -> None:
    write_lungs([slices], tmp_path / "out")
    mended = np.zeros((60, 80), dtype=np.uint8)
    mended[20:30, 20:30] = 255
    Image.fromarray(mended).save(tmp_path / "out/1_lungs.png")
    outcome = write_lungs([slices], tmp_path / "out")
    assert (outcome.done, outcome.skipped) == (0, COLUMNS + 1)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out/1_lungs.png")), mended)
    assert write_lungs([slices], tmp_path / "out", overwrite=True).done == COLUMNS + 1
    assert np.asarray(Image.open(tmp_path / "out/1_lungs.png")).sum() > mended.sum()


def test_a_mended_file_of_another_shape_is_said(tmp_path: Path, slices: Path) -> None:
    write_lungs([slices], tmp_path / "out")
    Image.fromarray(np.full((9, 9), 255, dtype=np.uint8)).save(tmp_path / "out/1_lungs.png")
    said: list[str] = []
    assert write_lungs([slices], tmp_path / "out", say=said.append).failed == 1
    assert "1_lungs.png have 9 x 9 pixels and the image 60 x 80" in said[0]
    assert said[0].startswith(str(slices / "1.png"))


def test_the_slices_are_never_written_to(tmp_path: Path, slices: Path) -> None:
    before = {path: path.read_bytes() for path in slices.iterdir()}
    with pytest.raises(DataError, match="choose another folder"):
        write_lungs([slices], slices)
    write_lungs([slices], tmp_path / "out")
    assert {path: path.read_bytes() for path in slices.iterdir()} == before


def test_where_no_slice_has_lung_there_is_no_sheet(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((60, 80), dtype=np.uint8)).save(tmp_path / "black.png")
    assert write_lungs([tmp_path / "black.png"], tmp_path / "out").failed == 1
    assert not (tmp_path / "out").exists()

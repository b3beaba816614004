from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from lesionsplit.data.lung_slice import read_slice
from lesionsplit.data.masks import read_mask
from lesionsplit.data.table import read_table
from lesionsplit.errors import DataError


@pytest.fixture(scope="module")
def script(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("experiments/medseg.py")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two chests and a belly; 30 lesion pixels in the first chest, 10 of them outside its lungs."""
    rows, columns = np.ogrid[:60, :80]
    belly = np.where(((rows - 30) / 28) ** 2 + ((columns - 40) / 38) ** 2 < 1, 200, 10).astype(np.uint8)
    chest = belly.copy()
    chest[18:42, 14:32] = chest[18:42, 48:66] = 60
    for folder in ("images", "masks"):
        (tmp_path / "medseg" / folder).mkdir(parents=True)
    for name, image in {"a": chest, "b": chest, "c": belly}.items():
        Image.fromarray(image).save(tmp_path / f"medseg/images/{name}.png")
    classes = np.zeros((60, 80), dtype=np.uint8)
    Image.fromarray(classes).save(tmp_path / "medseg/masks/b.png")
    Image.fromarray(classes).save(tmp_path / "medseg/masks/c.png")
    classes[24:26, 20:30] = 1
    classes[26, 38:48] = 2
    Image.fromarray(classes).save(tmp_path / "medseg/masks/a.png")
    return tmp_path / "medseg"


def test_it_is_a_data_set(script: ModuleType, source: Path, tmp_path: Path) -> None:
    shares = script.convert(source, tmp_path / "out", plain=True)
    table = read_table(tmp_path / "out")
    assert [(row.image.name, row.label, row.split, row.series) for row in table] == [
        ("a.png", "lesion", "test", "a"),
        ("b.png", "lesion", "test", "b"),
    ]
    assert table.annotators == ("any", "consolidation")
    first = table.slices[0]
    assert [int(read_mask(first, name).sum()) for name in table.annotators] == [30, 10]
    grey, lungs = read_slice(first)
    assert lungs[30, 20]
    assert lungs[30, 60]
    assert not lungs[30, 40]
    assert not grey[~lungs].any()
    inside = int((read_mask(first, "any") & lungs).sum())
    assert shares == [inside / 30, inside / 30]
    assert 20 <= inside < 30


def test_what_is_wrong_is_named(script: ModuleType, source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="exists already; choose a new folder"):
        script.convert(source, tmp_path, plain=True)
    with pytest.raises(DataError, match="has no folder images/"):
        script.convert(tmp_path, tmp_path / "out", plain=True)
    Image.fromarray(np.full((60, 80), 3, dtype=np.uint8)).save(source / "masks/b.png")
    with pytest.raises(DataError, match=r"b\.png: has values up to 3; allowed: 0, 1 and 2"):
        script.convert(source, tmp_path / "out", plain=True)
    (source / "masks/b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png: no such file"):
        script.convert(source, tmp_path / "out", plain=True)
    assert not (tmp_path / "out").exists()


def test_slices_are_as_predict_shows_them_to_the_network(script: ModuleType, tmp_path: Path, make: ModuleType) -> None:
    chest = make.chest((240, 200, 9))
    hu, lesion, inside = (part[9:-9, 20:-20, 4].T for part in (chest.hu, chest.lesion, chest.lungs))
    for folder, image in (("images", np.clip((hu + 1000) / 6, 0, 255)), ("masks", lesion)):
        (tmp_path / "medseg" / folder).mkdir(parents=True)
        Image.fromarray(image.astype(np.uint8)).save(tmp_path / f"medseg/{folder}/a.png")
    script.convert(tmp_path / "medseg", tmp_path / "out", plain=False)
    grey, lungs = read_slice(read_table(tmp_path / "out").slices[0])
    assert grey.dtype == np.uint16
    assert np.mean(lungs[inside > 0]) > 0.95
    assert np.mean(lungs[inside == 0]) < 0.02
    healthy = (inside > 0) & ~lesion & (hu < -800)
    assert np.median(grey[healthy & lungs]) / 257 == pytest.approx(102, abs=8)  # of normal lung in the training slices

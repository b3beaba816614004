from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from lesionsplit.data.table import Table, read_table
from lesionsplit.errors import DataError
from lesionsplit.evaluation.protocol import read_mask
from lesionsplit.images import read_grey
from lesionsplit.phantom import dataset
from lesionsplit.phantom.dataset import PhantomSettings, draw_series, write_phantom

SMALL = PhantomSettings(normal=4, lesion=4, size=64, seed=5)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_seed_decides_every_byte(tmp_path: Path) -> None:
    write_phantom(tmp_path / "one", SMALL)
    write_phantom(tmp_path / "two", SMALL)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    write_phantom(tmp_path / "other", PhantomSettings(normal=4, lesion=4, size=64, seed=6))
    assert contents(tmp_path / "other") != contents(tmp_path / "one")


def test_it_draws_as_much_as_asked(phantom: Table) -> None:
    assert len(phantom.labelled("normal")) == len(phantom.labelled("lesion")) == 18


def test_the_parts_add_up_exactly(phantom: Table) -> None:
    for row in phantom.labelled("lesion"):
        assert row.healthy is not None
        image, healthy = read_grey(row.image).astype(int), read_grey(row.healthy).astype(int)
        extent = read_grey(row.masks["b"]) > 0
        added = image - healthy
        assert (added >= 0).all()
        assert (added[extent] > 0).all()
        assert ((image > 0) == (healthy > 0)).all(), "a lesion may not change the lungs"
        beyond = ndimage.binary_dilation(extent, iterations=24)
        assert not added[~beyond].any(), "a lesion ends not far from its extent"


def test_a_normal_slice_is_drawn_as_the_healthy_part_is() -> None:
    for one in draw_series("normal", 3, SMALL):
        assert np.array_equal(one.image, one.healthy)
        assert not one.extent.any()


def test_annotators_differ_as_said(phantom: Table) -> None:
    for row in phantom.labelled("lesion"):
        exact, generous = read_grey(row.masks["b"]) > 0, read_grey(row.masks["b_revised"]) > 0
        assert (exact <= generous).all()
        assert read_grey(row.masks["a"]).shape == (64, 64)
        careful = read_mask(row, "a", 64)
        assert (careful <= ndimage.binary_dilation(read_mask(row, "b", 64))).all()


def test_one_persons_slices_stay_together_whether_healthy_or_ill(phantom: Table) -> None:
    splits: dict[str, set[str]] = {}
    for row in phantom:
        splits.setdefault(row.series[1:], set()).add(row.split)
    assert all(len(seen) == 1 for seen in splits.values())


def test_labels_are_not_told_by_the_grey_level_of_healthy_lung() -> None:
    settings = PhantomSettings(size=64)
    levels = {"normal": [], "lesion": []}
    for label, found in levels.items():
        for number in range(30):
            found += [float(np.median(one.healthy[one.healthy > 0])) for one in draw_series(label, number, settings)]  # type: ignore[arg-type]
    normal, lesion = map(np.asarray, levels.values())
    above = (lesion[:, None] > normal[None]).mean() + 0.5 * (lesion[:, None] == normal[None]).mean()
    assert 0.35 < above < 0.65


def test_an_existing_folder_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("precious")
    with pytest.raises(DataError, match="exists already"):
        write_phantom(tmp_path / "mine", SMALL)
    assert contents(tmp_path) == {"mine/file": b"precious"}


def test_interrupted_it_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "_halve", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path / "phantom", SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        write_phantom(tmp_path / "file" / "phantom", SMALL)


def test_what_it_writes_is_read(tmp_path: Path) -> None:
    write_phantom(tmp_path / "phantom", SMALL)
    table = read_table(tmp_path / "phantom")
    assert len(table) == 8
    assert table.annotators == ("a", "b", "b_revised")

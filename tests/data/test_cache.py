from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionsplit.data.cache import PreparedSlices, prepare
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.data.table import Table, read_table
from lesionsplit.errors import DataError
from lesionsplit.images import as_float, as_grey, read_grey

PLACEMENT = PlacementSettings(rows=32, columns=48, frame=56)


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def data_set(folder: Path, dtype: type = np.uint8) -> Table:
    """Two slices of a square lung each."""
    for number, label in enumerate(("normal", "lesion")):
        image = np.zeros((64, 64), dtype=dtype)
        image[16:48, 20:44] = (100 + 40 * number) * (np.iinfo(dtype).max // 255)
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / label / "1.png")
    return read_table(folder)


def test_slices_are_placed_and_counted(tmp_path: Path, phantom: Table) -> None:
    prepared = prepare(phantom, PLACEMENT, folder=tmp_path)
    assert prepared.images.shape == (len(phantom), 32, 48)
    assert prepared.images.dtype == np.uint8
    assert [bool(label) for label in prepared.labels] == [row.label == "lesion" for row in phantom]
    row = phantom.slices[7]
    image = read_grey(row.image)
    expected = as_grey(PLACEMENT.place(image > 8).apply(as_float(image)))
    np.testing.assert_array_equal(prepared.images[7], expected)


def test_the_normalisation_is_of_lung_pixels(tmp_path: Path) -> None:
    prepared = prepare(data_set(tmp_path / "data"), PLACEMENT, folder=tmp_path / "cache")
    assert prepared.normalisation.mean == pytest.approx(120 / 255)
    assert prepared.normalisation.std == pytest.approx(20 / 255)


def test_sixteen_bit_slices_stay_sixteen_bit_and_mix_with_eight(tmp_path: Path) -> None:
    data_set(tmp_path / "data", np.uint16)
    deep = prepare(read_table(tmp_path / "data"), PLACEMENT, folder=tmp_path / "cache")
    assert deep.images.dtype == np.uint16
    Image.fromarray(np.array(Image.open(tmp_path / "data/normal/1.png")) // 257).convert("L").save(
        tmp_path / "data/normal/1.png"
    )
    mixed = prepare(read_table(tmp_path / "data"), PLACEMENT, folder=tmp_path / "cache")
    np.testing.assert_array_equal(mixed.images, deep.images)


def test_the_second_time_it_is_only_opened(tmp_path: Path, phantom: Table) -> None:
    seen: list[str] = []

    def watch(items, total, title):  # type: ignore[no-untyped-def]
        seen.append(title)
        return items

    first = prepare(phantom, PLACEMENT, folder=tmp_path, progress=watch)
    second = prepare(phantom, PLACEMENT, folder=tmp_path, progress=watch)
    assert len(seen) == 1
    assert first.fingerprint == second.fingerprint
    assert isinstance(second.images, np.memmap)


def test_another_setting_is_another_entry_and_both_stay(tmp_path: Path, phantom: Table) -> None:
    prepare(phantom, PLACEMENT, folder=tmp_path)
    prepare(phantom, PlacementSettings(kind="frame", rows=32, columns=32), folder=tmp_path)
    assert len(entries(tmp_path)) == 2


def test_a_changed_file_rebuilds_and_the_stale_entry_goes(tmp_path: Path) -> None:
    table = data_set(tmp_path / "data")
    before = prepare(table, PLACEMENT, folder=tmp_path / "cache")
    old = entries(tmp_path / "cache")
    image = np.array(Image.open(table.slices[0].image))
    Image.fromarray(image // 2).save(table.slices[0].image)
    os.utime(table.slices[0].image, ns=(1, 1))
    after = prepare(table, PLACEMENT, folder=tmp_path / "cache")
    assert after.fingerprint != before.fingerprint
    assert len(entries(tmp_path / "cache")) == 1
    assert entries(tmp_path / "cache") != old
    assert before.images[0].max() == 2 * after.images[0].max()  # who has the old one open keeps it


def test_changed_lungs_rebuild(tmp_path: Path) -> None:
    table = data_set(tmp_path / "data")
    lungs = np.zeros((64, 64), dtype=np.uint8)
    lungs[16:48, 20:32] = 255
    Image.fromarray(lungs).save(tmp_path / "lungs.png")
    halved = replace(table, slices=tuple(replace(row, lungs=tmp_path / "lungs.png") for row in table))
    prints = [prepare(one, PLACEMENT, folder=tmp_path / "cache").fingerprint for one in (table, halved)]
    Image.fromarray(np.maximum(lungs, np.roll(lungs, 4, axis=1))).save(tmp_path / "lungs.png")
    os.utime(tmp_path / "lungs.png", ns=(1, 1))
    prints.append(prepare(halved, PLACEMENT, folder=tmp_path / "cache").fingerprint)
    assert len(set(prints)) == 3


def test_another_slice_of_the_same_size_and_time_in_its_place_is_seen(tmp_path: Path) -> None:
    table = data_set(tmp_path / "data")
    image = table.slices[1].image.rename(tmp_path / "image.tif")
    Image.fromarray(read_grey(image)).save(image)
    table = replace(table, slices=(table.slices[0], replace(table.slices[1], image=image), *table.slices[2:]))
    before, facts = prepare(table, PLACEMENT, folder=tmp_path / "cache").fingerprint, image.stat()
    Image.fromarray(read_grey(image) // 2).save(image)
    assert image.stat().st_size == facts.st_size
    os.utime(image, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert prepare(table, PLACEMENT, folder=tmp_path / "cache").fingerprint != before


def test_the_fingerprint_is_of_the_data_and_not_of_the_place(tmp_path: Path) -> None:
    one = prepare(data_set(tmp_path / "one"), PLACEMENT, folder=tmp_path / "cache")
    two = prepare(data_set(tmp_path / "two"), PLACEMENT, folder=tmp_path / "cache")
    assert one.fingerprint == two.fingerprint


def test_a_bad_slice_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    table = data_set(tmp_path / "data")
    Image.fromarray(np.zeros((64, 64), dtype=np.uint8)).save(table.slices[1].image)
    with pytest.raises(DataError, match=r"lesion/1.png: no lung"):
        prepare(table, PLACEMENT, folder=tmp_path / "cache")
    table.slices[1].image.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"lesion/1.png: is not an image"):
        prepare(table, PLACEMENT, folder=tmp_path / "cache")
    assert entries(tmp_path / "cache") == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"the cache cannot be written .* choose another with --cache"):
        prepare(data_set(tmp_path / "data"), PLACEMENT, folder=tmp_path / "file")


def test_outlines_are_placed_as_their_slices_are(tmp_path: Path, phantom: Table) -> None:
    """Annotator a's masks have half the resolution; in normal slices nothing is outlined."""
    train = phantom.supervised_by("a").split("train")
    prepared = prepare(train, PLACEMENT, annotator="a", folder=tmp_path)
    assert isinstance(prepared.outlines, np.memmap)
    assert (prepared.outlines.shape, prepared.outlines.dtype) == (prepared.images.shape, np.uint8)
    for row, outline in zip(train, prepared.outlines, strict=True):
        expected = np.zeros(PLACEMENT.canvas, dtype=np.uint8)
        if row.label == "lesion":
            coarse = np.array(Image.open(row.masks["a"])) // 255
            mask = np.repeat(np.repeat(coarse, 2, axis=0), 2, axis=1).astype(np.float32)
            expected = as_grey(PLACEMENT.place(read_grey(row.image) > 8).apply(mask))
        np.testing.assert_array_equal(outline, expected)
    assert prepared.outlines.max() == 255


def test_outlines_are_an_entry_of_their_own(tmp_path: Path, phantom: Table) -> None:
    """Whoever asks for none gets the entry that there always was, and none of the others goes."""
    clean = prepare(phantom.without_masks().split("train"), PLACEMENT, folder=tmp_path)
    (known,) = entries(tmp_path)
    prepared = [
        prepare(phantom.supervised_by(name).split("train"), PLACEMENT, annotator=name, folder=tmp_path)
        for name in ("a", "b")
    ]
    assert len(entries(tmp_path)) == 3
    assert known in entries(tmp_path)
    assert not (tmp_path / known / "outlines.npy").exists()
    assert prepare(phantom.split("train"), PLACEMENT, folder=tmp_path).outlines is None
    assert len({one.fingerprint for one in (clean, *prepared)}) == 3
    for one in prepared:
        np.testing.assert_array_equal(one.images, clean.images)


def test_a_changed_mask_is_other_data(tmp_path: Path, phantom_folder: Path) -> None:
    shutil.copytree(phantom_folder, tmp_path / "data")
    table = read_table(tmp_path / "data").supervised_by("b").split("train")
    before = prepare(table, PLACEMENT, annotator="b", folder=tmp_path / "cache")
    path = table.labelled("lesion").slices[0].masks["b"]
    Image.fromarray(np.zeros_like(np.array(Image.open(path)))).save(path)
    os.utime(path, ns=(1, 1))
    after = prepare(table, PLACEMENT, annotator="b", folder=tmp_path / "cache")
    assert after.fingerprint != before.fingerprint
    assert len(entries(tmp_path / "cache")) == 1


def test_a_full_disk_is_one_line_before_the_first_slice_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A memory map of a file without space would end the process with a bus error in the middle."""

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    placement = PlacementSettings(rows=1024, columns=1024)
    with pytest.raises(DataError) as caught:
        prepare(data_set(tmp_path / "data"), placement, folder=tmp_path / "cache")
    assert str(caught.value).startswith(f"{tmp_path / 'cache'}{os.sep}")
    assert str(caught.value).endswith(
        "images.npy: cannot be written (No space left on device); it needs 2.1 MB: free some space, or choose another "
        "folder"
    )
    assert entries(tmp_path / "cache") == []


def change(path: Path, before: bytes, after: bytes) -> None:
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after, 1))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("images.npy", Path.unlink),
        ("images.npy", cut),
        ("images.npy", flip),
        ("images.npy", lambda path: path.write_bytes(b"")),
        ("images.npy", lambda path: change(path, b"False", b"True ")),
        ("images.npy", lambda path: change(path, b"|u1", b"|b1")),
        ("outlines.npy", flip),
        ("outlines.npy", Path.unlink),
        ("entry.json", cut),
        ("entry.json", lambda path: path.write_bytes(b"null")),
        ("entry.json", lambda path: path.write_bytes(b"[" * 100_000)),
        ("entry.json", lambda path: change(path, b"uint8", b"int64")),
        ("entry.json", lambda path: change(path, b"[false", b"[3")),
        ("entry.json", lambda path: change(path, b"[false", b"[true")),
        ("entry.json", lambda path: change(path, b'"histogram":[0', b'"histogram":[9')),
        ("entry.json", lambda path: change(path, b'"histogram":[0', b'"histogram":[NaN')),
        ("entry.json", lambda path: change(path, b'"digest"', b'"other"')),
    ],
)
def test_a_damaged_entry_is_made_again(
    tmp_path: Path, phantom: Table, name: str, damage: Callable[[Path], object]
) -> None:
    table = phantom.supervised_by("a").split("train")

    def prepared() -> PreparedSlices:
        return prepare(table, PLACEMENT, annotator="a", folder=tmp_path)

    before = prepared()
    images, normalisation = before.images.copy(), before.normalisation
    (entry,) = entries(tmp_path)
    damage(tmp_path / entry / name)
    after = prepared()
    np.testing.assert_array_equal(after.images, images)
    np.testing.assert_array_equal(after.labels, before.labels)
    assert (after.normalisation, after.fingerprint) == (normalisation, before.fingerprint)
    assert after.outlines is not None
    assert entries(tmp_path) == [entry]


def test_slices_of_one_grey_cannot_be_normalised(tmp_path: Path) -> None:
    table = data_set(tmp_path / "data")
    for row in table:
        Image.fromarray(np.minimum(np.array(Image.open(row.image)), 90)).save(row.image)
    with pytest.raises(DataError, match="the regions of all images have one and the same grey"):
        prepare(table, PLACEMENT, folder=tmp_path / "cache")
    assert entries(tmp_path / "cache") == []


PREPARE = """
import sys
from pathlib import Path
from lesionsplit.data.cache import prepare
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.data.table import read_table
placement = PlacementSettings(rows=32, columns=48, frame=56)
print(prepare(read_table(Path(sys.argv[1])), placement, folder=Path(sys.argv[2])).fingerprint)
"""


def test_two_processes_make_one_whole_entry(tmp_path: Path, phantom_folder: Path) -> None:
    command = [sys.executable, "-c", PREPARE, str(phantom_folder), str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    fingerprints = {process.communicate(timeout=120)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert fingerprints == {prepare(read_table(phantom_folder), PLACEMENT, folder=tmp_path).fingerprint}
    assert len(entries(tmp_path)) == 1

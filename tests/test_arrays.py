from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from lesionsplit.arrays import SEAL, in_words, is_sealed, new_array, open_array, reserve, seal
from lesionsplit.errors import DataError


def full(*_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def unsupported(*_: int) -> None:
    raise OSError(errno.EOPNOTSUPP, "Operation not supported")


def test_an_array_is_zeros_and_comes_back(tmp_path: Path) -> None:
    array = new_array(tmp_path / "a.npy", (3, 4, 5), np.uint16)
    assert array.shape == (3, 4, 5)
    assert not array.any()
    array[1] = 7
    del array
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), open_array(tmp_path / "a.npy", (3, 4, 5), np.uint16))
    assert np.load(tmp_path / "a.npy").sum() == 7 * 20


@pytest.mark.parametrize("supported", [True, False])
def test_all_of_its_space_is_reserved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, supported: bool) -> None:
    """A store into the map of a file without space is a bus error on a full disk."""
    if not supported:
        monkeypatch.setattr(os, "posix_fallocate", unsupported)
    new_array(tmp_path / "a.npy", (5, 1000, 1000), np.uint8)
    new_array(tmp_path / "b.npy", (1, 1), np.uint8)
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(5_000_000)
    if sparse.stat().st_blocks:
        pytest.skip("this file system has no sparse files")
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 5_000_000


def test_a_full_disk_is_one_line_with_the_space_that_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", full)
    path = tmp_path / "a.npy"
    with pytest.raises(DataError) as caught:
        new_array(path, (2000, 1000, 1000), np.uint16)
    assert str(caught.value) == (
        f"{path}: cannot be written (No space left on device); it needs 4.0 GB: free some space, or choose another "
        "folder"
    )


def test_a_full_disk_where_space_cannot_be_reserved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DataError, match=r"a\.npy: cannot be written \(No space left on device\); it needs 1\.0 MB"):
        new_array(tmp_path / "a.npy", (1000, 1000), np.uint8)


def test_space_is_reserved_to_the_last_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    for size in (0, 1, (1 << 20) + 3):
        with (tmp_path / "a").open("wb") as file:
            reserve(file.fileno(), size)
        assert (tmp_path / "a").stat().st_size == max(1, size)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda whole: whole[:40],
        lambda whole: whole[:-1],
        lambda whole: b"PK\x03\x04" + whole[4:],
        lambda whole: b"\x80\x04" + whole[2:],
        lambda whole: whole.replace(b"'|u1'", b"'|O1'"),
        lambda whole: whole.replace(b"'|u1'", b"'|i1'"),
        lambda whole: whole.replace(b"(2, 3)", b"(3, 2)"),
        lambda whole: whole.replace(b"(2, 3)", b"(2, -"),
        lambda whole: whole.replace(b"(2, 3)", b"[2, 3]"),
        lambda whole: whole.replace(b"(2, 3), }", b"(2,9**9)}"),
        lambda whole: whole.replace(b"'shape'", b"'\xff\xfe\xfd\xfc\x00'"),
        lambda whole: whole.replace(b"{", b"("),
    ],
)
def test_a_damaged_array_is_a_value_error(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "a.npy"
    new_array(path, (2, 3), np.uint8)
    whole = path.read_bytes()
    changed = damage(whole)  # type: ignore[operator]
    assert changed != whole
    path.write_bytes(changed)
    with pytest.raises(ValueError, match=r"a\.npy: is "):
        open_array(path, (2, 3), np.uint8)


def test_a_missing_array_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_array(tmp_path / "a.npy", (2, 3), np.uint8)


def test_a_seal_shows_every_change(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    assert not is_sealed(path)
    new_array(path, (2, 3), np.uint8)[:] = 5
    assert not is_sealed(path)
    seal(path)
    assert is_sealed(path)
    assert open_array(path, (2, 3), np.uint8).sum() == 30
    whole = path.read_bytes()
    for at in (0, 60, len(whole) - SEAL - 1, len(whole) - 1):
        changed = bytearray(whole)
        changed[at] ^= 16
        path.write_bytes(changed)
        assert not is_sealed(path)
    for content in (whole[:-1], whole + b"\0", whole[:5], b""):
        path.write_bytes(content)
        assert not is_sealed(path)


def test_bytes_in_words() -> None:
    assert [in_words(size) for size in (200, 2_400_000, 123_456_789, 1_400_000_000_000)] == [
        "0.0 MB",
        "2.4 MB",
        "0.1 GB",
        "1400.0 GB",
    ]

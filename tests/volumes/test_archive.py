from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from lesionsplit.errors import DataError
from lesionsplit.volumes import archive as module
from lesionsplit.volumes.archive import Entry, entries_of


def packed(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_files_of_an_archive_are_read_as_files_are(tmp_path: Path) -> None:
    path = packed(
        tmp_path / "a.zip", **{"s/b": b"123456", "s/a.txt": b"x", ".hidden": b"", "__MACOSX/a": b"", "d/": b""}
    )
    first, second = entries_of(path)
    assert (first.name, first.folder, str(first)) == ("a.txt", path / "s", f"{path}: s/a.txt")
    with second.open() as file:
        assert file.read(2) == b"12"
        file.seek(0)
        assert file.read() == b"123456"
    with second.opened_archive() as archive, second.open(archive) as file:
        assert file.read() == b"123456"


def test_a_file_is_an_entry_too(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    entry = Entry(tmp_path / "a")
    assert (entry.name, entry.folder, str(entry)) == ("a", tmp_path, str(tmp_path / "a"))
    with entry.opened_archive() as archive, entry.open(archive) as file:
        assert archive is None
        assert file.read() == b"123"


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read \(No such file or directory\)"), Entry(tmp_path / "a").open():
        pass


def test_archives_that_are_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path / "a.zip", a=b"123", b=b"456")
    monkeypatch.setattr(module, "MOST_MEMBERS", 1)
    with pytest.raises(
        DataError, match=r"a.zip: would unpack to 2 files of 0.0 MB; allowed: 1 files of 68.7 GB; unpack"
    ):
        entries_of(path)


def test_small_files_may_be_packed_to_any_degree(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", a=bytes(1 << 20))
    assert [entry.name for entry in entries_of(path)] == ["a"]

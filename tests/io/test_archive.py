from __future__ import annotations

import errno
import io
import os
import warnings
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lesionsplit.errors import DataError
from lesionsplit.io import archive as module
from lesionsplit.io.archive import FileEntry, entries_of
from lesionsplit.io.cases import find_cases
from lesionsplit.volumes.scratch import Scratch


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
    entry = FileEntry(tmp_path / "a")
    assert (entry.name, entry.folder, str(entry)) == ("a", tmp_path, str(tmp_path / "a"))
    with entry.opened_archive() as archive, entry.open(archive) as file:
        assert archive is None
        assert file.read() == b"123"


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"cannot be read \(No such file or directory\)"),
        FileEntry(tmp_path / "a").open(),
    ):
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


def twice(path: Path, members: list[tuple[str, bytes]]) -> None:
    """Write an archive in which several files have one name."""
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they do
        for name, content in members:
            archive.writestr(name, content)


def test_files_of_one_name_are_each_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    twice(path, [("s/IM1", content) for content in (b"first", b"second", b"third")])
    entries = entries_of(path)
    assert len({*entries}) == 3
    with entries[0].opened_archive() as opened:
        contents = []
        for entry in entries:
            with entry.open(opened) as file:
                contents.append(file.read())
    assert contents == [b"first", b"second", b"third"]


def test_names_that_differ_in_case_or_form_are_each_read(tmp_path: Path) -> None:
    names = ("IM1", "im1", "s/\u00e9", "s/e\u0301", "s\\IM1", "s/IM1")
    path = packed(tmp_path / "a.zip", **{name: name.encode() for name in names})
    read = {}
    for entry in entries_of(path):
        with entry.open() as file:
            read[entry.member] = file.read().decode()
    assert read == {name: name for name in names}


@pytest.mark.parametrize("dicom", [False, True])
def test_slices_of_one_name_are_one_volume(dicom: bool, make: ModuleType, tmp_path: Path) -> None:
    files = make.make_series(tmp_path / "ct", (24, 20, 6))
    suffix = ".dcm" if dicom else ""
    twice(tmp_path / "a.zip", [(f"ct/IM{number % 2}{suffix}", file.read_bytes()) for number, file in enumerate(files)])
    (case,) = find_cases([tmp_path / "a.zip"], recursive=False).cases
    with Scratch() as scratch:
        volume = case.read(scratch)
        np.testing.assert_array_equal(volume.array, make.chest((24, 20, 6)).hu)
    assert volume.source.notes == ()


def test_volumes_of_one_name_are_two_cases(make: ModuleType, tmp_path: Path) -> None:
    hu = make.chest((24, 20, 6)).hu
    volumes = [make.make_nifti(tmp_path / "ct.nii", hu + shift).read_bytes() for shift in (0, 1)]
    twice(tmp_path / "a.zip", [("ct.nii", volume) for volume in volumes])
    found = find_cases([tmp_path / "a.zip"], recursive=True)
    assert [case.name for case in found.cases] == ["a-ct", "a-ct-2"]
    for shift, case in enumerate(found.cases):
        with Scratch() as scratch:
            np.testing.assert_array_equal(case.read(scratch).array, hu + shift)


@pytest.mark.parametrize("hidden", ["__MACOSX\\._IM1", "__macosx/a", "s\\.hidden", "d\\", "s\\__MACOSX\\a", "d/"])
def test_backslashes_separate_folders(hidden: str, tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", **{hidden: b"", "s\\t\\IM1": b"x"})
    (entry,) = entries_of(path)
    assert (entry.name, entry.folder, str(entry)) == ("IM1", path / "s" / "t", f"{path}: s\\t\\IM1")
    with entry.open() as file:
        assert file.read() == b"x"


@pytest.mark.parametrize("name", ["..\\a", "C:\\a", "c:a", "\\a", "a\\..\\..\\b", "\\\\server\\a", "C:/a"])
def test_names_of_windows_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="whose path leaves the archive; unpack it yourself"):
        entries_of(packed(tmp_path / "a.zip", **{name: b"x"}))


def test_names_that_control_a_terminal_are_shown_as_text(tmp_path: Path) -> None:
    (entry,) = entries_of(packed(tmp_path / "a.zip", **{"a\n\x1b[2Jb.dcm": b"x"}))
    assert str(entry) == f"{tmp_path / 'a.zip'}: a\\n\\x1b[2Jb.dcm"
    (said,) = find_cases([entry.path], recursive=False).refused
    assert said.isprintable()


@pytest.mark.parametrize("at", [4, 6, 8, 10, 26, 28, 30])
def test_a_broken_entry_is_one_line(at: int, tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", a=b"123" * 99)
    for where in (at, path.read_bytes().rindex(b"PK\1\2") + at):
        data = bytearray(path.read_bytes())
        data[where : where + 2] = b"\xff\xee"
        (tmp_path / "b.zip").write_bytes(data)
        assert refusal(tmp_path / "b.zip").isprintable()


def refusal(path: Path) -> str:
    """The line that an archive is refused with; empty if all of it is read."""
    try:
        for entry in entries_of(path):
            with entry.open() as file:
                file.read()
    except DataError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("error", [IndexError, OSError, EOFError, zipfile.BadZipFile])
@pytest.mark.parametrize("member", [False, True])
def test_errors_of_who_reads_a_file_are_not_blamed_on_it(member: bool, error: type[Exception], tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", a=b"x")
    entry = FileEntry(path, "a") if member else FileEntry(path)
    with pytest.raises(error, match="of the caller"), entry.open():
        raise error("of the caller")


@pytest.mark.parametrize("member", [False, True])
def test_errors_while_a_file_is_read_are_blamed_on_it(
    member: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "a.zip", a=b"x")
    entry = FileEntry(path, "a") if member else FileEntry(path)

    class Failing(io.RawIOBase):
        name = "a"

        def readinto(self, _: object) -> int:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: Failing())
    with entry.opened_archive() as archive:
        if not member:
            monkeypatch.setattr(Path, "open", lambda *_, **__: Failing())
        with entry.open(archive) as file, pytest.raises(DataError) as error:
            file.read(1)
    assert str(error.value) == f"{entry}: cannot be read (Input/output error)"


def test_a_plain_file_is_never_said_to_be_an_incomplete_archive(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(EOFError), FileEntry(tmp_path / "a").open():
        raise EOFError

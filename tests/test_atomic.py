"""Files and folders whole or not at all, whatever happens to the process that writes them."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lesionsplit import atomic, disk
from lesionsplit.atomic import (
    LOCK,
    OURS,
    PREFIX,
    atomic_file,
    atomic_folder,
    cannot_lock,
    locked,
    sweep,
    temporary_folder,
)
from lesionsplit.errors import DataError

FULL = OSError(28, "No space left on device")

WRITER = """
import sys, time
from pathlib import Path
from lesionsplit.atomic import atomic_file
with atomic_file(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half a patient")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_swept", set())


@contextmanager
def started(code: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has begun to write; it is killed when the block ends."""
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        try:
            yield process
        finally:
            process.kill()


def hidden(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{PREFIX}*"))


def test_a_file_and_a_folder_appear_whole(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "new" / "file.bin", durable=True) as temporary:
        temporary.write_bytes(b"whole")
        assert temporary.name == "file.bin"
        assert not (tmp_path / "new" / "file.bin").exists()
    assert (tmp_path / "new" / "file.bin").read_bytes() == b"whole"
    with atomic_folder(tmp_path / "folder", durable=True) as temporary:
        (temporary / "inside").mkdir()
        (temporary / "inside" / "one").write_text("1")
        assert not (tmp_path / "folder").exists()
    assert (tmp_path / "folder" / "inside" / "one").read_text() == "1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "new"]
    assert not hidden(tmp_path / "new")


@pytest.mark.parametrize("error", [FULL, ValueError("a fault"), KeyboardInterrupt()])
def test_after_an_error_everything_is_as_it_was(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "file").write_text("before")
    expected = DataError if error is FULL else type(error)
    for writer in (atomic_file, atomic_folder):
        target = tmp_path / ("file" if writer is atomic_file else "folder")
        with pytest.raises(expected), writer(target) as temporary:  # noqa: PT012
            (temporary if writer is atomic_file else temporary / "one").write_text("half")
            raise error
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "before"}


def test_a_full_disk_names_the_file_and_what_to_do(tmp_path: Path) -> None:
    expected = rf"^{tmp_path / 'file'}: cannot be written \(No space left on device\); choose another folder, or free"
    with pytest.raises(DataError, match=expected), atomic_file(tmp_path / "file"):
        raise FULL
    with pytest.raises(DataError, match=expected), atomic_folder(tmp_path / "file"):
        raise FULL


def test_messages_name_the_place_and_not_the_hidden_folder(tmp_path: Path) -> None:
    scan = tmp_path / "scan"
    with pytest.raises(DataError) as caught, atomic_folder(scan) as folder, atomic_file(folder / "score.nii"):
        raise FULL
    assert str(caught.value).startswith(f"{tmp_path / 'scan' / 'score.nii'}: cannot be written (No space")


def test_in_a_hidden_folder_files_are_written_at_once(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "scan") as folder:
        with atomic_file(folder / "one") as temporary:
            assert temporary == folder / "one"
            temporary.write_text("whole")
        two = folder / "two"
        with pytest.raises(DataError, match=f"^{two}: cannot"), atomic_file(two) as temporary:  # noqa: PT012
            temporary.write_text("half")
            raise FULL
        assert [path.name for path in folder.iterdir()] == ["one"]
    assert (tmp_path / "scan" / "one").read_text() == "whole"


def test_a_folder_that_is_not_empty_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("1")
    with pytest.raises(DataError, match="cannot be written"), atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "other").write_text("2")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "mine"]


def test_the_next_process_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    with started(WRITER, tmp_path / "file"):
        assert len(hidden(tmp_path)) == 1
    assert len(hidden(tmp_path)) == 1
    with atomic_file(tmp_path / "other") as temporary:
        assert hidden(tmp_path) == [temporary.parent]
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    with started(WRITER, tmp_path / "file"):
        assert sweep(tmp_path) is True
        with atomic_file(tmp_path / "other") as temporary:
            temporary.write_text("whole")
        (one,) = hidden(tmp_path)
        assert (one / "file").read_bytes() == b"half a patient"
    assert sweep(tmp_path, again=True) is False
    assert not hidden(tmp_path)


def test_what_another_thread_of_this_process_writes_is_left_alone(tmp_path: Path) -> None:
    with temporary_folder(tmp_path) as folder:
        assert sweep(tmp_path, again=True) is False
        assert folder.is_dir()
    assert not list(tmp_path.iterdir())


def test_a_process_killed_before_it_locked_or_while_it_removed_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / f"{OURS}abcdefgh").mkdir()  # not locked yet
    (tmp_path / f"{OURS}ijklmnop").mkdir()  # the content gone, the lock not
    (tmp_path / f"{OURS}ijklmnop" / LOCK).touch()
    assert sweep(tmp_path) is False
    assert not list(tmp_path.iterdir())


def test_only_hidden_folders_of_ours_are_removed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "scan").write_text("patient")
    out = tmp_path / "out"
    out.mkdir()
    (out / f"{OURS}aaaaaaaa").symlink_to(precious)  # a link in the way
    (out / f"{OURS}bbbbbbbb").mkdir()
    (out / f"{OURS}bbbbbbbb" / LOCK).symlink_to(precious / "scan")
    (out / f"{OURS}cccccccc").write_text("a file")
    (out / f"{OURS}dddddddd").mkdir()  # a folder without a lock that somebody fills
    (out / f"{OURS}dddddddd" / "scan").write_text("1")
    before = sorted(out.rglob("*"))
    sweep(out)
    assert sorted(out.rglob("*")) == before
    assert (precious / "scan").read_text() == "patient"


def test_a_link_at_the_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("patient")
    (tmp_path / "file").symlink_to(tmp_path / "precious")
    with atomic_file(tmp_path / "file") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "precious").read_text() == "patient"
    assert (tmp_path / "file").read_text() == "new"
    assert not (tmp_path / "file").is_symlink()


def test_nobody_else_can_look_into_a_hidden_folder_or_guess_its_name(tmp_path: Path) -> None:
    names = set()
    for _ in range(3):
        with atomic_file(tmp_path / "file") as temporary:
            assert temporary.parent.stat().st_mode & 0o777 == 0o700
            names.add(temporary.parent.name)
            temporary.touch()
    assert len(names) == 3
    assert not any(str(os.getpid()) in name for name in names)
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_long_name_is_possible(tmp_path: Path) -> None:
    with atomic_file(tmp_path / ("n" * 255)) as temporary:
        temporary.touch()
    assert (tmp_path / ("n" * 255)).exists()


def test_durable_files_are_on_the_disk_before_they_have_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, bool]] = []
    target = tmp_path / "target"

    def sync(path: Path) -> None:
        done.append((path.name, target.exists()))

    for module in (atomic, disk):
        monkeypatch.setattr(module, "sync", sync)
    with atomic_file(target, durable=True) as temporary:
        temporary.touch()
    assert done == [("target", False), (tmp_path.name, True)]
    target.unlink()
    done.clear()
    with atomic_folder(target, durable=True) as temporary:
        (temporary / "one").touch()
    assert done == [("one", False), ("target", False), (tmp_path.name, True)]
    done.clear()
    with atomic_file(tmp_path / "other") as temporary:
        temporary.touch()
    assert done == []


COUNTER = """
import sys
from pathlib import Path
from lesionsplit.atomic import locked
folder = Path(sys.argv[1])
print("writing", flush=True)
for _ in range(100):
    with locked(folder):
        count = int((folder / "count").read_text())
        (folder / "count").write_text(str(count + 1))
"""


def test_a_locked_folder_is_changed_by_one_process_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    with started(COUNTER, tmp_path) as one, started(COUNTER, tmp_path) as other:
        assert (one.wait(), other.wait()) == (0, 0)
    assert (tmp_path / "count").read_text() == "200"
    assert [path.name for path in tmp_path.iterdir()] == ["count"]


def test_the_lock_of_a_killed_process_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    with locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file: cannot be written"), locked(tmp_path / "file"):
        pass


def test_without_locks_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows and some network file systems: nobody can tell who lives."""
    monkeypatch.setattr(atomic, "fcntl", None)
    (tmp_path / f"{OURS}abcdefgh").mkdir()
    (tmp_path / f"{OURS}abcdefgh" / LOCK).touch()
    with atomic_file(tmp_path / "file") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "file").read_text() == "whole"
    assert len(hidden(tmp_path)) == 1


def test_hidden_folders_of_another_machine_are_left_alone(tmp_path: Path) -> None:
    """On some network file systems nobody sees their locks: a free lock proves nothing."""
    there = tmp_path / f"{PREFIX}00000000-abcdefgh"
    there.mkdir()
    (there / LOCK).touch()
    (there / "scan").write_text("being written")
    assert sweep(tmp_path) is True  # it may live
    assert (there / "scan").exists()
    with temporary_folder(tmp_path) as folder:
        assert folder.name.startswith(OURS)


def fsync_fails(monkeypatch: pytest.MonkeyPatch, number: int, *, folders: bool) -> None:
    real = os.fsync

    def fsync(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode) == folders:
            raise OSError(number, os.strerror(number))
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EACCES])
def test_a_system_that_cannot_wait_for_folders_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fsync_fails(monkeypatch, number, folders=True)
    with atomic_file(tmp_path / "file", durable=True) as temporary:
        temporary.write_text("whole")
    with atomic_folder(tmp_path / "folder", durable=True) as temporary:
        (temporary / "one").write_text("1")
    assert (tmp_path / "file").read_text() == "whole"
    assert (tmp_path / "folder" / "one").read_text() == "1"


@pytest.mark.parametrize(("number", "folders"), [(errno.EIO, True), (errno.EIO, False), (errno.EINVAL, False)])
def test_a_disk_that_fails_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, folders: bool
) -> None:
    fsync_fails(monkeypatch, number, folders=folders)
    with pytest.raises(DataError, match="cannot be written"), atomic_file(tmp_path / "file", durable=True) as temporary:
        temporary.write_text("whole")


def test_a_lock_that_a_killed_process_of_another_user_left_is_locked_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refused(path: Path, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, flags, *mode)

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(DataError, match="Permission denied"), locked(tmp_path):
        pass
    (tmp_path / LOCK).touch()
    with locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_a_folder_whose_file_system_has_no_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with locked(tmp_path):
        assert cannot_lock(tmp_path) == ""
    monkeypatch.setattr(atomic.fcntl, "flock", flock)
    with locked(tmp_path):
        assert cannot_lock(tmp_path) == (
            f"{tmp_path}: files cannot be locked there ({os.strerror(number)}), so two calls at a time may lose "
            "results of each other; let one call at a time write to it"
        )

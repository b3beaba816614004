"""Files and folders that are written beside their place and renamed, so that no incomplete one is ever visible.

What is written lies in a hidden folder beside its target: of an unpredictable name, created exclusively and open to
its owner only, so that nobody can put a link in its way. A file in it is locked for as long as its process lives. The
next process of the same machine that writes to the same place removes the hidden folders whose lock is free: those of
killed processes. On some network file systems a lock is unknown to other machines, so the name of a hidden folder tells
its machine. A process id would be no proof, because ids are used again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final

from lesionsplit.disk import sync, sync_all
from lesionsplit.errors import DataError, LesionsplitError

try:
    import fcntl
except ImportError:  # Windows: leftovers of killed processes stay
    fcntl = None  # type: ignore[assignment]

PREFIX: Final = ".lesionsplit-"
"""How the names of hidden folders begin."""

OURS: Final = f"{PREFIX}{hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]}-"
"""How the names of those of this machine begin."""

LOCK: Final = ".lesionsplit-lock"
"""The locked file in a hidden folder; while something in an ordinary folder is changed, the one in that."""

NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)

_guard = threading.Lock()
_alive: set[str] = set()
"""Names of this process's hidden folders."""

_unlocked: dict[str, str] = {}
"""Folders whose file system cannot lock files, and why."""

_swept: set[str] = set()
"""Folders in which this process has looked for leftovers."""


@contextmanager
def atomic_file(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A path to write to, of the same name in a hidden folder beside ``path``; renamed when the block ends.

    After an error ``path`` stays as it was.

    Args:
        path: replaced if it exists; its folder is created.
        durable: once the block has ended, the file survives a power failure; for what took hours to compute.

    Raises:
        DataError: the folder cannot be created or the file cannot be written.
    """
    with beside(path) as temporary:
        yield temporary
        if durable:
            sync_all(temporary)
        if temporary != path:
            temporary.replace(path)
        if durable:
            sync(path.parent)


@contextmanager
def atomic_folder(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A new empty folder in a hidden one beside ``path``; renamed when the block ends, removed after an error.

    Args:
        path: does not exist or is an empty folder; the folder above is created.
        durable: once the block has ended, the folder's files survive a power failure.

    Raises:
        DataError: the folder cannot be created or written, or ``path`` is not empty.
    """
    with atomic_file(path, durable=durable) as temporary:
        temporary.mkdir()
        yield temporary


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A path of the same name in a hidden folder beside ``path``; what is there when the block ends is removed.

    If ``path`` is in a hidden folder of this process already, it is ``path`` itself, removed after an error only.
    Errors of the system and messages of `LesionsplitError` name ``path``.

    Raises:
        DataError: the folder cannot be created, or the system reported an error.
    """
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        inside = not _alive.isdisjoint(path.parent.parts)  # nobody looks there: one hidden folder is enough
        with nullcontext(path.parent) if inside else temporary_folder(path.parent) as folder:
            temporary = folder / path.name
            try:
                yield temporary
            except BaseException as error:
                _delete(temporary)
                if isinstance(error, LesionsplitError):
                    rename(error, temporary, path)
                raise


def _delete(path: Path) -> None:
    """Remove a file, a link or a folder, as far as that is possible."""
    shutil.rmtree(path, ignore_errors=True)  # refuses files and links
    with suppress(OSError):
        path.unlink()


def rename(error: LesionsplitError, temporary: Path, path: Path) -> None:
    """Let a message name the place of a file, not where it was written."""
    error.args = tuple(str(one).replace(str(temporary), str(path)) for one in error.args)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A hidden folder, locked while this process lives, removed when the block ends.

    Leftovers of killed processes in ``parent`` are removed first.

    Raises:
        OSError: it cannot be created.
    """
    sweep(parent)
    folder, lock = _locked(parent)
    try:
        yield folder
    finally:
        _remove(folder, lock)
        _alive.discard(folder.name)


def sweep(parent: Path, *, again: bool = False) -> bool:
    """Remove the hidden folders that killed processes left in a folder.

    Args:
        parent: may be missing.
        again: look even if this process has looked there before.

    Returns:
        Whether there are hidden folders of other processes that may live; always False if it did not look.
    """
    others = False
    with _guard, suppress(OSError):
        place = os.path.realpath(parent)
        if place in _swept and not again:
            return False
        _swept.add(place)
        with os.scandir(parent) as entries:
            found = [one for one in entries if one.name.startswith(PREFIX) and one.name not in _alive]
        for one in found:
            if one.is_dir(follow_symlinks=False):
                others |= not (one.name.startswith(OURS) and _remove_if_dead(Path(one.path)))
    return others


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes and threads, that lock the same folder, from changing what is in it meanwhile.

    Where files cannot be locked, nobody waits for anybody.

    Args:
        folder: is created.

    Raises:
        DataError: the folder cannot be written to.
    """
    path = folder / LOCK
    with _naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            lock = _open_lock(path)
            if fcntl is not None:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                except OSError as error:  # some network file systems
                    _unlocked[os.path.realpath(folder)] = error.strerror or str(error)
            with suppress(OSError):
                if os.path.samestat(os.fstat(lock), path.lstat()):
                    break
            os.close(lock)  # the one who had it has removed it
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(lock)


def cannot_lock(folder: Path) -> str:
    """A line for the user if `locked` could not lock a folder; otherwise empty."""
    why = _unlocked.get(os.path.realpath(folder))
    if why is None:
        return ""
    return (
        f"{folder}: files cannot be locked there ({why}), so two calls at a time may lose results of each other; let "
        "one call at a time write to it"
    )


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | NO_LINK, 0o666)
    except PermissionError:  # a killed process of another user left it: who may read it can lock it
        if not path.exists():
            raise
        return os.open(path, os.O_RDONLY | NO_LINK)


def _locked(parent: Path) -> tuple[Path, int]:
    """A new hidden folder and the file descriptor of its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=OURS, dir=parent))
        _alive.add(folder.name)
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileNotFoundError:  # another process found it without a lock
            continue
        except OSError:  # no room, not even for an empty file
            folder.rmdir()
            raise
        if _lock(lock) is not False:
            with suppress(OSError):
                if os.path.samestat(os.fstat(lock), (folder / LOCK).lstat()):
                    return folder, lock
        os.close(lock)  # another process was quicker to lock it, and removes it


def _lock(file: int) -> bool | None:
    """Lock an open file: whether that succeeded, None where files cannot be locked."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems
        return None
    return True


def _remove_if_dead(folder: Path) -> bool:
    """Remove a hidden folder of another process unless that lives, or nobody can tell."""
    try:
        if hasattr(os, "geteuid") and folder.lstat().st_uid != os.geteuid():
            return False
        lock = os.open(folder / LOCK, os.O_RDWR | NO_LINK)
    except FileNotFoundError:  # not locked yet, or almost removed: only an empty folder goes
        with suppress(OSError):
            folder.rmdir()
        return not folder.exists()
    except OSError:
        return False
    if _lock(lock) is not True:
        os.close(lock)
        return False
    _remove(folder, lock)
    return True


def _remove(folder: Path, lock: int) -> None:
    """Remove a hidden folder, its lock last: if this process is killed now, the next one goes on."""
    with suppress(OSError):
        for entry in list(folder.iterdir()):
            if entry.name != LOCK:
                _delete(entry)
        (folder / LOCK).unlink()
    os.close(lock)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn an error of the system into one line that names what could not be written."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from None


def cannot_write(path: Path, error: OSError) -> DataError:
    """The error for a file or folder that could not be written, and what to do."""
    full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    advice = "choose another folder, or free some space" if full else "choose another folder"
    return DataError(f"{path}: cannot be written ({error.strerror or error}); {advice}")

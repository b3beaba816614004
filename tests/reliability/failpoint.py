"""Chosen points in the life of a command: before and after each change of the disk it is killed, or the disk fails.

    python -m tests.reliability.failpoint --at rename:3:before --signal KILL -- predict scan.nii.gz
    python -m tests.reliability.failpoint --at write:1:torn --error ENOSPC -- train slices/

The product knows nothing of this: functions of the standard library are replaced before it runs.
"""

from __future__ import annotations

import argparse
import builtins
import errno
import io
import mmap
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

When = Literal["before", "torn", "after"]
"""``torn``: of a write, the first half of it has happened."""

KINDS = ("open", "write", "truncate", "allocate", "map", "sync", "rename", "remove", "make")

ALLOCATING = ("open", "write", "truncate", "allocate", "rename", "make", "sync")
"""What a full disk refuses."""

_REAL = {
    "open": io.open,
    "kill": os.kill,
    "write": os.write,
    "truncate": os.ftruncate,
}


@dataclass(frozen=True)
class Point:
    """One event of a command, by its number among all of its kind (``any``: among all), from 0."""

    kind: str
    number: int
    when: When = "before"

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}:{self.when}"

    @classmethod
    def of(cls, text: str) -> Point:
        """From ``rename:3:before``."""
        kind, number, when = text.split(":")
        return cls(kind, int(number), when)  # type: ignore[arg-type]


@dataclass
class Failpoint:
    """Counts the events below a folder and acts at one of them."""

    root: Path
    at: Point | None = None
    signal: int | None = None
    error: int | None = None
    lasting: bool = False
    """Whether every later event that takes space fails too, as on a full disk."""

    events: list[tuple[str, str]] = field(default_factory=list)
    """Kind and path of what has happened."""

    reached: bool = False

    def __post_init__(self) -> None:
        self._root = os.path.realpath(self.root) + os.sep
        self._lock = threading.RLock()
        self._counts: dict[str, int] = {}

    def happen(self, kind: str, path: Any, act: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        """Let an event happen, unless this is the point."""
        name = _name(path)
        if not (os.path.realpath(name) + os.sep).startswith(self._root):
            return act()
        with self._lock:
            number = self._counts.get(kind, 0), len(self.events)
            self._counts[kind] = number[0] + 1
            self.events.append((kind, name))
            here = self._is_here(kind, *number)
            again = self.reached and self.lasting and kind in ALLOCATING
            if self.error is not None and here:
                self.reached = True
        when = self.at.when if here and self.at is not None else None
        if self.error is not None and (here or again):
            if when == "torn" and half is not None:
                half()
            raise OSError(self.error, os.strerror(self.error), name)
        if when == "before":
            self._strike()
        if when == "torn":
            if half is not None:
                half()
            self._strike()
        found = act()
        if when == "after":
            self._strike()
        return found

    def _is_here(self, kind: str, of_kind: int, of_all: int) -> bool:
        """Whether this event is the point.

        Threads change the order of events: a disk error of ``any`` comes at the first event from its number on that a
        disk can refuse.
        """
        if self.at is None or self.at.kind not in (kind, "any"):
            return False
        if self.at.kind == kind:
            return self.at.number == of_kind
        if self.error is None:
            return self.at.number == of_all
        return self.at.number <= of_all and kind in ALLOCATING and not self.reached

    def _strike(self) -> None:
        self.reached = True
        if self.signal is not None:
            _REAL["kill"](os.getpid(), self.signal)

    def install(self) -> None:
        """Replace the functions that change the disk, for the rest of this process."""
        happen = self.happen

        class File(io.FileIO):
            """A file whose writes are events."""

            def __init__(self, file: Any, mode: str, closefd: bool, opener: Any) -> None:
                happen("open", file, lambda: super(File, self).__init__(file, mode, closefd, opener))

            def write(self, data: Any) -> Any:
                view = memoryview(data).cast("B")
                write = super().write
                return happen("write", self.name, lambda: write(view), lambda: write(view[: len(view) // 2]))

            def truncate(self, size: int | None = None) -> Any:
                return happen("truncate", self.name, lambda: super(File, self).truncate(size))

        def opened(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
            opener: Any = None,
        ) -> Any:
            if not set(mode) & set("wax+"):
                return _REAL["open"](file, mode, buffering, encoding, errors, newline, closefd, opener)
            raw = File(file, mode.replace("b", "").replace("t", ""), closefd, opener)
            if buffering == 0:
                return raw
            kind = io.BufferedRandom if "+" in mode else io.BufferedWriter
            file = kind(raw, buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE)
            if "b" in mode:
                return file
            text = io.TextIOWrapper(file, encoding, errors, newline, line_buffering=buffering == 1)
            text.mode = mode  # type: ignore[misc]
            return text

        class Map(mmap.mmap):
            """A map of a file, which is an event."""

            def __new__(cls, fileno: int, *args: Any, **kwargs: Any) -> Map:
                if fileno < 0 or kwargs.get("access") == mmap.ACCESS_READ:
                    return super().__new__(cls, fileno, *args, **kwargs)
                make = super().__new__
                return happen("map", fileno, lambda: make(cls, fileno, *args, **kwargs))

        builtins.open = io.open = opened  # type: ignore[assignment]
        sys.modules["_io"].open = opened  # type: ignore[attr-defined]
        mmap.mmap = Map  # type: ignore[misc]
        for kind, names in {
            "rename": ("rename", "replace", "link"),
            "remove": ("unlink", "remove", "rmdir"),
            "make": ("mkdir",),
            "sync": ("fsync", "fdatasync"),
            "truncate": ("truncate", "ftruncate"),
            "allocate": ("posix_fallocate",),
            "write": ("write",),
        }.items():
            for name in names:
                if hasattr(os, name):
                    setattr(os, name, _event(self, kind, getattr(os, name)))
        accessor = getattr(pathlib, "_NormalAccessor", None)  # Python 3.10: paths have references of their own
        for name in ("open", "rename", "replace", "link", "unlink", "rmdir", "mkdir"):
            if hasattr(accessor, name):
                setattr(accessor, name, staticmethod(getattr(io if name == "open" else os, name)))


def _event(failpoint: Failpoint, kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def called(path: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("dir_fd") is not None and not isinstance(path, int):
            path_of_event: Any = Path(f"/proc/self/fd/{kwargs['dir_fd']}").resolve() / os.fsdecode(path)
        else:
            path_of_event = path
        return failpoint.happen(kind, path_of_event, lambda: real(path, *args, **kwargs))

    return called


def _name(path: Any) -> str:
    """The path of a file, also of a descriptor."""
    if isinstance(path, int):
        try:
            return str(Path(f"/proc/self/fd/{path}").readlink())
        except OSError:
            return ""
    return os.path.abspath(os.fsdecode(path))  # noqa: PTH100  which would follow links


def main() -> None:
    """Run a command of lesionsplit and fail at one point."""
    options = argparse.ArgumentParser(prog="python -m tests.reliability.failpoint", description=__doc__.splitlines()[0])
    options.add_argument("--at", type=Point.of, help="KIND:NUMBER:before, :torn or :after; by default nothing fails")
    options.add_argument("--signal", choices=("KILL", "TERM", "INT"))
    options.add_argument("--error", choices=("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES"))
    options.add_argument("--lasting", action="store_true", help="every later write fails too")
    options.add_argument("--root", type=Path, default=Path.cwd(), help="only events below this folder")
    options.add_argument("command", nargs="+", help="after --: the command and its options")
    given = options.parse_args()
    failpoint = Failpoint(
        given.root,
        given.at,
        signal=None if given.signal is None else getattr(signal, f"SIG{given.signal}"),
        error=None if given.error is None else getattr(errno, given.error),
        lasting=given.lasting,
    )
    failpoint.install()
    from lesionsplit.cli import main as lesionsplit

    sys.argv = ["lesionsplit", *given.command]
    try:
        lesionsplit()
    finally:
        if given.at is None:
            for number, (kind, path) in enumerate(failpoint.events):
                print(f"any:{number} {kind} {path}", file=sys.stderr)  # noqa: T201
        elif not failpoint.reached:
            print(f"{given.at} was not reached", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()

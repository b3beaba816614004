"""One trial each: a command that is killed at a point, or whose disk fails at one, and then called again."""

from __future__ import annotations

import csv
import errno
import io
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from .commands import Command, essence, half, reset, same, written
from .failpoint import ALLOCATING, Failpoint, Point
from .forked import Done, run
from .reader import UNFORESEEN

Fate = Literal["survived", "refused", "traceback", "hang", "lost", "wrong"]

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES)

ENDS = {signal.SIGKILL: (-9,), signal.SIGTERM: (-15, 130, 0)}
"""Exit codes after a signal: 0 where it came too late."""

PAGE = 4096
"""Bytes that a file of one byte takes."""

TABLES = ("predictions.csv", "cases.csv")

UNSTABLE = frozenset({"out/report.html", "out/table.csv", "out/table.md", "out/table.tex"})
"""Of a comparison: they have the speed of each method."""


@dataclass(frozen=True)
class Trial:
    """What was done and what became of it."""

    what: str
    fate: Fate
    said: str = ""

    @property
    def right(self) -> bool:
        """Whether nothing was lost and nothing is wrong."""
        return self.fate in ("survived", "refused")


@dataclass(frozen=True)
class Undisturbed:
    """A command that nothing disturbed."""

    command: Command
    folder: Path
    results: dict[str, bytes]
    events: tuple[tuple[str, str], ...]

    def differs(self, *, stopped: bool = False) -> str:
        """How what the folder holds now differs from the results; empty if it does not.

        A training that was ``stopped`` by SIGTERM, not killed, has measured once more.
        """
        unstable = UNSTABLE if self.command.name == "compare" else frozenset()
        measured = {name for name in self.results if stopped and name.endswith("metrics.csv")}
        return same(self.results, written(self.folder), unstable | measured)


@cache
def undisturbed(command: Command, folder: Path) -> Undisturbed:
    """Make the inputs and run the command.

    Raises:
        RuntimeError: it fails by itself.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "in").mkdir(parents=True)
    command.prepare(folder)
    reset(folder)
    done = run(command.words, folder)
    if done.code or done.log:
        raise RuntimeError(f"{command.name} fails undisturbed: {done.said}{done.log}")
    return Undisturbed(command, folder, written(folder), done.events)


def kill_points(events: Sequence[tuple[str, str]], count: int, seed: int = 0) -> Iterator[tuple[Point, int]]:
    """Points spread over the life of a command, and the signal at each: of three, two are SIGKILL."""
    rng = random.Random(seed)
    for number in range(count):
        index = min(len(events) - 1, int((number + rng.random()) * len(events) / count))
        sign = signal.SIGTERM if number % 3 == 2 else signal.SIGKILL
        torn = events[index][0] == "write" and sign == signal.SIGKILL  # after SIGTERM a write is finished
        yield Point("any", index, rng.choice(("before", "torn", "after") if torn else ("before", "after"))), sign


def fault_points(events: Sequence[tuple[str, str]], count: int, seed: int = 0) -> Iterator[tuple[Point, int, bool]]:
    """Points at which the disk refuses something, the error of each, and whether it goes on refusing."""
    rng = random.Random(seed)
    places = [index for index, (kind, _) in enumerate(events) if kind in ALLOCATING]
    for number in range(count):
        index = places[min(len(places) - 1, int((number + rng.random()) * len(places) / count))]
        error = ERRORS[0] if number % 2 == 0 else ERRORS[number // 2 % len(ERRORS)]
        torn = events[index][0] == "write" and rng.random() < 0.5
        yield Point("any", index, "torn" if torn else "before"), error, error in (errno.ENOSPC, errno.EDQUOT)


def killed(calm: Undisturbed, point: Point, sign: int) -> Trial | None:
    """Kill a command at a point and call it again; None: it ended before the point."""
    folder, command = calm.folder, calm.command
    reset(folder)
    done = run(command.words, folder, Failpoint(folder, point, signal=sign))
    what = f"{signal.Signals(sign).name} {point.when} {_event(calm, point)} (--at {point})"
    if done.code >= 0 and not done.reached:
        return None
    if found := _unforeseen(done):
        return Trial(what, *found)
    if done.code not in ENDS[signal.Signals(sign)]:
        return Trial(what, "wrong", f"exit code {done.code}: {done.said}")
    if wrong := half(folder):
        return Trial(what, "wrong", wrong)
    hidden = [name for name in written(folder) if "/." in name or name.startswith("tmp/")]
    if done.code >= 0 and (behind := [name for name in hidden if not name.endswith(("/", "-lock"))]):
        return Trial(what, "wrong", f"left behind by a process that ended itself: {behind[:3]}")
    return Trial(what, *_again(calm, stopped=sign == signal.SIGTERM))


def starved(calm: Undisturbed, point: Point, error: int, *, lasting: bool) -> Trial | None:
    """Let the disk fail at a point, then call the command again on a sound one; None: it ended before the point."""
    kept = _earlier(calm)
    failpoint = Failpoint(calm.folder, point, error=error, lasting=lasting)
    done = run(calm.command.words, calm.folder, failpoint)
    what = f"{errno.errorcode[error]} {point.when} {_event(calm, point)} (--at {point}{' --lasting' * lasting})"
    if not done.reached:
        return None
    return _after_fault(calm, done, kept, what, os.strerror(error))


def starved_by_size(calm: Undisturbed, place: str, size: int) -> Trial | None:
    """Run a command in a file system of few bytes, which then grows; None: such a file system cannot be made."""
    folder = calm.folder
    if shutil.which("mount") is None or os.geteuid() != 0:
        return None
    kept = _earlier(calm)
    here = {name: content for name, content in written(folder).items() if name.startswith(f"{place}/")}
    shutil.rmtree(folder / place, ignore_errors=True)
    (folder / place).mkdir()
    options = f"size={size + sum(2 * PAGE + len(content) // PAGE * PAGE for content in here.values()) + 4 * PAGE}"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder / place], capture_output=True).returncode:
        return None
    try:
        for name, content in here.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        done = run(calm.command.words, folder)
        what = f"{place}/ of {size} bytes"
        grow = ["mount", "-o", "remount,size=100m", folder / place]
        return _after_fault(calm, done, kept, what, os.strerror(errno.ENOSPC), grow)
    finally:
        subprocess.run(["umount", "-l", folder / place], check=True)


def _earlier(calm: Undisturbed) -> dict[str, bytes]:
    """The results of earlier calls, which are made now."""
    reset(calm.folder)
    for words in calm.command.before:
        done = run(words, calm.folder)
        assert done.code == 0, done.said
    return {name: content for name, content in written(calm.folder).items() if not name.startswith(("tmp", "home"))}


def _after_fault(
    calm: Undisturbed, done: Done, kept: dict[str, bytes], what: str, reason: str, grow: Sequence[object] = ()
) -> Trial:
    folder = calm.folder
    if found := _unforeseen(done):
        return Trial(what, *found)
    if done.code not in (0, 1, 2):
        return Trial(what, "lost" if done.code < 0 else "wrong", f"exit code {done.code}: {done.said}")
    if lost := _lost(kept, written(folder)):
        return Trial(what, "lost", f"{lost}: {done.said}")
    if wrong := half(folder):
        return Trial(what, "wrong", f"{wrong}: {done.said}")
    if done.code == 0 and (wrong := calm.differs()):
        return Trial(what, "wrong", f"exit code 0, but {wrong}: {done.said}")
    if done.code:
        told = [line for line in done.said.splitlines() if reason in line]
        if not any("/" in line or ": out: " in line for line in told):
            return Trial(what, "wrong", f"no line with a file and {reason!r}: {done.said}")
    if grow:
        subprocess.run(list(map(str, grow)), check=True)
    fate, said = _again(calm)
    return Trial(what, "refused" if done.code and fate == "survived" else fate, said or done.said)


def _again(calm: Undisturbed, *, stopped: bool = False) -> tuple[Fate, str]:
    """Call a command again that was stopped, and compare with the undisturbed results."""
    done = run(calm.command.next(calm.folder), calm.folder)
    if found := _unforeseen(done):
        return found[0], f"when called again: {found[1]}"
    differs = calm.differs(stopped=stopped)
    if not differs and (done.code == 0 or "exists already" in done.said):
        return "survived", ""
    if done.code:
        return "lost", f"when called again, exit code {done.code}: {done.said}"
    return "wrong", f"when called again: {differs}"


def _unforeseen(done: Done) -> tuple[Fate, str] | None:
    if done.hung:
        return "hang", done.said
    if done.log or any(mark in done.said for mark in ("Traceback (most recent", UNFORESEEN)) or done.code in (70, 99):
        return "traceback", done.said + done.log
    return None


def _lost(kept: dict[str, bytes], now: dict[str, bytes]) -> str:
    """Which earlier result is not there any more as it was."""
    for name, content in kept.items():
        if name.startswith("cache/"):
            continue
        if name not in now:
            return f"{name} is gone"
        if Path(name).name in TABLES:
            before, after = (
                list(csv.DictReader(io.StringIO(text.decode(), newline=""))) for text in (content, now[name])
            )
            if any(row not in after for row in before):
                return f"a row of {name} is gone"
        elif Path(name).name not in ("predictions.json", "lungs.png") and essence(name, content) != essence(
            name, now[name]
        ):
            return f"{name} has changed"
    return ""


def _event(calm: Undisturbed, point: Point) -> str:
    kind, path = calm.events[point.number] if point.number < len(calm.events) else (point.kind, "?")
    return f"{kind} {os.path.relpath(path, calm.folder)}"

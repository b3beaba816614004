"""Does the parts of a campaign in forked processes, some at a time, and counts what became of each trial."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .parts import Outcome, Part, temporary

QUIET = 240
"""Seconds without an outcome after which a process counts as hanging."""

COST = {"readers": 0.03, "kills": 1.5, "disks": 1.5}
"""Seconds of a trial, about: for the time that is left."""

ADDRESSES = 4 << 30
"""Bytes of address space that reading changed files may take beyond what the process has."""


@dataclass
class Tally:
    """What became of the trials of one kind."""

    group: str
    kind: str
    fates: Counter[str] = field(default_factory=Counter)
    faults: list[Outcome] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """How many trials there were."""
        return self.fates.total()


@dataclass
class _Worker:
    part: Part
    process: int
    log: Path
    skip: int
    seen: int = 0
    """Bytes of the log that were read."""

    last: float = 0.0
    current: int = 0
    """How many trials of the part were begun."""


def campaign(parts: Sequence[Part], jobs: int, tell: Callable[[int, int, float], None]) -> list[Tally]:
    """Do all parts.

    Args:
        parts: in any order.
        jobs: processes at a time.
        tell: called with the number of trials that are done and of all, and the share of the time that they take.

    Returns:
        A tally for each kind, in the order of the parts.
    """
    tallies = {(part.group, part.kind): Tally(part.group, part.kind) for part in parts}
    folder = temporary()
    total, done, spent = sum(part.count for part in parts), 0, 0.0
    whole = sum(part.count * COST[part.group] for part in parts)
    waiting = deque((part, 0) for part in sorted(parts, key=lambda part: COST[part.group], reverse=True))
    running: list[_Worker] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                part, skip = waiting.popleft()
                running.append(_begin(part, skip, folder / f"{len(waiting)}-{time.monotonic_ns()}"))
            time.sleep(0.05)
            for worker in list(running):
                few = _read(worker, tallies[worker.part.group, worker.part.kind])
                hung = time.monotonic() - worker.last > QUIET
                if hung:
                    os.killpg(worker.process, signal.SIGKILL)
                ended, status = os.waitpid(worker.process, 0 if hung else os.WNOHANG)
                if ended:
                    few += _read(worker, tallies[worker.part.group, worker.part.kind])
                done += few
                spent += few * COST[worker.part.group]
                if not ended:
                    continue
                running.remove(worker)
                if os.waitstatus_to_exitcode(status):  # the trial that was begun has ended the process
                    said = worker.log.with_suffix(".err").read_text(errors="replace")[-3000:]
                    fate = "hang" if hung else "crash"
                    lost = Outcome(worker.part.first + worker.current, fate, f"status {status}", said)
                    _count(tallies[worker.part.group, worker.part.kind], lost)
                    done += 1
                    if worker.current + 1 < worker.part.count:
                        waiting.appendleft((worker.part, worker.current + 1))
            tell(done, total, spent / whole)
    finally:
        for worker in running:
            with suppress(ProcessLookupError):
                os.killpg(worker.process, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
    return list(tallies.values())


def _begin(part: Part, skip: int, folder: Path) -> _Worker:
    folder.mkdir(parents=True)
    log = folder / "outcomes"
    log.touch()
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        _work(part, skip, folder, log)
    return _Worker(part, process, log, skip, last=time.monotonic(), current=skip)


def _work(part: Part, skip: int, folder: Path, log: Path) -> None:
    code = 98
    try:
        os.setsid()
        errors = os.open(log.with_suffix(".err"), os.O_WRONLY | os.O_CREAT)
        os.dup2(errors, 1)
        os.dup2(errors, 2)  # ITK and libtiff print what they think of a file
        if part.group == "readers":
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESSES, resource.RLIM_INFINITY))
        with log.open("a", buffering=1) as file:
            for outcome in part.outcomes(folder, skip):
                file.write(json.dumps(asdict(outcome)) + "\n")
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _read(worker: _Worker, tally: Tally) -> int:
    """Count the outcomes that a process has written since the last time."""
    with worker.log.open("rb") as file:
        file.seek(worker.seen)
        lines = file.read()
    whole = lines[: lines.rfind(b"\n") + 1]
    worker.seen += len(whole)
    outcomes = [Outcome(**json.loads(line)) for line in whole.splitlines()]
    for outcome in outcomes:
        _count(tally, outcome)
        worker.current = outcome.number - worker.part.first + 1
        worker.last = time.monotonic()
    return len(outcomes)


def _count(tally: Tally, outcome: Outcome) -> None:
    tally.fates[outcome.fate] += 1
    if outcome.fate not in ("survived", "refused"):
        tally.faults.append(outcome)

"""A kind of file, what reads it, and what happens to one that was changed."""

from __future__ import annotations

import resource
import shutil
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lesionsplit.errors import LesionsplitError

from .mutate import Change, Ops, mutant
from .seeds import Seed

SECONDS = 20.0
"""Longest time for one changed file of a few kilobytes."""

MEBIBYTES = 1500
"""How much the memory of the process may grow while one is read."""

UNFORESEEN = "unforeseen error"
"""In the line about an error of a kind that nobody foresaw."""

Fate = Literal["read", "refused", "traceback", "hang", "memory", "wrong"]
"""What became of a changed file; the first two are right."""


@dataclass(frozen=True)
class Reader:
    """A kind of file that people or killed processes may leave broken."""

    name: str
    seeds: Callable[[], list[Seed]]
    """Whole files, made once."""

    read: Callable[[Path], str]
    """Reads the changed file; what is wrong with the result, or an empty text."""

    change: Change | None
    """Changes of this format; None: bytes only."""

    fresh: bool = False
    """Whether reading changes files, so that all are written again each time."""


@dataclass(frozen=True)
class Attempt:
    """One changed file and what became of it."""

    fate: Fate
    said: str
    """The line, what is wrong, or the traceback."""

    @property
    def right(self) -> bool:
        """Whether it was read as something valid, or refused with one line."""
        return self.fate in ("read", "refused")


def attempt(reader: Reader, seed: Seed, ops: Ops, *, structured: bool, folder: Path) -> Attempt:
    """Change a seed and read it, in a folder that holds the seed's files."""
    data = mutant(seed.files[seed.target], reader.change if structured else None, ops)
    if reader.fresh or not folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        seed.place(folder)
    path = folder / seed.target
    path.write_bytes(data)
    return observed(reader.read, path)


def observed(read: Callable[[Path], str], path: Path) -> Attempt:
    """What becomes of a file."""
    before, start = _peak(), time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a command shows none
            wrong = read(path)
        found = Attempt("wrong", wrong) if wrong else Attempt("read", "")
    except LesionsplitError as error:
        line = str(error)
        found = Attempt("refused", line) if line and "\n" not in line else Attempt("wrong", f"not one line: {line!r}")
        if UNFORESEEN in line:  # caught for one item of a batch, but a fault
            found = Attempt("traceback", "".join(traceback.format_exception(error)))
    except Exception:
        found = Attempt("traceback", traceback.format_exc())
    if (seconds := time.monotonic() - start) > SECONDS:
        return Attempt("hang", f"{seconds:.0f} s")
    if (grown := _peak() - before) > MEBIBYTES:
        return Attempt("memory", f"{grown} MiB more")
    return found


def _peak() -> int:
    """MiB of memory that this process has used at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def seed_of(reader: Reader, number: int) -> Seed:
    """One of a reader's seeds."""
    seeds: Sequence[Seed] = reader.seeds()
    return seeds[number % len(seeds)]

"""The parts of a campaign: some changed files of a kind, some kills or some faults of a command."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .commands import COMMANDS, Command
from .mutate import Op
from .reader import Reader, attempt, seed_of
from .readers_of_scans import SCANS
from .readers_of_state import STATE
from .trials import Trial, fault_points, kill_points, killed, starved, starved_by_size, undisturbed

READERS: tuple[Reader, ...] = (*SCANS, *STATE)

Group = Literal["readers", "kills", "disks"]

SIZED = ("predict slices", "predict volumes", "train", "phantom")
"""Commands that are run in file systems of few bytes."""


@dataclass(frozen=True)
class Outcome:
    """One of a part, for the table."""

    number: int
    fate: str
    what: str
    said: str


@dataclass(frozen=True)
class Part:
    """A number of trials of one kind, which one process does."""

    group: Group
    kind: str
    first: int
    count: int
    of: int
    """How many the whole campaign has of this kind."""

    def outcomes(self, folder: Path, skip: int = 0) -> Iterator[Outcome]:
        """Do them one after the other, without the first ``skip``; those that end before their point are left out."""
        todo = range(self.first + skip, self.first + self.count)
        if self.group == "readers":
            (reader,) = (one for one in READERS if one.name == self.kind)
            for number in todo:
                yield changed_file(reader, number, folder)
            return
        (command,) = (one for one in COMMANDS if one.name == self.kind)
        calm = undisturbed(command, folder / command.name.replace(" ", "-"))
        trials = _kills(command, folder, self.of) if self.group == "kills" else _faults(command, folder, self.of)
        for number in todo:
            trial = trials[number]() if number < len(trials) else None
            if trial is not None:
                yield Outcome(number, trial.fate, trial.what, trial.said)
        del calm


def changed_file(reader: Reader, number: int, folder: Path) -> Outcome:
    """The changed file of a number: the same in each campaign."""
    rng = random.Random(f"{reader.name}{number}")
    seed = seed_of(reader, rng.randrange(1 << 16))
    ops = [
        Op(rng.randrange(1 << 16), rng.randrange(1 << 31), rng.randrange(1 << 31))
        for _ in range(rng.choice((1, 1, 2, 3)))
    ]
    place = folder / reader.name.replace(" ", "-").replace(":", "") / seed.name.replace("/", "-").replace(" ", "-")
    found = attempt(reader, seed, ops, structured=rng.random() < 0.6, folder=place)
    fate = "survived" if found.fate == "read" else found.fate
    return Outcome(
        number, fate, f"{seed.name}, python -m tests.reliability --only '{reader.name}' --number {number}", found.said
    )


def _kills(command: Command, folder: Path, count: int) -> list[Callable[[], Trial | None]]:
    calm = undisturbed(command, folder / command.name.replace(" ", "-"))
    return [lambda point=point, sign=sign: killed(calm, point, sign) for point, sign in kill_points(calm.events, count)]


def _faults(command: Command, folder: Path, count: int) -> list[Callable[[], Trial | None]]:
    calm = undisturbed(command, folder / command.name.replace(" ", "-"))
    sized = count // 4 if command.name in SIZED else 0
    trials: list[Callable[[], Trial | None]] = [
        lambda point=point, error=error, lasting=lasting: starved(calm, point, error, lasting=lasting)
        for point, error, lasting in fault_points(calm.events, count - sized)
    ]
    for number in range(sized):
        place = "tmp" if number % 4 == 3 and command.name == "predict volumes" else "out"
        need = sum(len(content) for name, content in calm.results.items() if name.startswith("out/")) or 1
        size = int((200_000 if place == "tmp" else need) * (number + 0.5) / sized)
        trials.append(lambda place=place, size=size: starved_by_size(calm, place, size))
    return trials


def temporary() -> Path:
    """A new folder for the files of a campaign."""
    return Path(tempfile.mkdtemp(prefix="lesionsplit-campaign-"))

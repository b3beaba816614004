"""The reliability campaign: `make campaign`, or `python -m tests.reliability` at the repository's root.

Changes files of every kind and reads them, kills commands at chosen points, lets their disk fail; then each command is
called again and must end with the same results. Exit code 1 if anything was lost, wrong, or not refused in one line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import click

from .forked import THREADS, import_everything

PIECE = {"readers": 200, "kills": 40, "disks": 40}
"""Trials that one process does, one after the other."""


def main() -> int:
    options = argparse.ArgumentParser(
        prog="python -m tests.reliability",
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    options.add_argument("--readers", type=int, default=600, metavar="N", help="changed files of each kind")
    options.add_argument("--kills", type=int, default=60, metavar="N", help="points at which each command is killed")
    options.add_argument("--disks", type=int, default=30, metavar="N", help="faults of the disk of each command")
    options.add_argument("--only", nargs="+", metavar="TEXT", help="kinds and commands whose name has one of these")
    options.add_argument("--number", type=int, help="with --only KIND: this changed file alone, with what was said")
    options.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time")
    options.add_argument("--docs", type=Path, help="a page between whose marks the tables are put")
    options.add_argument("--json", type=Path, help="a file for the counts and every fault")
    given = options.parse_args()
    if any(os.environ.get(name) != value for name, value in THREADS.items()):  # numpy reads them when it is imported
        os.execve(sys.executable, [sys.executable, "-m", "tests.reliability", *sys.argv[1:]], {**os.environ, **THREADS})  # noqa: S606
    import_everything()
    from .campaign import campaign
    from .parts import COMMANDS, READERS, Part, changed_file, temporary
    from .readers_of_state import world
    from .table import markdown, put_between

    names = {
        "readers": [one.name for one in READERS],
        "kills": [one.name for one in COMMANDS],
        "disks": [one.name for one in COMMANDS],
    }
    world()
    if given.number is not None:
        for reader in READERS:
            if any(text in reader.name for text in given.only or ()):
                folder = temporary()
                click.echo(changed_file(reader, given.number, folder))
                shutil.rmtree(folder)
        return 0
    parts = []
    for group, piece in PIECE.items():
        count = getattr(given, group)
        for name in names[group]:
            if given.only is None or any(text in name for text in given.only):
                parts += [
                    Part(group, name, first, min(piece, count - first), count) for first in range(0, count, piece)
                ]
    start = time.monotonic()
    tallies = campaign(parts, given.jobs, _progress(start))
    seconds = time.monotonic() - start
    text = markdown(tallies, seconds)
    click.echo(text)
    for tally in tallies:
        for fault in tally.faults[:20]:
            click.echo(f"{tally.group}, {tally.kind}: {fault.fate}: {fault.what}\n    {fault.said[-1500:]}", err=True)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        found = [
            {
                "group": tally.group,
                "kind": tally.kind,
                "tried": tally.tried,
                "fates": dict(tally.fates),
                "faults": [asdict(fault) for fault in tally.faults],
            }
            for tally in tallies
        ]
        given.json.write_text(json.dumps({"seconds": seconds, "tallies": found}, indent=1))
    if given.docs:
        put_between(given.docs, text)
    return 1 if any(tally.faults for tally in tallies) else 0


def _progress(start: float) -> Callable[[int, int, float], None]:
    last, terminal = [start], sys.stderr.isatty()

    def tell(done: int, total: int, share: float) -> None:
        now = time.monotonic()
        if done and now - last[0] > (1 if terminal else 30):
            last[0] = now
            left = timedelta(seconds=round((now - start) / share * (1 - share)))
            click.echo(f"{chr(13) * terminal}{done} of {total}, {left} left ", nl=not terminal, err=True)

    return tell


if __name__ == "__main__":
    sys.exit(main())

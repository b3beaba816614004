"""Commands that are killed or whose disk fails end with the same results when they are called again: the short form.

`make campaign` does the long one. Both run `python -m tests.reliability`, whose single-threaded process is forked.
"""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .failpoint import Failpoint, Point
from .seeds import ROOT
from .table import BEGIN, COLUMNS, END, markdown, put_between

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the harness reads /proc")

COMMANDS = 7
TRIED = 4
"""Commands that have a chosen point, at least: some points are not reached."""


@pytest.fixture(scope="module")
def tallies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """A kill and a fault of the disk for each command: what came of them, by group."""
    path = tmp_path_factory.mktemp("campaign") / "found.json"
    options = ["--readers", "0", "--kills", "1", "--disks", "1", "--jobs", "1", "--json", str(path)]
    command = [sys.executable, "-m", "tests.reliability", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found = json.loads(path.read_text())["tallies"]
    return {group: [one for one in found if one["group"] == group] for group in ("kills", "disks")}


@pytest.mark.timeout(900)  # a minute where nothing else runs
def test_killed_commands_end_the_same(tallies: dict[str, list[dict[str, Any]]]) -> None:
    assert len(tallies["kills"]) == COMMANDS
    assert sum(one["fates"].get("survived", 0) for one in tallies["kills"]) >= TRIED


@pytest.mark.timeout(900)
def test_a_failing_disk_loses_nothing(tallies: dict[str, list[dict[str, Any]]]) -> None:
    assert len(tallies["disks"]) == COMMANDS
    fates = [one["fates"] for one in tallies["disks"]]
    assert sum(one.get("refused", 0) + one.get("survived", 0) for one in fates) >= TRIED


def child(tmp_path: Path, code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run some code with a failpoint."""
    text = (
        "import os, sys\nfrom pathlib import Path\nfrom tests.reliability.failpoint import Failpoint, Point\n"
        f"point = Failpoint(Path({str(tmp_path)!r}), **{options!r})\n"
        "point.at = Point.of(point.at) if point.at else None\npoint.install()\n"
        f"folder = Path({str(tmp_path)!r})\n{code}\n"
        "print([(kind, Path(path).name) for kind, path in point.events])\n"
    )
    return subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True)


WRITE = "(folder / 'a').write_bytes(b'12345678')\n(folder / 'a').rename(folder / 'b')"


def test_what_changes_the_disk_is_seen(tmp_path: Path) -> None:
    done = child(
        tmp_path,
        "import mmap\n" + WRITE + "\n(folder / 'b').open('a').close()\n(folder / 'c').mkdir()\n"
        "file = os.open(folder / 'b', os.O_RDWR)\nos.fsync(file)\nos.posix_fallocate(file, 0, 99)\n"
        "held = mmap.mmap(file, 9)\nos.close(file)\n(folder / 'b').unlink()\n(folder / 'c').rmdir()\n"
        "open('/dev/null', 'w').write('elsewhere')",
    )
    assert done.stdout.strip() == str(
        [
            ("open", "a"), ("write", "a"), ("rename", "a"), ("open", "b"), ("make", "c"), ("sync", "b"),
            ("allocate", "b"), ("map", "b"), ("remove", "b"), ("remove", "c"),
        ]
    ), done.stderr  # fmt: skip


@pytest.mark.parametrize(
    ("at", "left"),
    [
        ("open:0:before", {}),
        ("open:0:after", {"a": b""}),
        ("write:0:before", {"a": b""}),
        ("write:0:torn", {"a": b"1234"}),
        ("write:0:after", {"a": b"12345678"}),
        ("rename:0:before", {"a": b"12345678"}),
        ("any:2:after", {"b": b"12345678"}),
    ],
)
def test_a_process_dies_at_its_point(at: str, left: dict[str, bytes], tmp_path: Path) -> None:
    done = child(tmp_path, WRITE, at=at, signal=int(signal.SIGKILL))
    assert done.returncode == -signal.SIGKILL
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == left


def test_a_full_disk_stays_full(tmp_path: Path) -> None:
    code = (
        "for name in 'abc':\n    try:\n        (folder / name).write_bytes(b'x' * 9)\n"
        "    except OSError as error:\n        print(name, error.errno, Path(error.filename).name)"
    )
    done = child(tmp_path, code, at="write:1:torn", error=errno.ENOSPC, lasting=True)
    assert done.stdout.splitlines()[:2] == [f"b {errno.ENOSPC} b", f"c {errno.ENOSPC} c"]
    assert (tmp_path / "a").read_bytes() == b"x" * 9
    done = child(tmp_path, code, at="write:1:before", error=errno.EIO)
    assert done.stdout.splitlines()[0] == f"b {errno.EIO} b"
    assert (tmp_path / "c").read_bytes() == b"x" * 9


def test_a_disk_error_waits_for_what_takes_space(tmp_path: Path) -> None:
    code = (
        "(folder / 'a').touch()\n(folder / 'a').unlink()\n"
        "for name in 'bc':\n    try:\n        (folder / name).mkdir()\n"
        "    except OSError as error:\n        print(error.errno, Path(error.filename).name)"
    )
    done = child(tmp_path, code, at="any:1:before", error=errno.EIO)
    assert done.stdout.splitlines()[0] == f"{errno.EIO} b", done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_point_is_read_as_it_is_written() -> None:
    assert str(Point.of("rename:3:after")) == "rename:3:after"
    assert Failpoint(Path("/nowhere")).happen("open", "/elsewhere", lambda: 5) == 5


def test_the_table_counts_every_fate(tmp_path: Path) -> None:
    from collections import Counter

    from .campaign import Tally

    one = Tally("kills", "train", Counter(survived=5, hang=1, crash=2, lost=1))
    text = markdown([one, Tally("kills", "lungs", Counter(survived=3, refused=2))], 90)
    assert "| train | 9 | 5 | 0 | 0 | 3 | 1 | 0 |" in text
    assert "| **all** | 14 | 8 | 2 | 0 | 3 | 1 | 0 |" in text
    assert f"| kind | tried | {' | '.join(COLUMNS)} |" in text
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_between(page, text)
    assert page.read_text() == f"before\n{BEGIN}\n{text.rstrip()}\n{END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="no marks"):
        put_between(page, text)

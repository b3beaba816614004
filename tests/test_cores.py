from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lesionsplit import cores


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "_chosen", None)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({}, 8),
        ({"": "max 100000"}, 8),
        ({"": "200000 100000"}, 2),
        ({"": "150000 100000"}, 2),  # a share of a core is used by a thread of its own
        ({"": "50000 100000"}, 1),
        ({"": "1600000 100000"}, 8),
        ({"": "400000 100000", "docker": "max 100000", "docker/abc": "300000 100000"}, 3),  # the lowest of all
        ({"": "broken"}, 8),
    ],
)
def test_a_containers_share_of_the_processor(
    shares: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for group, text in shares.items():
        (tmp_path / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / group / "cpu.max").write_text(f"{text}\n")
    monkeypatch.setattr(cores, "CGROUP", tmp_path)
    monkeypatch.setattr(Path, "read_text", _pretending(max(shares, key=len, default=""), Path.read_text))
    assert cores.available() == cores.threads() == expected


def test_what_was_chosen_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cores, "CGROUP", tmp_path)
    cores.use(5)
    assert cores.threads() == 5
    assert cores.available() == 8
    cores.use(None)
    assert cores.threads() == 8


def test_where_there_is_no_affinity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cores, "CGROUP", tmp_path)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores.available() == 6


def test_threads_spin_briefly_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    cores.spin_briefly()
    assert os.environ["GOMP_SPINCOUNT"] == cores.SPINS
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    cores.spin_briefly()
    assert "GOMP_SPINCOUNT" not in os.environ


def test_pytorch_that_is_loaded_later_has_as_many_threads() -> None:
    code = (
        "from lesionsplit.runtime import Runtime; Runtime(threads=1).begin(); import torch; torch.set_num_threads(2); "
        "from lesionsplit.models.open_engine import open_engine; open_engine(None, 'torch', 'cpu'); "
        "print(torch.get_num_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr


def _pretending(group: str, really):
    """`Path.read_text` that states another control group of this process."""

    def read(path: Path, *args, **kwargs):
        return f"0::/{group}\n" if path == Path("/proc/self/cgroup") else really(path, *args, **kwargs)

    return read

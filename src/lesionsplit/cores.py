"""How many threads the process works with: no more than the cores that it may use."""

from __future__ import annotations

import math
import os
import sys
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux states the share of the processor that a container or a service may use."""

SPINS = "20000"
"""Rounds of waiting awake: some 50 microseconds, as long as a layer's threads usually wait for each other."""

_chosen: int | None = None


def use(threads: int | None) -> None:
    """Work with so many threads from now on; None: as many as `available`."""
    global _chosen
    _chosen = threads
    if "torch" in sys.modules:
        set_those_of_torch()


def set_those_of_torch() -> None:
    """Have PyTorch, which is loaded, work with as many; by itself it does not see a container's share."""
    torch = sys.modules["torch"]
    if _chosen is not None or available() < torch.get_num_threads():
        torch.set_num_threads(threads())


def spin_briefly() -> None:
    """Have threads of OpenMP, which PyTorch starts, spin for a moment only while they wait for each other, then sleep.

    Beside other processes, threads that spin take the core that another thread of the same process waits for. It must
    be called before PyTorch is loaded; what the environment says already is kept.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS


def threads() -> int:
    """How many threads to work with."""
    return _chosen or available()


def available() -> int:
    """The cores that the process may use: those that it is bound to, and no more than its container's share of them."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota())))


def _quota() -> float:
    """The lowest share of the processor, in cores, of the process's control groups (cgroup v2)."""
    with suppress(OSError, ValueError):
        group = Path("/proc/self/cgroup").read_text().partition("0::/")[2].strip()
        here = CGROUP / group
        return min(_share(folder) for folder in (here, *here.parents) if folder.is_relative_to(CGROUP))
    return math.inf


def _share(folder: Path) -> float:
    """What ``cpu.max`` allows: microseconds of work in each period, or ``max``."""
    with suppress(OSError, ValueError):
        work, period = (folder / "cpu.max").read_text().split()
        return int(work) / int(period)
    return math.inf

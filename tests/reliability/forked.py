"""Runs commands in children of one process that has imported everything: tens of milliseconds instead of seconds."""

from __future__ import annotations

import json
import os
import pkgutil
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from .failpoint import Failpoint

SECONDS = 90
"""After which a command counts as hanging."""

THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Set before numpy is imported: a process with threads cannot be forked safely."""


WITHOUT = ("torch.utils.tensorboard", "matplotlib")
"""Optional packages that are hidden: one writes from a thread of its own, the other takes seconds."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    """The exit code; negative: the signal that ended it."""

    said: str
    """What it printed."""

    events: tuple[tuple[str, str], ...]
    reached: bool
    hung: bool = False
    log: str = ""
    """Traces of unforeseen errors."""


def import_everything() -> None:
    """Import every module of the package, and what commands import when they need it; PyTorch gets one thread."""
    import torch

    import lesionsplit

    torch.set_num_threads(1)
    for name in WITHOUT:
        sys.modules[name] = None  # type: ignore[assignment]
    for module in pkgutil.walk_packages(lesionsplit.__path__, "lesionsplit."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError):  # figures
                import_module(module.name)
    for name in ("SimpleITK", "highdicom", "highdicom.seg", "highdicom.pm", "highdicom.sr"):
        import_module(name)


def run(arguments: Sequence[str], folder: Path, failpoint: Failpoint | None = None) -> Done:
    """Run ``lesionsplit ARGUMENTS`` in a child, in a folder that is its home and has its temporary files."""
    failpoint = failpoint or Failpoint(folder)
    for name in ("tmp", "home"):
        (folder / name).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lesionsplit-harness-") as outside:
        said, told = Path(outside) / "said", Path(outside) / "told"
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            _child(arguments, folder, failpoint, said, told)
        code, hung = _wait(child)
        facts = json.loads(told.read_text()) if told.is_file() else {"events": [], "reached": True}
        return Done(
            code=code,
            said=said.read_text(errors="replace"),
            events=tuple((kind, path) for kind, path in facts["events"]),
            reached=facts["reached"],
            hung=hung,
            log=_log(folder),
        )


def _child(arguments: Sequence[str], folder: Path, failpoint: Failpoint, said: Path, told: Path) -> None:
    code = 99
    try:
        os.setsid()
        os.chdir(folder)
        os.environ.update(HOME=str(folder / "home"), TMPDIR=str(folder / "tmp"), XDG_STATE_HOME=str(folder / "state"))
        os.environ["XDG_CACHE_HOME"] = str(folder / "home" / "cache")
        tempfile.tempdir = None
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.argv = ["lesionsplit", *map(str, arguments)]
        write = told.write_text
        failpoint.install()
        from lesionsplit.cli import main

        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        sys.stdout.flush()
        sys.stderr.flush()
        threading._shutdown()  # type: ignore[attr-defined]  # Python waits for threads at its end, `os._exit` does not
        failpoint.at = None
        failpoint.error = None
        write(json.dumps({"events": failpoint.events, "reached": failpoint.reached}))
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _wait(child: int) -> tuple[int, bool]:
    start, pause = time.monotonic(), 0.002
    while time.monotonic() - start < SECONDS:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status), False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -9, True


def _log(folder: Path) -> str:
    """The traces that the command has kept; they are taken away."""
    found = "".join(path.read_text(errors="replace") for path in sorted((folder / "state").rglob("*.log*")))
    shutil.rmtree(folder / "state", ignore_errors=True)
    return found

"""Trains what a study wants and nobody has trained yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lesionsplit.errors import RunError
from lesionsplit.progress import Progress, silent
from lesionsplit.study.plan import Planned
from lesionsplit.training.train import Watch, train


def train_missing(
    planned: Sequence[Planned],
    data: Path,
    *,
    cache: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress = silent,
    watch: Watch = lambda _: lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> bool:
    """Train, one after the other, what is not yet trained; what was stopped goes on from its checkpoint.

    Args:
        planned: trainings of a study.
        data: the data set of all of them.
        cache: where prepared slices are kept.
        device: as for `lesionsplit.training.train.train`.
        threads: of the CPU.
        progress: shows preparation and thresholds.
        watch: of a run, who is told of its measurements.
        say: is told which training begins.

    Returns:
        False: stopped by Ctrl-C or SIGTERM; called again, it goes on.

    Raises:
        DataError, RunError, SettingsError: see their messages. Every run is checked before the first is trained.
    """
    for one in planned:
        _same_folder(one, data)
    todo = [one for one in planned if not one.finished()]
    if len(todo) < len(planned):
        say(f"{len(planned) - len(todo)} of {len(planned)} trained already")
    for number, one in enumerate(todo, 1):
        say(f"training {number} of {len(todo)}: {one.label}, in {one.folder}")
        trained = train(
            one.open(),
            data,
            cache=cache,
            device=device,
            threads=threads,
            progress=progress,
            watch=watch,
            say=say,
        )
        if not trained.finished:
            return False
    return True


def _same_folder(planned: Planned, data: Path) -> None:
    """Refuse a run of another data set, which `train` would find out only for those that it goes on with."""
    before = planned.open().facts().get("data", str(data.resolve()))
    if before != str(data.resolve()):
        raise RunError(
            f"{planned.folder}: was trained on {before}, and this is {data}; give another --out, or that data set"
        )

"""Compares methods: trains what is missing, scores everything on the same slices and writes one report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lesionsplit.comparison.examples import examples_of
from lesionsplit.comparison.plan import plan, train_missing
from lesionsplit.comparison.result import Comparison
from lesionsplit.comparison.scoring import prepare_entries, score_entries, with_speed
from lesionsplit.comparison.settings import ComparisonSettings, EntrySettings, read_comparison
from lesionsplit.data.table import Table, read_table
from lesionsplit.report.comparison.report import write_comparison
from lesionsplit.runtime import Runtime
from lesionsplit.training.train import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is compared, on which data."""

    config: ComparisonSettings
    entries: tuple[EntrySettings, ...]
    data: Path
    table: Table
    """The whole data set."""

    out: Path
    """Folder for the runs and the report."""


def compare(
    config: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    only: Sequence[str] = (),
    train_only: bool = False,
    runtime: Runtime = Runtime(),
) -> Comparison | None:
    """Train and score methods side by side, and write one report.

    Trained runs are kept, so a comparison that was stopped continues, and a new entry is trained alone.

    Args:
        config: a .toml file, or the name of a comparison of the package.
        data: a folder with ``slices.csv`` that has columns ``mask_<annotator>``.
        out: folder for the runs and the report.
        only: names of entries; only these and the reference are trained and scored. All by default.
        train_only: train, but do not score.
        runtime: device, threads, engine and progress.

    Returns:
        The numbers and the counts behind them; None after ``train_only``, or where the training was stopped.

    Raises:
        DataError, RunError, SettingsError, WeightsError: see their messages.
    """
    planned = plan_comparison(config, data, out, only)
    if not train_entries(planned, runtime=runtime) or train_only:
        return None
    return score_and_report(planned, runtime)


def plan_comparison(config: str | Path, data: str | Path, out: str | Path, only: Sequence[str] = ()) -> Plan:
    """Read a comparison and its data set; see `compare`.

    Raises:
        DataError, SettingsError: see their messages.
    """
    settings = read_comparison(str(config))
    entries = settings.chosen(tuple(only))
    table = read_table(Path(data))
    settings.check(table)
    return Plan(config=settings, entries=entries, data=Path(data), table=table, out=Path(out))


def train_entries(
    planned: Plan, *, cache: Path | None = None, watch: Watch = lambda _: lambda _: None, runtime: Runtime = Runtime()
) -> bool:
    """Train what is not trained yet; see `train_missing`."""
    runtime.begin()
    runs = plan(planned.config, planned.entries, planned.out)
    return train_missing(runs, planned.data, cache=cache, runtime=runtime, watch=watch)


def score_and_report(planned: Plan, runtime: Runtime = Runtime()) -> Comparison:
    """Score trained entries and write the report.

    Raises:
        DataError, RunError, SettingsError, WeightsError: see their messages.
    """
    table = planned.table.split(planned.config.split)
    entries = prepare_entries(planned.config, planned.entries, planned.table, planned.out, runtime)
    entries = tuple(with_speed(one, table) for one in entries)
    comparison = score_entries(planned.config, entries, table, runtime)
    for path in write_comparison(planned.out, comparison, examples_of(comparison), runtime.progress):
        runtime.say(str(path))
    return comparison

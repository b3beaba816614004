"""The runs of a comparison: the settings and the folder of each entry and seed, and their training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from lesionsplit.comparison.settings import ComparisonSettings, EntrySettings
from lesionsplit.errors import RunError, SettingsError
from lesionsplit.runtime import Runtime
from lesionsplit.settings import merged, read_settings, to_table
from lesionsplit.training.run import SETTINGS, Run, RunSettings, read_config_table
from lesionsplit.training.run import settings_of as changed_settings
from lesionsplit.training.train import Watch, train_run


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One training of a comparison."""

    entry: EntrySettings
    seed: int
    settings: RunSettings
    folder: Path

    @property
    def label(self) -> str:
        """Entry and seed in words, for progress."""
        return f"{self.entry.name}, seed {self.seed}"

    def open(self) -> Run:
        """The run, new or continued.

        Raises:
            RunError: the folder has a run with other settings, or files of something else.
        """
        if not (self.folder / SETTINGS).is_file():
            return Run.create(self.folder, self.settings)
        found = read_settings(RunSettings, self.folder / SETTINGS)
        differing = [
            f"{key} is {was!r} there and {now!r} in the comparison"
            for key, (was, now) in _differences(to_table(found), to_table(self.settings)).items()
            if key not in MAY_DIFFER
        ]
        if found.training.steps > self.settings.training.steps:
            differing.append(
                f"training.steps is {found.training.steps} there and {self.settings.training.steps} in the comparison"
            )
        if differing:
            raise RunError(
                f"{self.folder}: was trained with other settings than the comparison's: {'; '.join(differing[:3])}"
                f"{f' and {len(differing) - 3} more' if len(differing) > 3 else ''}; give another --out, or move the "
                "run away"
            )
        return Run.open(self.folder, steps=self.settings.training.steps)

    def finished(self) -> bool:
        """Whether the run has weights after all steps of the comparison."""
        return self.open().finished()


MAY_DIFFER = frozenset({"training.steps", "training.log_every", "training.checkpoint_every", "training.picture_every"})
"""Settings that do not change what is learnt; a run may be continued to more steps."""


def plan(config: ComparisonSettings, entries: tuple[EntrySettings, ...], out: Path) -> tuple[Planned, ...]:
    """Every training that some entries of a comparison need; teachers and networks that others read come first.

    Raises:
        SettingsError: a setting is unknown or not allowed; the message names the entry.
    """
    wanted = [config.named(entry.reads or entry.name) for entry in entries]
    trained = [entry for entry in wanted if entry.trained]
    teachers = [teacher for entry in trained for teacher in teachers_of(config, entry)]
    return tuple(
        Planned(
            entry=entry,
            seed=seed,
            settings=_with_teachers(config, settings_of(config, entry, seed), seed, out),
            folder=run_folder(out, entry, seed),
        )
        for entry in {one.name: one for one in (*teachers, *trained)}.values()
        for seed in config.seeds_of(entry)
    )


def train_missing(
    planned: Sequence[Planned],
    data: Path,
    *,
    cache: Path | None = None,
    runtime: Runtime = Runtime(),
    watch: Watch = lambda _: lambda _: None,
) -> bool:
    """Train what is not trained yet, one run after the other; a stopped run continues from its checkpoint.

    Args:
        planned: the runs of a comparison.
        data: the data set of all of them.
        cache: where prepared slices are stored.
        runtime: device, threads, progress and messages.
        watch: for a run, the function that receives its measurements.

    Returns:
        False: stopped by Ctrl-C or SIGTERM; another call continues.

    Raises:
        DataError, RunError, SettingsError: see their messages. All runs are checked before the first is trained.
    """
    for one in planned:
        _check_data(one, data)
    missing = [one for one in planned if not one.finished()]
    if len(missing) < len(planned):
        runtime.say(f"{len(planned) - len(missing)} of {len(planned)} trained already")
    for number, one in enumerate(missing, 1):
        runtime.say(f"training {number} of {len(missing)}: {one.label}, in {one.folder}")
        if not train_run(one.open(), data, cache=cache, runtime=runtime, watch=watch).finished:
            return False
    return True


def _check_data(planned: Planned, data: Path) -> None:
    """Refuse a run on another data set; `train_run` checks only the runs that it continues."""
    before = planned.open().facts().get("data") or str(data.resolve())
    if before != str(data.resolve()):
        raise RunError(
            f"{planned.folder}: was trained on {before}, not on {data}; give another --out, or that data set"
        )


def teachers_of(config: ComparisonSettings, entry: EntrySettings) -> list[EntrySettings]:
    """The entries that are teachers of a trained entry: `method.distillation.teachers` may name entries.

    Raises:
        SettingsError: a setting is not allowed, or a teacher is an entry that the comparison does not train.
    """
    distillation = settings_of(config, entry, 0).method.distillation
    named = {other.name: other for other in config.entry}
    teachers = [named[name] for name in (distillation.teachers if distillation is not None else ()) if name in named]
    if teachers and distillation is not None and distillation.seeds > 1:
        raise SettingsError(
            f"entry {entry.name!r}: method.distillation.seeds is {distillation.seeds}, but teachers that are entries "
            "of this comparison have one run each; set it to 1"
        )
    for teacher in teachers:
        if not teacher.trained:
            raise SettingsError(
                f"entry {entry.name!r}: teacher {teacher.name!r} is not trained by this comparison; name another"
            )
    return teachers


def _with_teachers(config: ComparisonSettings, settings: RunSettings, seed: int, out: Path) -> RunSettings:
    """The same settings, in which teachers that are entries are replaced by the weights of their runs."""
    if (distillation := settings.method.distillation) is None:
        return settings

    def weights(name: str) -> str:
        if name not in {entry.name for entry in config.entry}:
            return name
        teacher = config.named(name)
        seeds = config.seeds_of(teacher)
        run = Run(run_folder(out.resolve(), teacher, seed if seed in seeds else seeds[0]), settings)
        return str(run.weights)

    distillation = msgspec.structs.replace(distillation, teachers=tuple(map(weights, distillation.teachers)))
    method = msgspec.structs.replace(settings.method, distillation=distillation)
    return msgspec.structs.replace(settings, method=method)


def run_folder(out: Path, entry: EntrySettings, seed: int) -> Path:
    """Folder of one run of a comparison."""
    return out / "runs" / f"{entry.name}-{seed}"


def settings_of(config: ComparisonSettings, entry: EntrySettings, seed: int) -> RunSettings:
    """Settings of one training: the entry's config, overridden by the shared settings, then by the entry's own.

    Raises:
        SettingsError: a setting is unknown or not allowed.
    """
    table = read_config_table(entry.config) if entry.config else {}
    shared = {name: value for name, value in to_table(config.shared).items() if value}
    own = {"method": entry.method, "training": entry.training, "seed": seed}
    given = merged(shared, own)
    if config.region != "lungs":
        given["region"] = config.region
    return changed_settings(table, given, source=f"entry {entry.name!r}")


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], place: str = "") -> dict[str, tuple[Any, Any]]:
    """Differences of two tables: both values by the setting's full name."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in sorted({*one, *other}):
        here, there, name = one.get(key), other.get(key), f"{place}{key}"
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            found |= _differences(here, there, f"{name}.")
        elif here != there:
            found[name] = (here, there)
    return found

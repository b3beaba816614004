"""From a study to runs: the settings of each entry and seed, and the folder that it is trained in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from lesionsplit.errors import RunError, SettingsError
from lesionsplit.methods.table import AnyMethod
from lesionsplit.run import SETTINGS, Run, RunSettings, read_config_table
from lesionsplit.settings import from_table, read_settings, to_table
from lesionsplit.study.settings import EntrySettings, StudySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One training of a study."""

    entry: EntrySettings
    seed: int
    settings: RunSettings
    folder: Path

    @property
    def label(self) -> str:
        """In words, for progress."""
        return f"{self.entry.name}, seed {self.seed}"

    def open(self) -> Run:
        """The run, new or as it was left.

        Raises:
            RunError: the folder holds a run with other settings, or is in the way.
        """
        if not (self.folder / SETTINGS).is_file():
            return Run.create(self.folder, self.settings)
        found = read_settings(RunSettings, self.folder / SETTINGS)
        differing = [
            f"{key} is {was!r} there and {now!r} in the study"
            for key, (was, now) in _differences(to_table(found), to_table(self.settings)).items()
            if key not in MAY_DIFFER
        ]
        if found.training.steps > self.settings.training.steps:
            differing.append(
                f"training.steps is {found.training.steps} there and {self.settings.training.steps} in the study"
            )
        if differing:
            raise RunError(
                f"{self.folder}: was trained with other settings than the study's: {'; '.join(differing[:3])}"
                f"{f' and {len(differing) - 3} more' if len(differing) > 3 else ''}; give another --out, or move the "
                "run away"
            )
        return Run.open(self.folder, steps=self.settings.training.steps)

    def finished(self) -> bool:
        """Whether there are weights, of all the steps that the study wants."""
        return self.open().finished()


MAY_DIFFER = frozenset({"training.steps", "training.log_every", "training.checkpoint_every", "training.picture_every"})
"""Settings that leave what is learnt as it is; a run may be continued to more steps."""


def plan(study: StudySettings, entries: tuple[EntrySettings, ...], out: Path) -> tuple[Planned, ...]:
    """Every training that some entries of a study need, those that others read or are taught by among them, and before.

    Raises:
        SettingsError: a setting is unknown or not allowed; the entry is named.
    """
    wanted = [study.named(entry.reads or entry.name) for entry in entries]
    trained = [entry for entry in wanted if entry.trained]
    teachers = [teacher for entry in trained for teacher in teachers_of(study, entry)]
    return tuple(
        Planned(
            entry=entry,
            seed=seed,
            settings=_taught_by_entries(study, settings_of(study, entry, seed), seed, out),
            folder=run_folder(out, entry, seed),
        )
        for entry in {one.name: one for one in (*teachers, *trained)}.values()
        for seed in seeds_of(study, entry)
    )


def teachers_of(study: StudySettings, entry: EntrySettings) -> list[EntrySettings]:
    """The entries of a study that teach a trained one: `method.teaching.teachers` may name entries.

    Raises:
        SettingsError: a setting is not allowed; or a teacher is an entry that the study does not train.
    """
    teaching = settings_of(study, entry, 0).method.teaching
    named = {other.name: other for other in study.entry}
    teachers = [named[name] for name in (teaching.teachers if teaching is not None else ()) if name in named]
    if teachers and teaching is not None and teaching.seeds > 1:
        raise SettingsError(
            f"entry {entry.name!r}: method.teaching.seeds is {teaching.seeds}, and it is taught by entries of this "
            "study, one run each; set it to 1"
        )
    for teacher in teachers:
        if not teacher.trained:
            raise SettingsError(f"entry {entry.name!r}: is taught by {teacher.name!r}, which this study does not train")
    return teachers


def _taught_by_entries(study: StudySettings, settings: RunSettings, seed: int, out: Path) -> RunSettings:
    """The same settings with the weights of the study's own runs for teachers that are its entries."""
    if (teaching := settings.method.teaching) is None:
        return settings

    def weights(name: str) -> str:
        if name not in {entry.name for entry in study.entry}:
            return name
        teacher = study.named(name)
        seeds = seeds_of(study, teacher)
        run = Run(run_folder(out.resolve(), teacher, seed if seed in seeds else seeds[0]), settings)
        return str(run.weights)

    taught = msgspec.structs.replace(teaching, teachers=tuple(map(weights, teaching.teachers)))
    method = msgspec.structs.replace(settings.method, teaching=taught)
    return msgspec.structs.replace(settings, method=method)


def seeds_of(study: StudySettings, entry: EntrySettings) -> tuple[int, ...]:
    """The seeds that an entry is trained with."""
    if entry.reads is not None and entry.seeds is None:
        return seeds_of(study, study.named(entry.reads))
    return entry.seeds or study.seeds


def run_folder(out: Path, entry: EntrySettings, seed: int) -> Path:
    """Where a study's run lies."""
    return out / "runs" / f"{entry.name}-{seed}"


def settings_of(study: StudySettings, entry: EntrySettings, seed: int) -> RunSettings:
    """Settings of one training: the entry's config, over it what is shared, over that the entry's own.

    Raises:
        SettingsError: a setting is unknown or not allowed.
    """
    table = read_config_table(entry.config) if entry.config else {}
    shared = {name: value for name, value in to_table(study.shared).items() if value}
    own = {"method": entry.method, "training": entry.training, "seed": seed}
    return from_table(RunSettings, _merged(_merged(table, shared), own), source=f"entry {entry.name!r}")


def reading_of(entry: EntrySettings, trained: AnyMethod) -> AnyMethod:
    """The method by which an entry reads what another one has trained.

    Raises:
        SettingsError: a setting is not allowed, or the network would be another.
    """
    changed = _merged({"method": to_table(trained)}, {"method": entry.method})
    if "name" in entry.method and entry.method["name"] != to_table(trained).get("name"):
        changed = {"method": {"network": to_table(trained)["network"], **entry.method}}
    method = from_table(RunSettings, changed, source=f"entry {entry.name!r}").method
    # What is asked of it is that the same weights fit, which `Model` finds out; what it may not change is who is told.
    if method.annotator != trained.annotator:
        raise SettingsError(f"entry {entry.name!r}: reads {entry.reads!r}, so whose masks it saw cannot be changed")
    return method


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merged, at every depth; what is above wins."""
    merged = dict(below)
    for key, value in above.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if nested else value
    return merged


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], place: str = "") -> dict[str, tuple[Any, Any]]:
    """Where two tables differ: both values by the setting's full name."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in sorted({*one, *other}):
        here, there, name = one.get(key), other.get(key), f"{place}{key}"
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            found |= _differences(here, there, f"{name}.")
        elif here != there:
            found[name] = (here, there)
    return found

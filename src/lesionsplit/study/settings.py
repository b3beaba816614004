"""What a study file says: which methods, with which settings, on which split.

A study file is TOML. Tables under [shared] hold for every method; each [[entry]] is one method::

    title = "With and without a critic"
    reference = "decomposition"
    seeds = [0, 1]

    [shared.training]
    steps = 2000

    [[entry]]
    name = "decomposition"
    config = "small"

    [[entry]]
    name = "no-critic"
    config = "small"
    figure = "ablations"
    [entry.method.objective]
    adversarial = 0.0
"""

from __future__ import annotations

import re
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, field

from lesionsplit.data.table import Table
from lesionsplit.errors import DataError, SettingsError
from lesionsplit.evaluation.baselines import UNTRAINED
from lesionsplit.settings import Settings, read_settings

Seed = Annotated[int, Meta(ge=0)]
Seeds: TypeAlias = Annotated[tuple[Seed, ...], Meta(min_length=1)]

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class SharedSettings(Settings, frozen=True):
    """Tables of a run's settings that hold for every entry, over what the entry's own config says."""

    placement: dict[str, Any] = field(default_factory=dict)
    augmentation: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


class EntrySettings(Settings, frozen=True):
    """One method of a study: one of ``config``, ``method``, ``reads``, ``weights`` and ``untrained`` says which."""

    name: str
    """By which tables and figures call it, and the folder of its runs."""

    config: str | None = None
    """Settings as `lesionsplit train --config` takes them."""

    method: dict[str, Any] = field(default_factory=dict)
    """The [method] table, or what differs from that of ``config`` or ``reads``."""

    training: dict[str, Any] = field(default_factory=dict)
    """Over [shared.training], if this entry is to be trained otherwise."""

    reads: str | None = None
    """Another entry, whose trained network is read in another way: with ``method``'s changes."""

    weights: str | None = None
    """A weights file instead of a training; ``default`` is the one in the package."""

    untrained: str | None = None
    """A heat map without training: ``opening`` or ``smoothing``."""

    seeds: Seeds | None = None
    """Instead of the study's."""

    figure: Literal["methods", "ablations"] = "methods"
    """Where it is drawn: among the methods (Figures 2 and 3), or among the ablations (Figure 4)."""

    note: str = ""
    """What a reader should know of it, under the table."""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise SettingsError(f"entry {self.name!r}: a name is of small letters, digits, '-', '_' and '.'")
        sources = [self.reads, self.weights, self.untrained]
        given = sum(source is not None for source in sources) + bool(
            self.config or (self.method and self.reads is None)
        )
        if given != 1:
            raise SettingsError(
                f"entry {self.name!r}: exactly one of these says what it is: config or method, reads, weights, "
                f"untrained; found {given}"
            )
        if self.untrained is not None and self.untrained not in UNTRAINED:
            raise SettingsError(
                f"entry {self.name!r}: untrained is {self.untrained!r}; allowed: {', '.join(sorted(UNTRAINED))}"
            )

    @property
    def trained(self) -> bool:
        """Whether the study trains it."""
        return self.reads is None and self.weights is None and self.untrained is None


class StudySettings(Settings, frozen=True):
    """A whole study."""

    entry: Annotated[tuple[EntrySettings, ...], Meta(min_length=1)]

    reference: str
    """The entry that all others are compared with, slice by slice."""

    title: str = "Methods side by side"

    split: Literal["val", "test"] = "test"
    seeds: Seeds = (0,)
    """Each trained entry is trained with each; tables and figures show the first, and the spread over all."""

    resolution: Annotated[int, Meta(ge=16, le=4096)] = 256
    """Pixels on the frame's longer side, on which heat maps and masks meet."""

    examples: Annotated[int, Meta(ge=1, le=20)] = 6
    """Slices shown with every method's heat map."""

    shared: SharedSettings = SharedSettings()

    def __post_init__(self) -> None:
        names = [entry.name for entry in self.entry]
        for name in names:
            if names.count(name) > 1:
                raise SettingsError(f"entry {name!r}: there are {names.count(name)} of this name; give each its own")
        self.named(self.reference, "reference")
        for entry in self.entry:
            if entry.reads is not None and not self.named(entry.reads, f"entry {entry.name!r}: reads").trained:
                raise SettingsError(f"entry {entry.name!r}: reads {entry.reads!r}, which this study does not train")

    def named(self, name: str, what: str = "entry") -> EntrySettings:
        """The entry of a name.

        Raises:
            SettingsError: there is none; ``what`` says who asks.
        """
        for entry in self.entry:
            if entry.name == name:
                return entry
        raise SettingsError(f"{what} {name!r}: no such entry; found: {', '.join(one.name for one in self.entry)}")

    def chosen(self, names: tuple[str, ...]) -> tuple[EntrySettings, ...]:
        """The entries of some names and the reference, in the study's order; all of them, if no name is given.

        Raises:
            SettingsError: there is no entry of a name.
        """
        wanted = {self.named(name).name for name in names} or {entry.name for entry in self.entry}
        return tuple(entry for entry in self.entry if entry.name in {*wanted, self.reference})

    def check(self, table: Table) -> None:
        """Refuse a data set on which nothing could be scored, before hours of training.

        Raises:
            DataError: the split is missing, or nobody outlined anything in it.
        """
        if not table.split(self.split).annotators:
            raise DataError(
                f"{table.root}: has no masks in split {self.split!r}; a comparison needs columns mask_<annotator> there"
            )


def read_study(name: str) -> StudySettings:
    """A study from a TOML file, or by the name of one in the package.

    Raises:
        SettingsError: there is no such file or name, or something in it is unknown or not allowed.
    """
    folder = files("lesionsplit") / "studies"
    known = sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
    if name in known:
        with as_file(folder / f"{name}.toml") as path:
            return read_settings(StudySettings, path)
    if not Path(name).is_file():
        raise SettingsError(f"{name}: no such study; give a .toml file, or one of {', '.join(known)}")
    return read_settings(StudySettings, Path(name))

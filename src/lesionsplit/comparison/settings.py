"""Settings of a comparison: which methods, with which settings, on which split.

A comparison file is TOML. Tables under [shared] apply to every method; each [[entry]] is one method::

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

import os
import re
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, field

from lesionsplit.data.kind import ImageKind, RegionName
from lesionsplit.data.table import Split, Table
from lesionsplit.errors import DataError, SettingsError
from lesionsplit.evaluation.baselines import UNTRAINED
from lesionsplit.evaluation.result import CHANCE
from lesionsplit.settings import NonNegativeInt, Settings, read_settings

Seeds: TypeAlias = Annotated[tuple[NonNegativeInt, ...], Meta(min_length=1)]

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class SharedSettings(Settings, frozen=True):
    """Tables of a run's settings that apply to every entry and override the entry's config."""

    placement: dict[str, Any] = field(default_factory=dict)
    augmentation: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


class EntrySettings(Settings, frozen=True):
    """One method, given by exactly one of ``config`` or ``method``, ``reads``, ``weights`` and ``untrained``."""

    name: str
    """Its name in tables and figures, and of the folder of its runs."""

    config: str | None = None
    """Settings, as for `lesionsplit train --config`."""

    method: dict[str, Any] = field(default_factory=dict)
    """The [method] table, or its differences to that of ``config`` or ``reads``."""

    training: dict[str, Any] = field(default_factory=dict)
    """Overrides [shared.training] for this entry."""

    reads: str | None = None
    """Another entry, whose trained network is used with the changes in ``method``."""

    weights: str | None = None
    """A weights file instead of a training; ``default`` is the one in the package."""

    threshold: float | str | None = None
    """Of ``weights``: another threshold than the stored one, a number or the name of one."""

    untrained: str | None = None
    """A heat map without training: ``opening`` or ``smoothing``."""

    seeds: Seeds | None = None
    """Instead of the comparison's seeds."""

    figure: Literal["methods", "ablations"] = "methods"
    """The figures that show it: those of the methods (Figures 2 and 3), or of the ablations (Figure 4)."""

    note: str = ""
    """A remark for the reader, printed under the table."""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise SettingsError(f"entry {self.name!r}: allowed in a name: small letters, digits, '-', '_' and '.'")
        if self.name == CHANCE:
            raise SettingsError(f"entry {self.name!r}: a random score has this name in tables; give another")
        sources = [self.reads, self.weights, self.untrained]
        given = sum(source is not None for source in sources) + bool(
            self.config or (self.method and self.reads is None)
        )
        if given != 1:
            raise SettingsError(
                f"entry {self.name!r}: has {given} of config or method, reads, weights and untrained; give exactly one"
            )
        if self.threshold is not None and self.weights is None:
            raise SettingsError(f"entry {self.name!r}: threshold is for an entry with weights; leave it out")
        if self.untrained is not None and self.untrained not in UNTRAINED:
            raise SettingsError(
                f"entry {self.name!r}: untrained is {self.untrained!r}; allowed: {', '.join(sorted(UNTRAINED))}"
            )

    @property
    def trained(self) -> bool:
        """Whether the comparison trains it."""
        return self.reads is None and self.weights is None and self.untrained is None


class ComparisonSettings(Settings, frozen=True):
    """A whole comparison."""

    entry: Annotated[tuple[EntrySettings, ...], Meta(min_length=1)]

    reference: str
    """The entry with which all others are compared, slice by slice."""

    title: str = "Methods side by side"

    region: RegionName = "lungs"
    """Of all entries; see the setting of this name of a run."""

    split: Split = "test"
    seeds: Seeds = (0,)
    """Each trained entry is trained with each seed; tables and figures show the first seed, and the spread over all."""

    resolution: Annotated[int, Meta(ge=16, le=4096)] = 256
    """Pixels on the frame's longer side of the grid on which heat maps and masks are compared."""

    examples: Annotated[int, Meta(ge=1, le=20)] = 6
    """Number of slices shown with every method's heat map."""

    shared: SharedSettings = SharedSettings()

    @property
    def noun(self) -> str:
        """What tables and captions call the region."""
        return ImageKind(region=self.region).noun

    def __post_init__(self) -> None:
        names = [entry.name for entry in self.entry]
        for name in names:
            if names.count(name) > 1:
                raise SettingsError(f"entry {name!r}: {names.count(name)} entries have this name; give each its own")
        self.named(self.reference, "reference")
        if self.split == "train" and any(entry.trained for entry in self.entry):
            raise SettingsError("split is 'train', on which entries are trained; allowed: val, test")
        for entry in self.entry:
            if entry.reads is not None and not self.named(entry.reads, f"entry {entry.name!r}: reads").trained:
                raise SettingsError(
                    f"entry {entry.name!r}: reads {entry.reads!r}, which this comparison does not train"
                )

    def named(self, name: str, what: str = "entry") -> EntrySettings:
        """The entry of a name.

        Raises:
            SettingsError: there is none; ``what`` is the setting in the message.
        """
        for entry in self.entry:
            if entry.name == name:
                return entry
        raise SettingsError(f"{what} {name!r}: no such entry; found: {', '.join(one.name for one in self.entry)}")

    def seeds_of(self, entry: EntrySettings) -> tuple[int, ...]:
        """The seeds with which an entry, or the entry whose network it reads, is trained."""
        if entry.reads is not None and entry.seeds is None:
            return self.seeds_of(self.named(entry.reads))
        return entry.seeds or self.seeds

    def chosen(self, names: tuple[str, ...]) -> tuple[EntrySettings, ...]:
        """The entries of some names and the reference, in the comparison's order; all of them if no name is given.

        Raises:
            SettingsError: there is no entry of a name.
        """
        wanted = {self.named(name).name for name in names} or {entry.name for entry in self.entry}
        return tuple(entry for entry in self.entry if entry.name in {*wanted, self.reference})

    def check(self, table: Table) -> None:
        """Refuse a data set on which nothing can be scored, before hours of training.

        Raises:
            DataError: the split is missing or has no masks.
        """
        if not table.divided and self.split != "train":
            raise DataError(
                f"{table.root}: has no slice in split {self.split!r}; found: train; `lesionsplit train` divides it: "
                "give the splits.csv of that run instead"
            )
        if not table.split(self.split).annotators:
            raise DataError(
                f"{table.root}: has no masks in split {self.split!r}; a comparison needs columns mask_<annotator> there"
            )


def read_comparison(name: str) -> ComparisonSettings:
    """Settings of a comparison from a TOML file, or by the name of one in the package.

    Raises:
        SettingsError: there is no such file or name, or something in it is unknown or not allowed.
    """
    folder = files("lesionsplit") / "comparisons"
    known = sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
    if name in known:
        with as_file(folder / f"{name}.toml") as path:
            return read_settings(ComparisonSettings, path)
    if not os.path.isfile(name):  # noqa: PTH113 - `Path.is_file` raises for a name that is too long
        raise SettingsError(f"{name}: no such comparison; give a .toml file, or one of {', '.join(known)}")
    return read_settings(ComparisonSettings, Path(name))

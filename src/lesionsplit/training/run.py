"""A run: its settings and its folder.

RUN/
settings.toml            every setting, with all defaults
run.json                 versions, device, threads, seed, fingerprint of the data
metrics.csv              terms of the loss and speed over steps
checkpoint.safetensors   the last good state of the training
weights.safetensors      the trained model, for evaluate and predict
splits.csv               the slices of each split, where the data set came without splits
pictures/                sample decompositions
tensorboard/             if tensorboard is installed
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import torch
from msgspec import Meta
from msgspec.structs import replace

from lesionsplit.atomic import PREFIX, locked, sweep
from lesionsplit.data.augment import Augmentation
from lesionsplit.data.kind import RegionName
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.data.table import SPLITS
from lesionsplit.errors import DataError, RunError, SettingsError
from lesionsplit.evaluation.threshold import CALIBRATION_FPR
from lesionsplit.images import write_bytes
from lesionsplit.methods.base import scaled_steps
from lesionsplit.methods.decomposition import DecompositionSettings
from lesionsplit.methods.distilled import DistilledSettings
from lesionsplit.methods.table import AnyMethod
from lesionsplit.models.model import Model
from lesionsplit.runtime import FrameworkName
from lesionsplit.settings import (
    BelowOne,
    Count,
    NonNegativeInt,
    Settings,
    from_table,
    merged,
    parse_overrides,
    read_settings,
    read_toml,
    to_table,
    to_toml,
)

SETTINGS = "settings.toml"
FACTS = "run.json"

CANVAS_MULTIPLE, MARGIN = 16, 8
"""The sides of canvases for other images than lungs are multiples of the first; whole images have the second as
`PlacementSettings.margin`."""


class TrainingSettings(Settings, frozen=True):
    """Length, batch size and output of a training."""

    steps: Count = 6000
    batch_size: Annotated[int, Meta(ge=1, le=4096)] = 8
    """Slices of each label per step, eight normal and eight with lesion by default; divided among processes."""

    ema_decay: BelowOne = 0.999
    """Of the running average of the network's weights, which becomes the model; 0: the last weights."""

    init_weights: str | None = None
    """A weights file that the network starts from, of any framework and of the same method and network; by default
    the weights are fresh."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """``bf16``: autocast, with the gradient penalty in fp32. Slower than fp32 on most CPUs."""

    log_every: Count = 20
    checkpoint_every: Count = 500
    picture_every: Count = 500

    calibration_fpr: Annotated[float, Meta(gt=0, lt=1)] = CALIBRATION_FPR
    """The threshold stored with the weights is the score that this fraction of the lung of normal slices reaches; no
    mask is needed to set it. That of images of other things is set by `evaluation.threshold.threshold_of_images`."""


class _Facts(msgspec.Struct, frozen=True):
    """What a continued run needs of run.json."""

    data: Annotated[str, Meta(pattern=r"^[^\x00]+$")] | None = None
    fingerprint: str | None = None
    device: Annotated[str, Meta(pattern=r"^[a-z]+(:[0-9]+)?$")] | None = None
    threads: Annotated[int, Meta(ge=1, le=4096)] | None = None
    framework: FrameworkName = "torch"


class RunSettings(Settings, frozen=True):
    """All settings of a run."""

    seed: NonNegativeInt = 0
    region: RegionName = "lungs"
    """Which part of an image counts: ``lungs`` of chest CT, the ``whole`` image, or what a ``mask`` of each image says.
    Stored with the weights."""

    placement: PlacementSettings = PlacementSettings()
    augmentation: Augmentation = Augmentation()
    method: AnyMethod = DecompositionSettings()
    training: TrainingSettings = TrainingSettings()

    def __post_init__(self) -> None:
        stride = self.method.network.stride
        if any(side % stride for side in self.placement.canvas):
            rows, columns = self.placement.canvas
            raise SettingsError(
                f"placement: is {rows} x {columns} pixels; with this network both sides must be multiples of {stride}"
            )
        if self.region != "lungs" and isinstance(self.method, DistilledSettings) and self.method.healing is not None:
            raise SettingsError(
                f"method.healing: is for lungs, and the region is {self.region}; leave [method.healing] out"
            )
        if self.training.init_weights and self.method.distillation and self.method.distillation.init_from_teacher:
            raise SettingsError(
                "training.init_weights: method.distillation.init_from_teacher gives weights, too; set it to false"
            )
        if self.training.steps <= (first := self.method.preparation_steps):
            raise SettingsError(
                f"training.steps: is {self.training.steps}, but the first {first} are pretraining; give more steps, or "
                "lower method.pretraining.steps"
            )


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder."""

    folder: Path
    settings: RunSettings

    new: bool = field(default=False, compare=False)
    """Whether `describe` must be the first to write to the folder; afterwards the run is an existing one."""

    @classmethod
    def create(cls, folder: Path, settings: RunSettings) -> Run:
        """A new run in a folder that does not exist or is empty; `describe` is the first to write, and claims it.

        Raises:
            RunError: the folder is not empty.
        """
        sweep(folder)  # a process that was killed before it wrote the settings leaves a hidden folder
        if first_process() and folder.exists() and not _empty(folder):
            raise _not_empty(folder)
        return cls(folder, settings, new=True)

    @classmethod
    def open(cls, folder: Path, *, steps: int | None = None) -> Run:
        """An existing run, to be continued; ``steps`` replaces its number of steps.

        Raises:
            RunError: the folder contains no run.
        """
        path = folder / SETTINGS
        if not path.is_file():
            raise RunError(f"{folder}: contains no run (no {SETTINGS}); start one without --resume")
        sweep(folder)  # also where the run is finished, and nothing will be written
        return cls(folder, read_settings(RunSettings, path, [] if steps is None else [f"training.steps={steps}"]))

    @property
    def checkpoint(self) -> Path:
        """The last good state of the training."""
        return self.folder / "checkpoint.safetensors"

    @property
    def splits(self) -> Path:
        """The data set as it was divided, where it came without splits; as slices.csv."""
        return self.folder / SPLITS

    @property
    def weights(self) -> Path:
        """The trained model."""
        return self.folder / "weights.safetensors"

    def finished(self) -> bool:
        """Whether there are weights after the last step.

        Raises:
            WeightsError: the weights file is broken.
        """
        return self.weights.is_file() and Model.load(self.weights).card.trained.get("steps") == str(
            self.settings.training.steps
        )

    def picture(self, step: int) -> Path:
        """The picture of sample slices at a step."""
        return self.folder / "pictures" / f"step-{step:06d}.png"

    def describe(self, **facts: object) -> None:
        """Write the settings, and run.json with some facts and the versions of packages.

        Raises:
            RunError: the folder cannot be written, or another process has claimed it since this run was created.
        """
        known: dict[str, Any] = {
            "seed": self.settings.seed,
            "lesionsplit": version("lesionsplit"),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            **facts,
        }
        try:
            with locked(self.folder):
                if self.new and not _empty(self.folder):
                    raise _not_empty(self.folder)
                write_bytes(self.folder / SETTINGS, to_toml(self.settings).encode(), durable=True)
                object.__setattr__(self, "new", False)  # the folder is this run's: it may be described again
                write_bytes(self.folder / FACTS, (json.dumps(known, indent=2) + "\n").encode(), durable=True)
        except DataError as error:
            raise RunError(str(error)) from None

    def data(self) -> Path:
        """The data set that the run was started on.

        Raises:
            RunError: the run has not been started, or run.json is damaged.
        """
        if self.facts().get("data") is None:
            raise RunError(
                f"{self.folder}: has no data set yet; give one, a folder with slices.csv or with normal/ and lesion/"
            )
        return Path(self.facts()["data"])

    def facts(self) -> dict[str, Any]:
        """The content of run.json; empty if the run was stopped before it was written.

        Raises:
            RunError: it is damaged.
        """
        path = self.folder / FACTS
        try:
            content = path.read_bytes()
            msgspec.json.decode(content, type=_Facts)
            return msgspec.json.decode(content, type=dict[str, Any])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise RunError(f"{path}: cannot be read ({error.strerror})") from None
        except (msgspec.MsgspecError, RecursionError) as error:
            raise RunError(
                f"{path}: is damaged ({error}); remove it, and continue with `lesionsplit train DATA --run "
                f"{self.folder} --resume`, DATA being the same data set"
            ) from None


def _empty(folder: Path) -> bool:
    """Whether nothing is in a folder, except the lock and the hidden folders of processes that are about to write."""
    return folder.is_dir() and all(one.name.startswith(PREFIX) for one in folder.iterdir())


def _not_empty(folder: Path) -> RunError:
    return RunError(f"{folder}: is not empty; continue a run with --resume, or give a new folder with --run")


def first_process() -> bool:
    """Whether this process, of those started by `torchrun`, is the one that writes files and messages."""
    return os.environ.get("RANK", "0") == "0"


def read_config(
    name: str,
    overrides: Iterable[str] = (),
    *,
    region: RegionName | None = None,
    steps: int | None = None,
    factor: float = 1.0,
) -> RunSettings:
    """Settings from a TOML file, or by the name of one in the package.

    Args:
        name: of the file or config.
        overrides: ``table.key=value`` with TOML values, after all other changes.
        region: replaces the one of the config; see `settings_of`.
        steps: of the training, with all of its stages and teachers as much shorter or longer.
        factor: the same as a multiple of the config's steps.

    Raises:
        SettingsError: there is no such file or config, or a setting is unknown or not allowed.
    """
    given = parse_overrides(overrides)
    if region is not None:
        given["region"] = region
    return settings_of(read_config_table(name), given, source=name, steps=steps, factor=factor)


def settings_of(
    table: Mapping[str, Any],
    given: Mapping[str, Any],
    *,
    source: str,
    steps: int | None = None,
    factor: float = 1.0,
) -> RunSettings:
    """The settings of a config with some replaced.

    A config for lungs gets a square canvas of about as many pixels for a region that is not the lungs, whose window
    its own canvas fits, and no branch for healthy versions, which measures lung.

    Args:
        table: the config.
        given: the settings that replace its own.
        source: names the config in messages.
        steps: as of `read_config`.
        factor: as of `read_config`.

    Raises:
        SettingsError: a setting is unknown or not allowed.
    """
    own, region = table.get("region", "lungs"), given.get("region")
    base = dict(table)
    if region in ("whole", "mask") and own == "lungs":
        placement = from_table(RunSettings, base, source=source).placement
        base["region"] = region
        base["method"] = {name: value for name, value in table.get("method", {}).items() if name != "healing"}
        if placement.kind == "lungs":
            side = max(
                CANVAS_MULTIPLE, CANVAS_MULTIPLE * round((placement.rows * placement.columns) ** 0.5 / CANVAS_MULTIPLE)
            )
            base["placement"] = {"rows": side, "columns": side}
            if region == "whole":
                side += 2 * MARGIN
                base["placement"] = {"kind": "frame", "rows": side, "columns": side, "margin": MARGIN}
    if steps is not None or factor != 1:
        settings = from_table(RunSettings, base, source=source)
        factor = factor if steps is None else steps / settings.training.steps
        base = to_table(scaled(settings, factor, steps))
    return from_table(RunSettings, merged(base, given), source=source)


def scaled(settings: RunSettings, factor: float, steps: int | None = None) -> RunSettings:
    """Settings of a training of ``factor`` times as many steps, in all of its stages and teachers.

    Raises:
        SettingsError: there are too few steps for the stages.
    """
    steps = steps or scaled_steps(settings.training.steps, factor)
    method = settings.method.scaled(factor)
    if method.distillation is not None:
        distillation = replace(
            method.distillation, teacher_steps_factor=factor * method.distillation.teacher_steps_factor
        )
        method = replace(method, distillation=distillation)
    return replace(settings, method=method, training=replace(settings.training, steps=steps))


def read_config_table(name: str) -> dict[str, Any]:
    """The same file as plain nested tables, without defaults and unchecked.

    Raises:
        SettingsError: there is no such file or config, or it is not TOML.
    """
    with _config_file(name) as path:
        return read_toml(path)


@contextmanager
def _config_file(name: str) -> Iterator[Path]:
    folder = files("lesionsplit") / "configs"
    known = sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
    if name in known:
        with as_file(folder / f"{name}.toml") as path:
            yield path
    elif os.path.isfile(name):  # noqa: PTH113 - `Path.is_file` raises for a name that is too long
        yield Path(name)
    else:
        raise SettingsError(f"{name}: is neither a file nor a config; give a .toml file, or one of {', '.join(known)}")

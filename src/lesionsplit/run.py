"""A run: its settings, and the folder that everything about it is written to.

RUN/
settings.toml            every setting, defaults written out
run.json                 versions, device, threads, seed, fingerprint of the data
metrics.csv              terms of the loss and speed over steps
checkpoint.safetensors   where training stands: the last good one
weights.safetensors      the model so far, for evaluate and predict
pictures/                sample decompositions
tensorboard/             if tensorboard is installed
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from msgspec import Meta

from lesionsplit.calibration import NORMALS_FIRED
from lesionsplit.data.augment import Augmentation
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.errors import DataError, RunError, SettingsError
from lesionsplit.images import write_bytes
from lesionsplit.methods.decomposition import DecompositionSettings
from lesionsplit.methods.table import AnyMethod
from lesionsplit.model import Model
from lesionsplit.settings import Settings, read_settings, read_toml, to_toml

SETTINGS = "settings.toml"
FACTS = "run.json"

Count = Annotated[int, Meta(ge=1)]


class TrainingSettings(Settings, frozen=True):
    """How long, how much at a time, and what is written when."""

    steps: Count = 6000
    batch_size: Count = 8
    """Slices of each label a step: eight normal and eight with lesion. Shared out among processes."""

    ema_decay: Annotated[float, Meta(ge=0, lt=1)] = 0.999
    """Of the running average of the network's weights, which is what is kept; 0 keeps the last."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """``bf16``: autocast; the gradient penalty stays in fp32. Slower than fp32 on most CPUs."""

    log_every: Count = 20
    checkpoint_every: Count = 500
    picture_every: Count = 500

    normals_fired: Annotated[float, Meta(gt=0, lt=1)] = NORMALS_FIRED
    """The threshold stored with the weights is the score that this share of the lung of normal slices
    reaches: no mask is needed to set it."""


class RunSettings(Settings, frozen=True):
    """Everything that decides what a run learns."""

    seed: Annotated[int, Meta(ge=0)] = 0
    placement: PlacementSettings = PlacementSettings()
    augmentation: Augmentation = Augmentation()
    method: AnyMethod = DecompositionSettings()
    training: TrainingSettings = TrainingSettings()

    def __post_init__(self) -> None:
        stride = self.method.stride
        if any(side % stride for side in self.placement.canvas):
            rows, columns = self.placement.canvas
            raise SettingsError(
                f"placement: {rows} x {columns} pixels; with this network both sides must be multiples of {stride}"
            )


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder."""

    folder: Path
    settings: RunSettings

    @classmethod
    def create(cls, folder: Path, settings: RunSettings) -> Run:
        """A new run in a folder that does not exist yet, or is empty; nothing is written before `describe`.

        Raises:
            RunError: the folder has something in it.
        """
        if first_process() and folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise RunError(
                f"{folder}: has something in it; continue a run with --resume, or name a new folder with --run"
            )
        return cls(folder, settings)

    @classmethod
    def open(cls, folder: Path, *, steps: int | None = None) -> Run:
        """A run that was started before, to be continued, to its own number of steps or another.

        Raises:
            RunError: there is no run in the folder.
        """
        path = folder / SETTINGS
        if not path.is_file():
            raise RunError(f"{folder}: holds no run (no {SETTINGS}); start one without --resume")
        return cls(folder, read_settings(RunSettings, path, [] if steps is None else [f"training.steps={steps}"]))

    @property
    def checkpoint(self) -> Path:
        """Where training stands."""
        return self.folder / "checkpoint.safetensors"

    @property
    def weights(self) -> Path:
        """The model so far."""
        return self.folder / "weights.safetensors"

    def finished(self) -> bool:
        """Whether there are weights, of all of its steps.

        Raises:
            WeightsError: there is a file of weights and it is broken.
        """
        return self.weights.is_file() and Model.load(self.weights).card.trained.get("steps") == str(
            self.settings.training.steps
        )

    def picture(self, step: int) -> Path:
        """The sample decompositions at a step."""
        return self.folder / "pictures" / f"step-{step:06d}.png"

    def describe(self, **facts: object) -> None:
        """Write the settings, and run.json: the facts given, and the versions of what matters.

        Raises:
            RunError: the folder cannot be written.
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
            write_bytes(self.folder / SETTINGS, to_toml(self.settings).encode())
            write_bytes(self.folder / FACTS, (json.dumps(known, indent=2) + "\n").encode())
        except DataError as error:
            raise RunError(str(error)) from None

    def data(self) -> Path:
        """The data set that the run was started on.

        Raises:
            RunError: it has not been started.
        """
        if "data" not in self.facts():
            raise RunError(
                f"{self.folder}: on which slices? give --data, a folder with slices.csv or normal/ and lesion/"
            )
        return Path(self.facts()["data"])

    def facts(self) -> dict[str, Any]:
        """What run.json says; nothing, if the run was stopped before it was written."""
        try:
            facts: dict[str, Any] = json.loads((self.folder / FACTS).read_text())
        except (OSError, ValueError):
            return {}
        return facts


def first_process() -> bool:
    """Whether this process is the one, of those that `torchrun` started, that writes and speaks."""
    return os.environ.get("RANK", "0") == "0"


def read_config(name: str, overrides: Iterable[str] = ()) -> RunSettings:
    """Settings from a TOML file, or by the name of one in the package.

    Raises:
        SettingsError: there is no such file or name, or a setting is unknown or not allowed.
    """
    with _config_file(name) as path:
        return read_settings(RunSettings, path, overrides)


def read_config_table(name: str) -> dict[str, Any]:
    """The same as plain nested tables: only what the file says, unchecked.

    Raises:
        SettingsError: there is no such file or name, or it is not TOML.
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
    elif Path(name).is_file():
        yield Path(name)
    else:
        raise SettingsError(f"{name}: no such settings; give a .toml file, or one of {', '.join(known)}")

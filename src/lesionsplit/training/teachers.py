"""The teachers of a run: their settings, their training and their weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from lesionsplit.errors import RunError, SettingsError
from lesionsplit.methods.distilled import DistilledSettings
from lesionsplit.methods.table import AnyMethod
from lesionsplit.models.card import digest
from lesionsplit.models.model import Model
from lesionsplit.training.distillation import refuse_masks
from lesionsplit.training.loop import Trained
from lesionsplit.training.run import SETTINGS, Run, RunSettings, read_config

TEACHERS = "teachers"
"""Folder of a run that its teachers are trained in."""


def wanted_teachers(run: Run) -> list[tuple[str, RunSettings | None]]:
    """The names of a run's teachers and their settings; None for a weights file.

    Raises:
        SettingsError: there is no such config, or a teacher has teachers itself or is trained on masks.
        WeightsError: a weights file is missing or broken.
    """
    teachers: list[tuple[str, RunSettings | None]] = []
    if (distillation := run.settings.method.distillation) is None:
        return teachers
    for name in distillation.teachers:
        if name.endswith(".safetensors"):
            refuse_masks(name, Model.load(Path(name)).card.method.annotator)
            teachers.append((name, None))
            continue
        for seed in range(run.settings.seed * distillation.seeds, (run.settings.seed + 1) * distillation.seeds):
            settings = read_config(
                name,
                [f"seed={seed}"],
                region=None if run.settings.region == "lungs" else run.settings.region,
                factor=distillation.teacher_steps_factor,
            )
            if settings.method.distillation is not None:
                raise SettingsError(f"method.distillation.teachers: {name!r} has teachers itself; list those instead")
            refuse_masks(name, settings.method.annotator)
            teachers.append((name, settings))
    return teachers


def train_teachers(
    run: Run,
    wanted: Sequence[tuple[str, RunSettings | None]],
    train_teacher: Callable[[Run], Trained],
    say: Callable[[str], None],
) -> list[Path] | None:
    """The weights of a run's teachers; those not yet trained are trained or continued. None: stopped."""
    weights = []
    for number, (name, settings) in enumerate(wanted, 1):
        if settings is None:
            weights.append(Path(name))
            continue
        folder = run.folder / TEACHERS / f"{number}-{Path(name).stem}"
        teacher = Run.open(folder) if (folder / SETTINGS).is_file() else Run.create(folder, settings)
        if teacher.settings != settings:
            raise RunError(f"{folder}: contains a teacher with other settings than {name}; start a new run with --run")
        if not teacher.finished():
            say(f"teacher {number} of {len(wanted)}: {name}, seed {settings.seed}, in {folder}")
            if not train_teacher(teacher).finished:
                return None
        weights.append(teacher.weights)
    return weights


def later_steps(run: Run, stage: Run) -> float:
    """The cost of all stages of a run after one of them, in steps of that one.

    Stages are the trainings of the teachers, their predictions for the slices with lesion, and the training itself. The
    cost is that of forward passes, by their pixels; a backward pass costs as much as two.

    Args:
        run: with its teachers.
        stage: the run itself, or one of its teachers.
    """
    if stage.folder == run.folder:
        return 0.0
    lesion = float(run.facts().get("lesion_slices", 0))
    rest, found = _cost(run.settings), False
    for number, (name, settings) in enumerate(wanted_teachers(run), 1):
        if settings is None:
            continue
        rest += _cost(settings) if found else 0.0
        rest += lesion * settings.method.forward_passes * _pixels(settings)
        found = found or run.folder / TEACHERS / f"{number}-{Path(name).stem}" == stage.folder
    return rest / (_cost(stage.settings) / stage.settings.training.steps)


def _cost(settings: RunSettings) -> float:
    """Of a training, whose batch size is that of each label."""
    return 3.0 * 2 * settings.training.steps * settings.training.batch_size * _pixels(settings)


def _pixels(settings: RunSettings) -> int:
    rows, columns = settings.placement.canvas
    return rows * columns


def without_paths(method: AnyMethod) -> AnyMethod:
    """The settings with the digest of each teacher's weights file instead of its path, which is private."""
    if not isinstance(method, DistilledSettings):
        return method
    distillation = method.distillation
    names = [
        f"{digest(Path(name))[:16]}.safetensors" if name.endswith(".safetensors") else name
        for name in distillation.teachers
    ]
    return replace(method, distillation=replace(distillation, teachers=tuple(names)))

"""From a data set and a run's settings to trained weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import torch
from lightning_fabric import Fabric
from msgspec.structs import replace

from lesionsplit.calibration import calibration_slices, threshold_on_normals
from lesionsplit.data.cache import PreparedSlices, prepare
from lesionsplit.data.lungs import read_slice
from lesionsplit.data.table import Label, Table, read_table
from lesionsplit.errors import DataError, RunError, SettingsError
from lesionsplit.memory import keep_freed_memory
from lesionsplit.methods.base import MethodSettings, supervision
from lesionsplit.methods.distilled import DistilledSettings
from lesionsplit.methods.table import AnyMethod
from lesionsplit.model import Model, ModelCard, digest
from lesionsplit.predictor import Predictor, choose_device
from lesionsplit.progress import Progress, silent
from lesionsplit.run import SETTINGS, Run, RunSettings, read_config
from lesionsplit.training.checkpoint import read_progress
from lesionsplit.training.loop import Trained, check_shares, fit
from lesionsplit.training.record import Measurement
from lesionsplit.training.teaching import refuse_masks, taught

PRECISIONS: Final[dict[str, Literal["32-true", "bf16-mixed"]]] = {"fp32": "32-true", "bf16": "bf16-mixed"}
"""Our names to Fabric's."""

Watch: TypeAlias = Callable[[Run], Callable[[Measurement], None]]
"""Of a run that is about to be trained, who is told of its measurements."""

TEACHERS = "teachers"
"""Folder of a run that its teachers are trained in."""


def train(
    run: Run,
    data: Path,
    *,
    cache: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress = silent,
    watch: Watch = lambda _: lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Train a run on a data set's train split and write its weights; before it its teachers, if it has any.

    Image labels are all that a method is given, unless its settings name an annotator: then it is a
    supervised upper bound, and is given that annotator's masks of the train split.

    Args:
        run: new, or opened again to be continued.
        data: a folder that `read_table` reads; the masks that the method is not given are dropped
            before anything looks at them.
        cache: where prepared slices are kept; the user's cache folder by default.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        threads: of the CPU; as many as torch finds by default, or as the run had before.
        progress: shows preparation and threshold.
        watch: who is told of every measurement of the loop, of this run's and of its teachers'.
        say: is told, in a line, when training is that of a supervised upper bound, and which teacher's begins.

    Raises:
        DataError, RunError, SettingsError: see their messages.
    """
    before = run.facts()
    threads = threads or before.get("threads")
    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()
    if device == "auto" and "device" in before:
        device = torch.device(before["device"]).type  # to the same bits means on the same kind of device
    wanted = _wanted_teachers(run)
    fabric = launch(run.settings, device)
    check_shares(run.settings.training.batch_size, fabric.world_size)
    _not_beyond(run)
    table = _given(read_table(data), run.settings.method)
    training = _both_labels(table.split("train"))
    normal = calibration_slices(table)
    if normal.slices[0].split != "train":  # those are read when they are prepared
        for row in progress(normal, len(normal), "Checking normal slices"):
            read_slice(row)  # a broken one is to be known before hours of training, not after
    method = run.settings.method
    slices = prepare(training, run.settings.placement, annotator=method.annotator, folder=cache, progress=progress)
    _same_data(run, before, slices)
    if fabric.is_global_zero:
        run.describe(
            data=str(data.resolve()),
            fingerprint=slices.fingerprint,
            normal_slices=len(training.labelled("normal")),
            lesion_slices=len(training.labelled("lesion")),
            device=str(fabric.device),
            processes=fabric.world_size,
            threads=torch.get_num_threads(),
            precision=run.settings.training.precision,
            supervision=supervision(method),
        )
        if method.annotator is not None:  # once nothing is wrong with the data: an error is to be the only line
            say(f"trains on {supervision(method)}, not a weakly supervised method")
    begin_as = None
    if method.teaching is not None:
        alike = partial(
            train, data=data, cache=cache, device=device, threads=threads, progress=progress, watch=watch, say=say
        )
        teachers = _train_teachers(run, wanted, alike, say)
        if teachers is None:
            return Trained(network=method.build_network(), step=0, finished=False)
        slices = taught(
            slices,
            training,
            run.settings.placement,
            teachers=teachers,
            doubt=method.teaching.doubt,
            folder=run.folder / TEACHERS,
            fabric=fabric,
            progress=progress,
        )
        if method.teaching.begin_as_first:
            begin_as = Model.load(teachers[0]).network
    trained = fit(run, slices, fabric, watch(run), begin_as)
    if trained.finished and fabric.is_global_zero:
        _write_weights(run, trained, slices, table, str(fabric.device), progress)
    return trained


def launch(settings: RunSettings, device: str) -> Fabric:
    """Fabric on one device, or on as many as `torchrun` has started processes for.

    Raises:
        SettingsError: there is no such device here.
    """
    chosen = choose_device(device)
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # set by torchrun
    fabric = Fabric(
        accelerator=chosen.type,
        devices=[chosen.index] if chosen.index is not None else processes,
        num_nodes=int(os.environ.get("WORLD_SIZE", 1)) // processes,
        strategy="ddp" if int(os.environ.get("WORLD_SIZE", 1)) > 1 else "auto",
        precision=PRECISIONS[settings.training.precision],
    )
    fabric.launch()
    return fabric


def _wanted_teachers(run: Run) -> list[tuple[str, RunSettings | None]]:
    """The names of a run's teachers, and what they are trained with; None of those that are files of weights.

    Raises:
        SettingsError: there are no settings of that name, a teacher has teachers itself, or is to be trained on masks.
        WeightsError: there is no such file of weights, or it is broken.
    """
    found: list[tuple[str, RunSettings | None]] = []
    if (teaching := run.settings.method.teaching) is None:
        return found
    for name in teaching.teachers:
        if name.endswith(".safetensors"):
            refuse_masks(name, Model.load(Path(name)).card.method)
            found.append((name, None))
            continue
        for seed in range(run.settings.seed * teaching.seeds, (run.settings.seed + 1) * teaching.seeds):
            settings = read_config(name, [f"seed={seed}"])
            if settings.method.teaching is not None:
                raise SettingsError(f"method.teaching.teachers: {name!r} has teachers itself; name those instead")
            refuse_masks(name, settings.method)
            found.append((name, settings))
    return found


def _train_teachers(
    run: Run,
    wanted: Sequence[tuple[str, RunSettings | None]],
    alike: Callable[[Run], Trained],
    say: Callable[[str], None],
) -> list[Path] | None:
    """The weights of a run's teachers; trained, or gone on with, where they are not yet. None: stopped."""
    weights = []
    for number, (name, settings) in enumerate(wanted, 1):
        if settings is None:
            weights.append(Path(name))
            continue
        folder = run.folder / TEACHERS / f"{number}-{Path(name).stem}"
        teacher = Run.open(folder) if (folder / SETTINGS).is_file() else Run.create(folder, settings)
        if teacher.settings != settings:
            raise RunError(f"{folder}: holds a teacher of other settings than {name}; start a new run with --run")
        if not teacher.finished():
            say(f"teacher {number} of {len(wanted)}: {name}, seed {settings.seed}, in {folder}")
            if not alike(teacher).finished:
                return None
        weights.append(teacher.weights)
    return weights


def _given(table: Table, method: MethodSettings) -> Table:
    """What a method may see of a data set: the one place that decides which masks reach a training."""
    return table.without_masks() if method.annotator is None else table.supervised_by(method.annotator)


def _not_beyond(run: Run) -> None:
    if run.checkpoint.is_file():
        step = int(read_progress(run.checkpoint)["step"])
        if step > run.settings.training.steps:
            raise RunError(
                f"{run.folder}: stands at step {step}, beyond training.steps {run.settings.training.steps}; give "
                f"--steps {step} to end it there, or more to go on"
            )


def _both_labels(training: Table) -> Table:
    for label in get_args(Label):
        if not training.labelled(label):
            raise DataError(f"{training.root}: split 'train' has no {label} slice; training needs both labels")
    return training


def _same_data(run: Run, before: dict[str, object], slices: PreparedSlices) -> None:
    fingerprint = before.get("fingerprint", slices.fingerprint)
    if fingerprint != slices.fingerprint:
        raise RunError(
            f"{run.folder}: was trained on other slices (fingerprint {str(fingerprint)[:12]}, now "
            f"{slices.fingerprint[:12]}); give --data the same slices, or start a new run"
        )


def _without_paths(method: AnyMethod) -> AnyMethod:
    """The settings with teachers that are files named by what is in them: folders are nobody else's business."""
    if not isinstance(method, DistilledSettings):
        return method
    teaching = method.teaching
    names = [
        f"{digest(Path(name))[:16]}.safetensors" if name.endswith(".safetensors") else name
        for name in teaching.teachers
    ]
    return replace(method, teaching=replace(teaching, teachers=tuple(names)))


def _write_weights(
    run: Run, trained: Trained, slices: PreparedSlices, table: Table, device: str, progress: Progress
) -> None:
    """Save the averaged network with a threshold from normal slices."""
    settings = run.settings
    normal = calibration_slices(table)
    facts = run.facts()
    card = ModelCard(
        format=1,
        method=_without_paths(settings.method),
        placement=settings.placement,
        normalisation=slices.normalisation,
        threshold=1.0,
        threshold_from="",
        trained={
            "run": run.folder.name,
            "steps": str(trained.step),
            "seed": str(settings.seed),
            "data fingerprint": slices.fingerprint,
            "supervision": supervision(settings.method),
            "lesionsplit": str(facts["lesionsplit"]),
            "torch": str(facts["torch"]),
        },
    )
    fired = settings.training.normals_fired
    predictor = Predictor(Model(card, trained.network), device=device)
    predictions = progress(predictor.predict_rows(normal), len(normal), "Setting the threshold")
    card = replace(
        card,
        threshold=threshold_on_normals(((one.score, one.lungs) for one in predictions), fired),
        threshold_from=f"{fired:.2%} of the lung of {len(normal)} normal slices of {normal.slices[0].split} reach it",
    )
    Model(card, trained.network).save(run.weights)

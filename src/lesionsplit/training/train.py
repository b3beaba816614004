"""From a data set and a run's settings to trained weights."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import torch
from lightning_fabric import Fabric
from msgspec.structs import replace
from torch import nn

from lesionsplit.data.cache import PreparedSlices, prepare
from lesionsplit.data.kind import ImageKind, check_region, kind_of_images
from lesionsplit.data.splits import divide, write_table
from lesionsplit.data.table import Label, Slice, Split, Table, read_table
from lesionsplit.domains.table import domain_of
from lesionsplit.errors import DataError, RunError, SettingsError
from lesionsplit.evaluation.threshold import (
    Scores,
    SeriesScores,
    calibration_slices,
    doubt_about,
    threshold_from_counts,
    threshold_of_images,
)
from lesionsplit.images import Float, Mask
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.methods.base import MethodSettings
from lesionsplit.models.card import supervision
from lesionsplit.models.device import choose_device
from lesionsplit.models.model import Model, ModelCard
from lesionsplit.progress import Progress
from lesionsplit.runtime import Runtime
from lesionsplit.settings import merged
from lesionsplit.training.checkpoint import read_progress
from lesionsplit.training.distillation import StudentSlices, Teachers, with_teacher_outputs
from lesionsplit.training.export import export_run
from lesionsplit.training.framework import open_framework
from lesionsplit.training.loop import Trained, check_batch_size, copy_weights, fit
from lesionsplit.training.record import Measurement
from lesionsplit.training.run import Run, RunSettings, first_process, read_config_table, settings_of
from lesionsplit.training.teachers import TEACHERS, train_teachers, wanted_teachers, without_paths

PRECISIONS: Final[dict[str, Literal["32-true", "bf16-mixed"]]] = {"fp32": "32-true", "bf16": "bf16-mixed"}
"""From our names to Fabric's."""

CHECKED = 32
"""Slices with lesion on which the threshold is tried."""

Watch: TypeAlias = Callable[[Run], Callable[[Measurement], None]]
"""For a run that is about to be trained, the function that receives its measurements."""


def train(
    data: str | Path,
    run: str | Path,
    *,
    config: str | Path = "distilled",
    runtime: Runtime = Runtime(),
    **settings: Any,
) -> Run:
    """Train on a data set's train split and write the weights to a new run folder.

    Args:
        data: a folder with ``slices.csv``, or with the folders ``normal`` and ``lesion``.
        run: the folder to write; it must not exist, or be empty.
        config: the name of a config of the package, or a .toml file.
        runtime: device, threads and progress.
        **settings: settings that differ from the config: ``training__steps=100`` for the key ``training.steps``, or
            a table, ``training={"steps": 100}``.

    Returns:
        The run; ``run.weights`` is the weights file. After Ctrl-C ``run.finished()`` is false.

    Raises:
        SettingsError: a setting is unknown or not allowed.
        DataError: the data set cannot be read.
        RunError: the folder is not empty, or cannot be written.
        DivergedError: the loss is not finite.
    """
    given: dict[str, Any] = {}
    for key, value in settings.items():
        for name in reversed(key.split("__")):
            value = {name: value}
        given = merged(given, value)
    made = Run.create(Path(run), settings_of(read_config_table(str(config)), given, source=str(config)))
    if train_run(made, Path(data), runtime=runtime).finished and first_process():
        export_run(made, runtime)
    return made


def train_run(
    run: Run,
    data: Path,
    *,
    cache: Path | None = None,
    runtime: Runtime = Runtime(),
    watch: Watch = lambda _: lambda _: None,
) -> Trained:
    """Train a run on a data set's train split and write its weights; its teachers, if it has any, are trained first.

    A method is trained on image labels alone. Only a supervised upper bound, whose settings name an annotator, is
    trained on that annotator's masks of the train split, too.

    Args:
        run: new, or opened again to be continued.
        data: a folder for `read_table`; masks that the method must not use are dropped right after reading.
        cache: where prepared slices are stored; by default the user's cache folder.
        runtime: device, threads, progress and messages; a continued run keeps its device and threads by default.
        watch: for this run and each of its teachers, the function that receives its measurements.

    Raises:
        DataError, RunError, SettingsError: see their messages.
    """
    before = run.facts()
    runtime = _as_before(runtime, before, run.folder)
    runtime.begin()
    check_region(run.settings.region, runtime.framework)
    framework = open_framework(runtime.framework or "torch", run.settings, runtime.device)
    init_network = _init_network(run)
    wanted = wanted_teachers(run)
    fabric = launch(run.settings, framework.host_device)
    check_batch_size(run.settings.training.batch_size, fabric.world_size)
    _check_steps(run)
    method = run.settings.method
    whole = read_table(run.splits if run.splits.is_file() else data)
    whole, said = (whole, "") if whole.divided else divide(whole, run.settings.seed)
    table = visible_masks(whole, method)
    training = _labels(table.split("train"), method)
    kind = kind_of_images(run.settings.region, [row.image for row in table])
    kind.check(table)
    _check_calibration_slices(table, kind, runtime.progress)
    slices = prepare(
        training,
        run.settings.placement,
        kind=kind,
        annotator=method.annotator,
        folder=cache,
        progress=runtime.progress,
    )
    _same_data(run, before, slices)
    _check_first_teacher(method, wanted, kind)
    if fabric.is_global_zero:
        run.describe(
            data=str(data.resolve()),
            fingerprint=slices.fingerprint,
            normal_slices=len(training.labelled("normal")),
            lesion_slices=len(training.labelled("lesion")),
            processes=fabric.world_size,
            threads=torch.get_num_threads(),
            precision=run.settings.training.precision,
            supervision=supervision(method.annotator),
            **framework.facts(fabric),
        )
        if said:
            write_table(run.splits, whole)
            runtime.say(f"{said}: {run.splits}")
        if method.annotator is not None:  # only after all checks: an error message is one line
            runtime.say(f"trains on {supervision(method.annotator)}, not a weakly supervised method")
    if method.distillation is not None:
        train_teacher = partial(
            train_run,
            data=run.splits if said or run.splits.is_file() else data,
            cache=cache,
            runtime=runtime,
            watch=watch,
        )
        weights = train_teachers(run, wanted, train_teacher, runtime.say)
        if weights is None:
            return Trained(network=method.build_network(domain_of(kind)), step=0, finished=False)
        slices = with_teacher_outputs(
            StudentSlices(prepared=slices, table=training, placement=run.settings.placement),
            Teachers(weights=weights, half_confidence_ratio=method.distillation.half_confidence_ratio),
            run.folder / TEACHERS,
            fabric,
            runtime.progress,
        )
        if method.distillation.init_from_teacher:
            init_network = Model.load(weights[0]).network
    trained = fit(run, slices, fabric, watch(run), init_network, framework)
    if trained.finished and fabric.is_global_zero:
        doubt = _write_weights(
            run, trained, slices, table, lambda model: framework.predictor(model, fabric), runtime.progress
        )
        if doubt:
            runtime.warn(f"{run.folder}: {doubt}")
    return trained


def _as_before(runtime: Runtime, before: Mapping[str, Any], folder: Path) -> Runtime:
    """The runtime with the kind of device, the threads and the framework of a continued run, for the same bits.

    Raises:
        RunError: another framework is asked for.
    """
    known = before.get("device")
    framework = before.get("framework", "torch") if before else runtime.framework
    if runtime.framework not in (None, framework):
        raise RunError(
            f"{folder}: was trained with {framework}; leave --framework out, or start a new run, whose "
            "training.init_weights may be the weights of this one"
        )
    device = known.partition(":")[0] if runtime.device == "auto" and known else runtime.device
    threads = runtime.threads or before.get("threads")
    return dataclasses.replace(runtime, device=device, threads=threads, framework=framework)


def launch(settings: RunSettings, device: str) -> Fabric:
    """Fabric on one device, or on one for each process of `torchrun`.

    Raises:
        SettingsError: the device is not available.
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


def visible_masks(table: Table, method: MethodSettings) -> Table:
    """The data set with only the masks that a method may be trained on: none, or those of its annotator in train."""
    return table.without_masks() if method.annotator is None else table.supervised_by(method.annotator)


def _check_steps(run: Run) -> None:
    """Refuse a checkpoint after the last step."""
    if run.checkpoint.is_file():
        step = int(read_progress(run.checkpoint)["step"])
        if step > run.settings.training.steps:
            raise RunError(
                f"{run.folder}: is at step {step}, after the last step {run.settings.training.steps}; give --steps "
                f"{step} to end the run there, or more to continue"
            )


def _labels(training: Table, method: MethodSettings) -> Table:
    """The slices of train, if they have the labels that the method needs."""
    for label in get_args(Label):
        if not training.labelled(label) and not (label == "lesion" and method.learns_from_normals):
            more = "; from normal ones alone learn --config quick and --config synthesis" if label == "lesion" else ""
            raise DataError(f"{training.root}: split 'train' has no {label} slice; training needs both labels{more}")
    return training


def _check_first_teacher(
    method: MethodSettings, wanted: Sequence[tuple[str, RunSettings | None]], kind: ImageKind
) -> None:
    """Refuse a first teacher whose weights the network cannot start from, before the teachers are trained.

    Raises:
        SettingsError: it is so.
    """
    if method.distillation is None or not method.distillation.init_from_teacher or wanted[0][1] is None:
        return
    with torch.random.fork_rng(devices=[]):
        copy_weights(*(one.build_network(domain_of(kind)) for one in (wanted[0][1].method, method)))


def _check_calibration_slices(table: Table, kind: ImageKind, progress: Progress) -> None:
    """Read the slices that set the threshold, so that a broken one is an error before training and not after."""
    normal = calibration_slices(table)
    if normal.slices[0].split != "train":  # `prepare` reads those of train
        for row in progress(normal, len(normal), "Checking normal slices"):
            kind.read_row(row)


def _same_data(run: Run, before: Mapping[str, Any], slices: PreparedSlices) -> None:
    """Refuse to continue a run on other slices."""
    fingerprint = before.get("fingerprint") or slices.fingerprint
    if fingerprint != slices.fingerprint:
        raise RunError(
            f"{run.folder}: was trained on other slices (fingerprint {fingerprint[:12]}, now "
            f"{slices.fingerprint[:12]}); give the same slices, or start a new run"
        )


def _init_network(run: Run) -> nn.Module | None:
    """The network that a run starts from, if its settings name one.

    Raises:
        WeightsError: the file is missing or broken.
        SettingsError: it is of another method or network.
    """
    name = run.settings.training.init_weights
    if name is None or run.checkpoint.is_file():
        return None
    model, method = Model.load(Path(name)), run.settings.method
    if (type(model.card.method), model.card.method.network) != (type(method), method.network):
        raise SettingsError(
            f"training.init_weights: {name} is of another method or network; give one of the same [method.network], or "
            "copy that of its settings"
        )
    return model.network


def _write_weights(
    run: Run,
    trained: Trained,
    slices: PreparedSlices,
    table: Table,
    predictor_for: Callable[[Model], SlicePredictor],
    progress: Progress,
) -> str:
    """Save the averaged network, with a threshold set on normal slices; returns what is wrong with it, if anything."""
    settings = run.settings
    normal = calibration_slices(table)
    facts = run.facts()
    card = ModelCard(
        format=3,
        method=without_paths(settings.method),
        placement=settings.placement,
        normalisation=slices.normalisation,
        threshold=1.0,
        threshold_from="",
        region=slices.kind.region,
        channels=slices.kind.channels,
        trained={
            "run": run.folder.name,
            "steps": str(trained.step),
            "seed": str(settings.seed),
            "data fingerprint": slices.fingerprint,
            "supervision": supervision(settings.method.annotator),
            "lesionsplit": str(facts["lesionsplit"]),
            **{name: str(facts[name]) for name in ("torch", "mindspore") if name in facts},
        },
    )
    fpr = settings.training.calibration_fpr
    predictor = predictor_for(Model(card, trained.network))
    by_series = SeriesScores()

    def of_series() -> Iterator[tuple[Float, Mask]]:
        predictions = progress(predictor.predict_rows(normal), len(normal), "Setting the threshold")
        for row, one in zip(normal, predictions, strict=True):
            if slices.kind.of_lungs:
                by_series.add(row.series, one.score, one.lungs)
            yield one.score, one.lungs

    of_normal = Scores.of(of_series())
    lesion = _some_with_lesion(table, normal.slices[0].split)
    found = progress(predictor.predict_stream(map(slices.kind.read_row, lesion)), len(lesion), "Checking the threshold")
    of_lesion = Scores.of((one.score, one.lungs) for one in found)
    if slices.kind.of_lungs:
        threshold = threshold_from_counts(of_normal.counts, fpr)
        words = f"{fpr:.2%} of the lung of {len(normal)} normal slices of {normal.slices[0].split} reach it"
    else:
        threshold, words = threshold_of_images(of_normal, of_lesion)
        words = f"{words}; {len(normal)} normal images of {normal.slices[0].split}"
    card = replace(card, threshold=threshold, threshold_from=words, thresholds=by_series.thresholds())
    Model(card, trained.network).save(run.weights)
    return doubt_about(threshold, of_normal, of_lesion)


def _some_with_lesion(table: Table, split: Split) -> list[Slice]:
    """A few slices with lesion, of a split if it has some, never of test."""
    lesion = table.labelled("lesion").select(lambda row: row.split != "test")
    rows = [row for row in lesion if row.split == split] or list(lesion)
    return rows[:: max(1, len(rows) // CHECKED)][:CHECKED]

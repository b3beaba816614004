"""Scores every entry of a study by the same code on the same slices."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from lesionsplit.calibration import calibration_slices, threshold_on_normals
from lesionsplit.data.lungs import read_slice
from lesionsplit.data.table import Table
from lesionsplit.evaluation.baselines import UNTRAINED
from lesionsplit.evaluation.differences import paired_differences
from lesionsplit.evaluation.protocol import evaluate, untrained_scores
from lesionsplit.evaluation.tally import Scored
from lesionsplit.methods.base import supervision
from lesionsplit.model import Model
from lesionsplit.predictor import Predictor
from lesionsplit.progress import Progress, silent
from lesionsplit.run import Run
from lesionsplit.study.comparison import Comparison, Contestant, Cost
from lesionsplit.study.plan import reading_of, run_folder, seeds_of
from lesionsplit.study.settings import EntrySettings, StudySettings
from lesionsplit.training.checkpoint import read_progress

TIMED = 24
"""Slices by which a method's speed is measured."""

NO_TRAINING = "none: no training"


def compare(
    study: StudySettings,
    entries: tuple[EntrySettings, ...],
    whole: Table,
    out: Path,
    *,
    device: str = "auto",
    progress: Progress = silent,
) -> Comparison:
    """Score entries of a study on its split.

    Args:
        study: says which split, at which resolution, and what all are compared with.
        entries: those to be scored, the reference among them; what they need is trained.
        whole: the whole data set: thresholds are set on its normal slices, as for every weights file.
        out: the folder that the runs lie in.
        device: as for `Predictor.load`.
        progress: shows how far it is.

    Raises:
        DataError, SettingsError, WeightsError: see their messages.
    """
    table = whole.split(study.split)
    ready = _Ready(study=study, whole=whole, table=table, out=out, device=device, progress=progress)
    contestants = tuple(one for entry in entries for one in ready.contestants(entry))
    scores = {one.label: one.heat_maps(table) for one in contestants}
    rows = iter(progress(table, len(table), f"Scoring {len(contestants)} heat maps a slice"))
    first = contestants[0].label
    scores[first] = (one for _, one in zip(rows, scores[first], strict=False))
    evaluation, tallies = evaluate(table, scores, {one.label: one.threshold for one in contestants}, study.resolution)
    for one in contestants:
        evaluation.conventions[f"supervision of {one.label}"] = one.supervision
    return Comparison(
        study=study,
        table=table,
        evaluation=evaluation,
        tallies=tallies,
        contestants=contestants,
        differences=paired_differences(tallies, study.reference),
        classifier_auroc={one.label: evaluation.slices[one.label].auroc for one in contestants if one.judges},
    )


class _Ready:
    """Makes entries ready to score."""

    def __init__(
        self, *, study: StudySettings, whole: Table, table: Table, out: Path, device: str, progress: Progress
    ) -> None:
        self.study = study
        self.table = table
        self.out = out
        self.device = device
        self.progress = progress
        self.normals = calibration_slices(whole) if len(whole.labelled("normal")) else None

    def contestants(self, entry: EntrySettings) -> Iterator[Contestant]:
        """An entry, once for each of its seeds."""
        if entry.untrained is not None:
            yield self._untrained(entry, entry.untrained)
        elif entry.weights is not None:
            yield self._model(entry, Model.load(None if entry.weights == "default" else Path(entry.weights)))
        else:
            for number, seed in enumerate(seeds_of(self.study, entry)):
                label = entry.name if number == 0 else f"{entry.name}, seed {seed}"
                yield self._trained(entry, seed, label)

    def _untrained(self, entry: EntrySettings, name: str) -> Contestant:
        def heat_maps(rows: Table) -> Iterator[Scored]:
            return untrained_scores(map(read_slice, rows), UNTRAINED[name], self.study.resolution)

        _, speed = self._tried(heat_maps)
        return Contestant(
            label=entry.name,
            entry=entry,
            seed=None,
            annotator=None,
            supervision=NO_TRAINING,
            threshold=self._threshold(entry, heat_maps),
            judges=False,
            cost=Cost(slices_per_second=speed),
            heat_maps=heat_maps,
        )

    def _trained(self, entry: EntrySettings, seed: int, label: str) -> Contestant:
        trained = entry if entry.reads is None else self.study.named(entry.reads)
        run = Run.open(run_folder(self.out, trained, seed))
        model = Model.load(run.weights)
        if entry.reads is not None:
            method = reading_of(entry, model.card.method)
            model = Model(msgspec.structs.replace(model.card, method=method), model.network)
        seconds = read_progress(run.checkpoint)["seconds"] if run.checkpoint.is_file() else None
        training = run.settings.training
        return self._model(
            entry,
            model,
            label=label,
            seed=seed,
            anew=entry.reads is not None,
            cost=Cost(
                slices_per_second=0.0,
                training_seconds=seconds,
                slices_seen=training.steps * 2 * training.batch_size,
                threads=run.facts().get("threads"),
            ),
        )

    def _model(
        self,
        entry: EntrySettings,
        model: Model,
        *,
        label: str | None = None,
        seed: int | None = None,
        anew: bool = False,
        cost: Cost | None = None,
    ) -> Contestant:
        """A network as it is read; ``anew``: its stored threshold is another reading's."""
        predictor = Predictor(model, device=self.device)

        def heat_maps(rows: Table) -> Iterator[Scored]:
            for one in predictor.predict_rows(rows):
                yield Scored(one.score, one.lungs, one.presence)

        judges, speed = self._tried(heat_maps)
        return Contestant(
            label=label or entry.name,
            entry=entry,
            seed=seed,
            annotator=model.card.method.annotator,
            supervision=supervision(model.card.method),
            threshold=self._threshold(entry, heat_maps) if anew else predictor.threshold,
            judges=judges,
            cost=dataclasses.replace(
                cost or Cost(slices_per_second=speed),
                slices_per_second=speed,
                parameters=sum(weight.numel() for weight in model.network.parameters()),
            ),
            heat_maps=heat_maps,
        )

    def _tried(self, heat_maps: Callable[[Table], Iterator[Scored]]) -> tuple[bool, float]:
        """Whether a method judges whole slices, and how many it scores a second."""
        some = dataclasses.replace(self.table, slices=self.table.slices[:: max(1, len(self.table) // TIMED)])
        first = next(heat_maps(some))  # warms up
        start = time.perf_counter()
        count = sum(1 for _ in heat_maps(some))
        return first.presence is not None, count / (time.perf_counter() - start)

    def _threshold(self, entry: EntrySettings, heat_maps: Callable[[Table], Iterator[Scored]]) -> float | None:
        if self.normals is None:
            return None
        title = f"Threshold of {entry.name}"
        rows = iter(self.progress(self.normals, len(self.normals), title))
        found = (one for _, one in zip(rows, heat_maps(self.normals), strict=False))
        return threshold_on_normals((one.score, one.lungs) for one in found)

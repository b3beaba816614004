"""Scores every entry of a comparison with the same code on the same slices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lesionsplit.comparison.result import Comparison, Cost, Entry
from lesionsplit.comparison.settings import ComparisonSettings, EntrySettings
from lesionsplit.data.kind import ImageKind, kind_of_images
from lesionsplit.data.table import Table
from lesionsplit.errors import SettingsError, needs_training_packages
from lesionsplit.evaluation.accumulators import Scored
from lesionsplit.evaluation.baselines import UNTRAINED
from lesionsplit.evaluation.protocol import evaluate, untrained_scores
from lesionsplit.evaluation.threshold import calibration_slices, threshold_from_normals
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.models.card import supervision
from lesionsplit.runtime import Runtime

TIMED = 24
"""Slices on which a method's speed is measured."""

NO_TRAINING = "none: no training"
NO_NORMALS = "nothing: the data set has no normal slice to set it on"


def prepare_entries(
    config: ComparisonSettings, entries: tuple[EntrySettings, ...], whole: Table, out: Path, runtime: Runtime
) -> tuple[Entry, ...]:
    """Load what entries of a comparison need, once for each of their seeds, and set the thresholds that are not stored.

    Args:
        config: the whole comparison.
        entries: those to be scored; the runs that they need are trained.
        whole: the whole data set. Thresholds are set on its normal slices, as for every weights file.
        out: the folder of the runs.
        runtime: device, engine and progress; an entry that reads another entry's network always runs in torch.

    Raises:
        DataError, SettingsError, WeightsError: see their messages.
    """
    normals = calibration_slices(whole) if len(whole.labelled("normal")) else None
    kind = kind_of_images(config.region, [row.image for row in whole])
    ready = _Preparation(config=config, kind=kind, normals=normals, out=out, runtime=runtime)
    return tuple(one for entry in entries for one in ready.entries(entry))


def score_entries(config: ComparisonSettings, entries: tuple[Entry, ...], table: Table, runtime: Runtime) -> Comparison:
    """Score entries on the slices of a split.

    Args:
        config: the whole comparison: the resolution and the reference, which is among the entries.
        entries: prepared by `prepare_entries`.
        table: the slices of the split.
        runtime: shows the progress.

    Raises:
        DataError: see its message.
    """
    scores = {one.label: one.heat_maps(table) for one in entries}
    title = f"Scoring {len(entries)} heat map{'s' * (len(entries) > 1)} per slice"
    rows = iter(runtime.progress(table, len(table), title))
    first = entries[0].label
    scores[first] = (one for _, one in zip(rows, scores[first], strict=False))
    thresholds = {one.label: one.threshold for one in entries}
    called_normal = ImageKind(region=config.region).called_normal
    evaluation, accumulators = evaluate(table, scores, thresholds, config.resolution, called_normal)
    for one in entries:
        evaluation.conventions[f"threshold of {one.label} from"] = one.threshold_from
        evaluation.conventions[f"supervision of {one.label}"] = one.supervision
        if one.neighbour_weight is not None:
            evaluation.conventions[f"neighbours of {one.label}"] = one.neighbour_weight
    return Comparison(config=config, table=table, evaluation=evaluation, accumulators=accumulators, entries=entries)


def with_speed(one: Entry, table: Table) -> Entry:
    """The entry with its measured speed, in slices per second."""
    some = replace(table, slices=table.slices[:: max(1, len(table) // TIMED)])
    next(one.heat_maps(some))  # warms up
    start = time.perf_counter()
    count = sum(1 for _ in one.heat_maps(some))
    return replace(one, cost=replace(one.cost, slices_per_second=count / (time.perf_counter() - start)))


def _described(kind: ImageKind) -> str:
    return "lungs" if kind.of_lungs else f"{'colour' if kind.channels == 3 else 'grey'} images of region {kind.region}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Preparation:
    config: ComparisonSettings
    kind: ImageKind
    normals: Table | None
    out: Path
    runtime: Runtime

    def entries(self, entry: EntrySettings) -> Iterator[Entry]:
        """An entry, once for each of its seeds."""
        if entry.untrained is not None:
            if (entry.untrained == "deviation") == self.kind.of_lungs:
                raise SettingsError(
                    f"entry {entry.name!r}: untrained is {entry.untrained!r}, and the region is {self.kind.region}; "
                    f"allowed: {'opening, smoothing' if self.kind.of_lungs else 'deviation'}"
                )
            yield self._untrained(entry, entry.untrained)
        elif entry.weights is not None:
            weights = None if entry.weights == "default" else Path(entry.weights)
            yield self._network(entry, self._load(weights, entry.threshold))
        else:
            for number, seed in enumerate(self.config.seeds_of(entry)):
                yield self._trained(entry, seed, entry.name if number == 0 else f"{entry.name}, seed {seed}")

    def _untrained(self, entry: EntrySettings, name: str) -> Entry:
        def heat_maps(rows: Table) -> Iterator[Scored]:
            return untrained_scores(map(self.kind.read_row, rows), UNTRAINED[name], self.config.resolution)

        threshold, threshold_from = self._threshold(entry, heat_maps)
        return Entry(
            label=entry.name,
            settings=entry,
            supervision=NO_TRAINING,
            threshold=threshold,
            threshold_from=threshold_from,
            heat_maps=heat_maps,
        )

    def _trained(self, entry: EntrySettings, seed: int, label: str) -> Entry:
        with needs_training_packages():
            from lesionsplit.comparison.trained import load_trained  # imports PyTorch
        predictor, cost = load_trained(self.config, entry, seed, self.out, self.runtime)
        one = self._network(entry, predictor)
        return replace(one, label=label, seed=seed, cost=replace(one.cost, **cost))

    def _load(self, weights: Path | None, threshold: float | str | None) -> SlicePredictor:
        predictor = SlicePredictor.load(
            weights, device=self.runtime.device, threshold=threshold, engine=self.runtime.engine
        )
        if predictor.card.kind != self.kind:
            raise SettingsError(
                f"{weights or 'default'}: is for {_described(predictor.card.kind)}, and the comparison is of "
                f"{_described(self.kind)}; choose other weights, or the region of the comparison"
            )
        return predictor

    def _network(self, entry: EntrySettings, predictor: SlicePredictor) -> Entry:
        def heat_maps(rows: Table) -> Iterator[Scored]:
            for one in predictor.predict_rows(rows):
                # what lesions add is measured from healthy versions of lungs only
                healthy = one.healthy if self.kind.of_lungs else None
                yield Scored(one.score, one.lungs, one.presence, healthy)

        card = predictor.card
        threshold: float | None = predictor.threshold
        threshold_from = predictor.threshold_from
        if entry.reads is not None:  # the stored threshold belongs to the other method
            threshold, threshold_from = self._threshold(entry, heat_maps)
        return Entry(
            label=entry.name,
            settings=entry,
            annotator=card.method.annotator,
            supervision=card.trained.get("supervision") or supervision(card.method.annotator),
            threshold=threshold,
            threshold_from=threshold_from,
            neighbour_weight=card.method.neighbour_weight,
            cost=Cost(parameters=predictor.engine.parameters),
            heat_maps=heat_maps,
        )

    def _threshold(
        self, entry: EntrySettings, heat_maps: Callable[[Table], Iterator[Scored]]
    ) -> tuple[float | None, str]:
        """A threshold set on normal slices, and where it is from."""
        if self.normals is None:
            return None, NO_NORMALS
        rows = iter(self.runtime.progress(self.normals, len(self.normals), f"Threshold of {entry.name}"))
        found = (one for _, one in zip(rows, heat_maps(self.normals), strict=False))
        threshold = threshold_from_normals((one.score, one.lungs) for one in found)
        return threshold, f"normal slices of {self.normals.slices[0].split}"

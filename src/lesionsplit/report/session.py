"""From a data set and weights to the whole report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import msgspec
import torch

from lesionsplit.calibration import calibration_slices, threshold_on_normals
from lesionsplit.data.lungs import read_slice
from lesionsplit.data.table import Table, read_table
from lesionsplit.errors import DataError
from lesionsplit.evaluation.baselines import UNTRAINED
from lesionsplit.evaluation.healthy import HealthyTally
from lesionsplit.evaluation.protocol import Evaluation, evaluate, untrained_scores
from lesionsplit.evaluation.slices import worst
from lesionsplit.evaluation.tally import MethodTally, Scored
from lesionsplit.images import write_bytes, write_image
from lesionsplit.memory import keep_freed_memory
from lesionsplit.model import digest
from lesionsplit.predictor import Prediction, Predictor
from lesionsplit.progress import Progress, silent
from lesionsplit.report.examples import SEED, choose_examples, choose_random, described_page, example_page
from lesionsplit.report.tables import slices_to_csv, to_csv, to_json, to_markdown

OURS = "lesionsplit"
MORPHOLOGY = "opening"


def evaluate_weights(
    data: Path,
    weights: Path | None,
    split: str,
    folder: Path,
    *,
    resolution: int = 256,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> str:
    """Evaluate weights on a split and write numbers, curves and pages of slices; returns the tables as text.

    Raises:
        DataError, WeightsError, SettingsError: see their messages.
    """
    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()
    predictor = Predictor.load(weights, device=device)
    whole = read_table(data)
    table = whole.split(split)  # type: ignore[arg-type]
    if not table.annotators:
        raise DataError(f"{data}: has no masks in split {split!r}; evaluation needs columns mask_<annotator>")
    evaluation, tallies = _evaluate(predictor, whole, table, resolution, progress)
    evaluation.conventions["weights"] = digest(weights)
    text = to_markdown(evaluation)
    write_bytes(folder / "metrics.json", to_json(evaluation).encode())
    write_bytes(folder / "metrics.csv", to_csv(evaluation).encode())
    write_bytes(folder / "metrics.md", text.encode())
    slices = tallies[OURS].slices
    write_bytes(folder / "per_slice.csv", slices_to_csv(slices, table).encode())
    chosen = choose_examples(table)
    predictions = predictor.predict_rows(chosen, among=table)
    write_image(folder / "examples.png", example_page(chosen, predictions, table.annotators))
    first = table.annotators[0]
    for name, (heading, described) in {
        "worst": ("worst first, by wrong share of lung", worst(slices, first, count=20, of_a_series=2)),
        "random": (f"drawn at random, seed {SEED}", choose_random(slices)),
    }.items():
        predictions = predictor.predict_rows((one.row for one in described), among=table)
        write_image(folder / f"{name}.png", described_page(described, predictions, table.annotators, heading))
    if find_spec("matplotlib") is None:
        say("no curves: they need matplotlib (pip install 'lesionsplit[plots]'); all numbers are written")
    else:
        from lesionsplit.report.curves import write_curves

        write_curves(folder, evaluation, tallies)
    return text


def _evaluate(
    predictor: Predictor, whole: Table, table: Table, resolution: int, progress: Progress
) -> tuple[Evaluation, dict[str, MethodTally]]:
    """The model at its stored threshold, and the morphology baseline at one set in the same way."""
    threshold, threshold_from = _threshold_of_openings(whole, resolution, progress)
    predictions = predictor.predict_rows(progress(table, len(table), "Evaluating"))
    thresholds = {OURS: predictor.threshold, MORPHOLOGY: threshold}
    known = HealthyTally()
    scores = {
        OURS: _scored(table, predictions, known),
        MORPHOLOGY: untrained_scores(map(read_slice, table), UNTRAINED[MORPHOLOGY], resolution),
    }
    evaluation, tallies = evaluate(table, scores, thresholds, resolution)
    card = predictor.model.card
    evaluation.conventions[f"threshold of {MORPHOLOGY} from"] = threshold_from
    evaluation.conventions[f"threshold of {OURS} from"] = card.threshold_from
    evaluation.conventions[f"neighbours of {OURS}"] = card.method.neighbours
    if "supervision" in card.trained:
        evaluation.conventions[f"supervision of {OURS}"] = card.trained["supervision"]
    return msgspec.structs.replace(evaluation, healthy=known.summarise()), tallies


def _threshold_of_openings(whole: Table, resolution: int, progress: Progress) -> tuple[float | None, str]:
    """The morphology baseline's threshold, and where it is from; none where there is no normal slice at all."""
    if not len(whole.labelled("normal")):
        return None, "nothing: the data set has no normal slice to set it on"
    normal = calibration_slices(whole)
    slices = map(read_slice, progress(normal, len(normal), "Morphology on normal slices"))
    openings = untrained_scores(slices, UNTRAINED[MORPHOLOGY], resolution)
    threshold = threshold_on_normals((one.score, one.lungs) for one in openings)
    return threshold, f"normal slices of {normal.slices[0].split}"


def _scored(table: Table, predictions: Iterable[Prediction], known: HealthyTally) -> Iterator[Scored]:
    for row, prediction in zip(table, predictions, strict=True):
        known.add(row, prediction.healthy, prediction.lungs)
        yield Scored(prediction.score, prediction.lungs)

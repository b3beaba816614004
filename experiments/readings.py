"""What each part of the score adds, on one trained network: no training, another reading of the same logits.

    python experiments/readings.py WEIGHTS DATA [--split val] [--as CONFIG] [--write FILE]

Of weights of `distilled` or `synthesis`. Prints pooled average precision and best Dice (whole frame at 256) against
the first two annotators, the lowest Dice of any threshold from 0.1 to 0.6 as a share of the best, and average precision
over the slices with the most disease: over `EXTENSIVE` of the lung outlined by either of the two. With --write, it also
writes the weights, unchanged, with the threshold set anew as training sets it, for when the way to the score has
changed; with --as, read as those settings say.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec
import numpy as np
from msgspec.structs import replace

from lesionsplit.data.lung_slice import read_slice
from lesionsplit.data.table import Slice, Table, read_table
from lesionsplit.errors import LesionsplitError
from lesionsplit.evaluation.accumulators import Scored
from lesionsplit.evaluation.protocol import RESOLUTION, evaluate, read_mask, to_grid
from lesionsplit.evaluation.threshold import CALIBRATION_FPR, SeriesScores, calibration_slices, threshold_from_normals
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.methods.base import MethodSettings
from lesionsplit.methods.synthesis import SynthesisSettings
from lesionsplit.models.model import Model, ModelCard
from lesionsplit.models.torch_engine import TorchEngine
from lesionsplit.report.comparison.cells import estimate_cell
from lesionsplit.training.run import read_config

EVERYWHERE = 1e6
"""As `faint`, it leaves nothing of how much a pixel stands out; less it as `healthy`, all lung counts as healthy."""

EXTENSIVE = 0.3
"""Share of the lung that is outlined in slices with much disease; the first two annotators' larger."""

READINGS: dict[str, dict[str, dict[str, float]]] = {
    "distilled": {
        "as it is": {},
        "no pleural margin": {"pleural_margin": 0.0},
        "slices alone": {"neighbour_weight": 0.0},
        "slices alone, no pleural margin": {"neighbour_weight": 0.0, "pleural_margin": 0.0},
        "score_odds 3.3": {"score_odds": 3.3},
        "score_odds 2, logit_scale 1": {"score_odds": 2.0, "logit_scale": 1.0},
    },
    "synthesis": {
        "as it is": {},
        "parenchyma is the whole lung's median": {"healthy": -EVERYWHERE},
        "no pleural margin": {"pleural_margin": 0.0},
        "no pleural margin, no contrast weight": {"pleural_margin": 0.0, "faint": EVERYWHERE},
        "no contrast weight": {"faint": EVERYWHERE},
        "temperature 1": {"temperature": 1.0},
        "temperature 2.5": {"temperature": 2.5},
    },
}
"""By the method's name, what is changed in its settings; of `synthesis`, in those of its calibration."""


def with_reading(card: ModelCard, **changes: float) -> ModelCard:
    """The card with another way from logit to score."""
    method = card.method
    if isinstance(method, SynthesisSettings):
        changed = replace(method, calibration=replace(method.calibration, **changes))
        return replace(card, method=changed)
    return replace(card, method=replace(method, **changes))


def name_of(method: MethodSettings) -> str:
    """What a configuration calls it."""
    return str(msgspec.to_builtins(method)["name"])


def with_threshold(model: Model, table: Table, fired: float = CALIBRATION_FPR) -> Model:
    """The model with its thresholds set anew, on the normal slices that training would set them on."""
    normal = calibration_slices(table)
    found = list(SlicePredictor(TorchEngine(model)).predict_rows(normal))
    by_series = SeriesScores()
    for row, one in zip(normal, found, strict=True):
        by_series.add(row.series, one.score, one.lungs)
    card = replace(
        model.card,
        threshold=threshold_from_normals(((one.score, one.lungs) for one in found), fired),
        threshold_from=f"{fired:.2%} of the lung of {len(normal)} normal slices of {normal.slices[0].split} reach it",
        thresholds=by_series.thresholds(),
    )
    return Model(card, model.network)


def outlined(row: Slice, annotators: tuple[str, ...]) -> float:
    """Share of a slice's lung that is lesion, by the annotator who outlined more."""
    whole = read_slice(row)
    lungs = to_grid(Scored(np.zeros(whole.lungs.shape, dtype=np.float32), whole.lungs), RESOLUTION).lungs
    return max(float((read_mask(row, name, RESOLUTION) & lungs).sum() / lungs.sum()) for name in annotators)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="val", choices=["val", "test"])
    parser.add_argument("--as", dest="config", metavar="CONFIG", help="read as these settings say")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the weights with the threshold set anew")
    given = parser.parse_args()
    everything = read_table(given.data)
    table = everything.split(given.split).labelled("lesion")
    judges = table.annotators[:2]
    if not len(table) or not judges:
        sys.exit(
            f"{given.data}: {len(table)} slices with lesion and {len(judges)} annotators in {given.split}; needs both"
        )
    much = [row for row in table if outlined(row, judges) > EXTENSIVE]
    extensive = table.select(lambda row: row in much)
    model, fired = Model.load(given.weights), CALIBRATION_FPR
    if given.config:
        settings = read_config(given.config)
        if name_of(settings.method) != name_of(model.card.method):
            sys.exit(
                f"{given.config}: is of {name_of(settings.method)}; the weights are of {name_of(model.card.method)}"
            )
        if settings.method.network != model.card.method.network:
            sys.exit(
                f"{given.config}: its network is {settings.method.network}; the weights' {model.card.method.network}"
            )
        fired = settings.training.calibration_fpr
        model = Model(replace(model.card, method=settings.method), model.network)
    if name_of(model.card.method) not in READINGS:
        sys.exit(f"{given.weights}: is of {name_of(model.card.method)}; allowed: {', '.join(READINGS)}")
    print(f"| reading | AP | best Dice | lowest Dice, 0.1 to 0.6, of the best | AP, the {len(much)} most extensive |")
    print("|---|---|---|---|---|")
    for name, changes in READINGS[name_of(model.card.method)].items():
        predictor = SlicePredictor(TorchEngine(Model(with_reading(model.card, **changes), model.network)))
        predictions = predictor.predict_rows(table)
        scores = [to_grid(Scored(one.score, one.lungs), RESOLUTION) for one in predictions]
        evaluation, _ = evaluate(table, {name: scores}, {name: predictor.threshold})
        severe = [one for one, row in zip(scores, table, strict=True) if row in much]
        whole = [evaluation.methods[name][who] for who in judges]
        part = []
        if much:
            among, _ = evaluate(extensive, {name: severe}, {name: predictor.threshold})
            part = [among.methods[name][who] for who in judges]
        columns = [
            [one["average_precision"] for one in whole],
            [one["dice_oracle"] for one in whole],
            [one["dice_lowest_0.1_to_0.6"] for one in whole],
            [one["average_precision"] for one in part],
        ]
        cells = (" / ".join(estimate_cell(estimate).text for estimate in column) or "-" for column in columns)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    if given.write:
        written = with_threshold(model, everything, fired)
        written.save(given.write)
        print(f"\n{given.write}: threshold {written.card.threshold:.4f}, {written.card.threshold_from}")


if __name__ == "__main__":
    try:
        main()
    except LesionsplitError as error:
        sys.exit(str(error))

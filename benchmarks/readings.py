"""What each part of the score adds, on one trained network: no training, another reading of the same logits.

    python benchmarks/readings.py WEIGHTS DATA [--split val] [--write FILE]

Prints pooled average precision and best Dice (whole frame at 256) against the first two annotators, the lowest
Dice of any threshold from 0.1 to 0.6 as a share of the best, and average precision over the slices with the most
disease: over `EXTENSIVE` of the lung outlined by either of the two. With --write, it also writes the weights,
unchanged, with the threshold set anew as training sets it, for when the way to the score has changed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import numpy as np

from lesionsplit.calibration import NORMALS_FIRED, calibration_slices, threshold_on_normals
from lesionsplit.data.lungs import read_slice
from lesionsplit.data.table import Slice, Table, read_table
from lesionsplit.evaluation.protocol import RESOLUTION, evaluate, read_mask, to_grid
from lesionsplit.evaluation.tally import Scored
from lesionsplit.model import Model, ModelCard
from lesionsplit.predictor import Predictor

EVERYWHERE = 1e6
"""As `faint`, it leaves nothing of how much a pixel stands out; less it as `healthy`, all lung counts as healthy."""

EXTENSIVE = 0.3
"""Share of the lung that is outlined in slices with much disease; the first two annotators' larger."""

READINGS = {
    "as it is": {},
    "parenchyma is the whole lung's median": {"healthy": -EVERYWHERE},
    "no rim": {"rim": 0.0},
    "no rim, not by how much it stands out": {"rim": 0.0, "faint": EVERYWHERE},
    "not by how much it stands out": {"faint": EVERYWHERE},
    "temperature 1": {"temperature": 1.0},
    "temperature 2.5": {"temperature": 2.5},
}


def with_reading(card: ModelCard, **changes: float) -> ModelCard:
    """The card with another way from logit to score."""
    calibration = msgspec.structs.replace(card.method.calibration, **changes)
    return msgspec.structs.replace(card, method=msgspec.structs.replace(card.method, calibration=calibration))


def with_threshold(model: Model, table: Table) -> Model:
    """The model with its threshold set anew, on the normal slices that training would set it on."""
    normal = calibration_slices(table)
    predictions = Predictor(model).predict_stream(map(read_slice, normal))
    card = msgspec.structs.replace(
        model.card,
        threshold=threshold_on_normals((one.score, one.lungs) for one in predictions),
        threshold_from=(
            f"{NORMALS_FIRED:.2%} of the lung of {len(normal)} normal slices of {normal.slices[0].split} reach it"
        ),
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
    parser.add_argument("--write", type=Path, metavar="FILE", help="the weights with the threshold set anew")
    given = parser.parse_args()
    everything = read_table(given.data)
    table = everything.split(given.split).labelled("lesion")
    judges = table.annotators[:2]
    much = [row for row in table if outlined(row, judges) > EXTENSIVE]
    extensive = table.select(lambda row: row in much)
    model = Model.load(given.weights)
    print(f"| reading | AP | best Dice | lowest Dice, 0.1 to 0.6, of the best | AP, the {len(much)} most extensive |")
    print("|---|---|---|---|---|")
    for name, changes in READINGS.items():
        predictor = Predictor(Model(with_reading(model.card, **changes), model.network))
        predictions = predictor.predict_stream(map(read_slice, table))
        scores = [to_grid(Scored(one.score, one.lungs), RESOLUTION) for one in predictions]
        evaluation, _ = evaluate(table, {name: scores}, {name: predictor.threshold})
        severe = [one for one, row in zip(scores, table, strict=True) if row in much]
        among, _ = evaluate(extensive, {name: severe}, {name: predictor.threshold})
        whole, part = ([one.methods[name][who] for who in judges] for one in (evaluation, among))
        columns = [
            [one.average_precision for one in whole],
            [one.dice_best for one in whole],
            [one.dice_lowest for one in whole],
            [one.average_precision for one in part],
        ]
        cells = (" / ".join(f"{estimate.value:.3f}" for estimate in column) for column in columns)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    if given.write:
        written = with_threshold(model, everything)
        written.save(given.write)
        print(f"\n{given.write}: threshold {written.card.threshold:.4f}, {written.card.threshold_from}")


if __name__ == "__main__":
    main()

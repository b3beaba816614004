"""What each part of the score adds, on one trained network: no training, another reading of the same logits.

    python benchmarks/readings.py WEIGHTS DATA [--split val]

Prints pooled average precision and best Dice (whole frame at 256) against the first two annotators,
and the lowest Dice of any threshold from 0.1 to 0.6 as a share of the best.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from lesionsplit.data.lungs import read_slice
from lesionsplit.data.table import read_table
from lesionsplit.evaluation.protocol import evaluate
from lesionsplit.evaluation.tally import Scored
from lesionsplit.model import Model, ModelCard
from lesionsplit.predictor import Predictor

EVERYWHERE = 1e6
"""As `faint`, it leaves nothing of how much a pixel stands out."""

READINGS = {
    "as it is": {},
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="val", choices=["val", "test"])
    given = parser.parse_args()
    table = read_table(given.data).split(given.split).labelled("lesion")
    model = Model.load(given.weights)
    print("| reading | AP | best Dice | lowest Dice, 0.1 to 0.6, of the best |")
    print("|---|---|---|---|")
    for name, changes in READINGS.items():
        predictor = Predictor(Model(with_reading(model.card, **changes), model.network))
        scores = (Scored(one.score, one.lungs) for one in predictor.predict_stream(map(read_slice, table)))
        evaluation, _ = evaluate(table, {name: scores}, {name: predictor.threshold})
        numbers = [evaluation.methods[name][who] for who in table.annotators[:2]]
        columns = (
            " / ".join(f"{getattr(one, part).value:.3f}" for one in numbers)
            for part in ("average_precision", "dice_best", "dice_lowest")
        )
        print(f"| {name} | {' | '.join(columns)} |", flush=True)


if __name__ == "__main__":
    main()

"""How far scores are from chances of being outlined: `python benchmarks/chances.py DATA WEIGHTS ...`.

Logistic regression of what the first two annotators outlined, alike, on the logit of the score: pixels in the lungs of
val's slices with lesion, 256 pixels on the frame's longer side. A score that is the chance has a slope of 1 and an
intercept of 0. Of weights of `distilled` the settings are printed that would make it so; `distilled.toml` has them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from lesionsplit.data.table import Table, read_table
from lesionsplit.evaluation.counts import Counts, PixelCounts
from lesionsplit.evaluation.protocol import RESOLUTION, read_mask, to_grid
from lesionsplit.evaluation.tally import Scored
from lesionsplit.methods.distilled import DistilledSettings
from lesionsplit.predictor import Predictor
from lesionsplit.reading import LEVELS


def main() -> None:
    table = read_table(Path(sys.argv[1])).split("val").labelled("lesion")
    for name in sys.argv[2:]:
        predictor = Predictor.load(name, device="cpu")
        slope, intercept = fitted(counted(predictor, table))
        said = f"{name}: slope {slope:.3f}, intercept {intercept:.3f}"
        method = predictor.model.card.method
        if isinstance(method, DistilledSettings):
            odds = method.odds**slope * np.exp(intercept)
            said += f"; with method.steepness={slope * method.steepness:.2f} and method.odds={odds:.2f} 1 and 0"
        print(said)


def counted(predictor: Predictor, table: Table) -> Counts:
    """Pixels in the lungs by score, (2, levels), of both annotators together."""
    pixels = PixelCounts()
    for row, found in zip(table, predictor.predict_rows(table), strict=True):
        scored = to_grid(Scored(found.score, found.lungs), RESOLUTION)
        for annotator in table.annotators[:2]:
            pixels.add(row.series, scored.score[scored.lungs], read_mask(row, annotator, RESOLUTION)[scored.lungs])
    return pixels.total


def fitted(counts: Counts) -> tuple[float, float]:
    """Slope and intercept of the logit of being lesion on that of the score, between its lowest and highest level."""
    inner = counts[:, 1:-1]
    score = np.arange(1, LEVELS - 1) / (LEVELS - 1)
    logit = np.tile(np.log(score / (1 - score)), 2)[:, None]
    lesion = np.repeat([1, 0], LEVELS - 2)
    fit = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(logit, lesion, sample_weight=inner.ravel())
    return float(fit.coef_[0, 0]), float(fit.intercept_[0])


if __name__ == "__main__":
    main()

"""On the real slices, where they are: reading them, and the numbers that docs/results.md stands on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from lesionsplit.data.lung_slice import read_slice
from lesionsplit.data.table import read_table
from lesionsplit.evaluation.accumulators import Scored
from lesionsplit.evaluation.baselines import opening
from lesionsplit.evaluation.protocol import evaluate, read_mask, to_grid, untrained_scores
from lesionsplit.inference.predictor import SlicePredictor


def test_the_table_is_as_its_readme_says(covid_cell: Path) -> None:
    table = read_table(covid_cell)
    counts = {split: tuple(len(table.split(split).labelled(label)) for label in ("lesion", "normal"))  # type: ignore[arg-type]
              for split in ("train", "val", "test")}  # fmt: skip
    assert counts == {"train": (1310, 1349), "val": (246, 315), "test": (269, 313)}
    assert table.annotators == ("a", "b", "b_revised")
    assert table.without_masks().annotators == ()


def test_pooled_average_precision_on_the_test_split_is_scikit_learns(covid_cell: Path) -> None:
    table = read_table(covid_cell).split("test").labelled("lesion")
    scores = list(untrained_scores(map(read_slice, table), opening))
    evaluation, _ = evaluate(table, {"opening": scores}, {"opening": 0.1})
    levels = np.concatenate([np.rint(one.score.ravel() * 65535).astype(np.uint16) for one in scores])
    for annotator in ("a", "b"):
        truth = np.concatenate([read_mask(row, annotator, 256).ravel() for row in table])
        found = evaluation.methods["opening"][annotator]["average_precision"].value
        assert found == pytest.approx(average_precision_score(truth, levels), abs=1e-6)


def test_the_weights_in_the_box_find_real_lesions(covid_cell: Path) -> None:
    table = read_table(covid_cell).split("val").labelled("lesion")
    rows = table.slices[::8]
    predictions = SlicePredictor.load().predict_stream(map(read_slice, rows))
    scores = np.concatenate([to_grid(Scored(one.score, one.lungs), 256).score.ravel() for one in predictions])
    truth = np.concatenate([read_mask(row, "b", 256).ravel() for row in rows])
    assert average_precision_score(truth, scores) > 20 * truth.mean()

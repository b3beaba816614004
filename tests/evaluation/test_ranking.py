from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from lesionsplit.evaluation.ranking import auroc, average_precision


@pytest.mark.parametrize("seed", range(5))
def test_both_are_scikit_learns_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random(300) < 0.2
    score = np.round(rng.normal(truth, 1.0), 1)
    assert average_precision(score, truth) == pytest.approx(average_precision_score(truth, score), abs=1e-12)
    assert auroc(score, truth) == pytest.approx(roc_auc_score(truth, score), abs=1e-12)


def test_weights_are_repeats() -> None:
    rng = np.random.default_rng(0)
    truth, score = rng.random(40) < 0.5, np.round(rng.random(40), 1)
    times = rng.integers(0, 4, (6, 40))
    expected = [roc_auc_score(np.repeat(truth, t), np.repeat(score, t)) for t in times]
    np.testing.assert_allclose(auroc(score, truth, times), expected)


def test_one_class_has_no_number() -> None:
    assert np.isnan(auroc([0.1, 0.2], [True, True]))
    assert np.isnan(average_precision([0.1, 0.2], [False, False]))

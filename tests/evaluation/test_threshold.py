from __future__ import annotations

import numpy as np
import pytest

from lesionsplit.data.table import Table
from lesionsplit.errors import DataError
from lesionsplit.evaluation.threshold import calibration_slices, threshold_from_counts, threshold_from_normals


def test_no_more_than_the_share_reaches_the_threshold_and_one_lower_would_be_too_many() -> None:
    rng = np.random.default_rng(0)
    scored = [(rng.beta(1, 8, (30, 30)).astype(np.float32), rng.random((30, 30)) < 0.5) for _ in range(4)]
    threshold = threshold_from_normals(scored, 0.01)
    levels = np.concatenate([np.rint(score[lungs] * 65535) for score, lungs in scored])
    assert np.mean(levels >= round(threshold * 65535)) <= 0.01
    assert np.mean(levels >= round(threshold * 65535) - 1) > 0.01


def test_by_hand() -> None:
    counts = np.zeros(65536, dtype=np.int64)
    counts[[0, 100, 200]] = 90, 9, 1
    assert threshold_from_counts(counts, 0.05) == pytest.approx(101 / 65535)
    assert threshold_from_counts(counts, 0.10) == pytest.approx(1 / 65535)
    assert threshold_from_counts(counts, 0.001) == pytest.approx(201 / 65535)


def test_where_all_fires_the_threshold_is_the_top() -> None:
    counts = np.zeros(65536, dtype=np.int64)
    counts[-1] = 5
    assert threshold_from_counts(counts, 0.01) == 1


def test_normal_slices_of_val_come_first(phantom: Table) -> None:
    assert {row.split for row in calibration_slices(phantom)} == {"val"}
    for left_out, found in ((("val",), "train"), (("val", "train"), "test")):
        rest = phantom.select(lambda row, left_out=left_out: row.split not in left_out)  # type: ignore[misc]
        assert {row.split for row in calibration_slices(rest)} == {found}
    with pytest.raises(DataError, match="has no normal slice; a threshold is set on normal slices"):
        calibration_slices(phantom.labelled("lesion"))

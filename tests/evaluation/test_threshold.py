from __future__ import annotations

import numpy as np
import pytest

from lesionsplit.data.table import Table
from lesionsplit.errors import DataError
from lesionsplit.evaluation.threshold import (
    Scores,
    SeriesScores,
    calibration_slices,
    doubt_about,
    threshold_from_counts,
    threshold_from_normals,
    threshold_of_images,
)


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


def scores(*highest: float) -> Scores:
    """Of images whose other pixels are 0.1."""
    maps = [np.full((4, 4), 0.1, dtype=np.float32) for _ in highest]
    for one, value in zip(maps, highest, strict=True):
        one[1, 2] = value
    return Scores.of((one, np.ones((4, 4), dtype=bool)) for one in maps)


def test_the_threshold_of_images_is_half_way_in_log_odds() -> None:
    normal, lesion = scores(*[0.2] * 99, 0.9), scores(0.3, 0.8, 0.8)
    threshold, words = threshold_of_images(normal, lesion)
    assert threshold == pytest.approx(0.5, abs=4e-5)  # the odds of 0.2 and 0.8 are 1 to 4 and 4 to 1
    assert words == (
        "half way between two scores: 95% of the normal images have a highest score below 0.2, 50% of those with "
        "lesion one above 0.8"
    )


@pytest.mark.parametrize("lesion", [scores(), scores(0.15, 0.2, 0.1)])
def test_without_higher_scores_in_images_with_lesion_normal_ones_set_it(lesion: Scores) -> None:
    threshold, _ = threshold_of_images(scores(*[0.2] * 20), lesion)
    assert threshold == pytest.approx(0.2, abs=2e-5)
    assert threshold > np.float32(0.2)
    assert threshold_of_images(scores(1.0), scores())[0] == 1


def test_a_threshold_of_no_use_is_said() -> None:
    seen = scores(0.3, 0.3)
    assert doubt_about(0.4, seen, scores(0.39, 0.41)) == doubt_about(0.4, seen, scores()) == ""
    assert doubt_about(0.4, seen, scores(0.39, 0.2)).startswith(
        "no image with lesion of 2 reaches the threshold 0.40000, the highest score is 0.39000, so masks will be empty"
    )
    assert doubt_about(0.2, scores(0.1, 0.1), scores(0.9)).startswith(
        "the scores of normal images are constant, 0.10001; train longer (more --steps)"
    )
    assert "are saturated: 6.2% are 1, so the threshold is 1; " in doubt_about(1.0, scores(1.0), scores(1.0))


def test_promised_thresholds_by_hand() -> None:
    # three pixels of 200 are more than a hundredth, so the threshold of a series is one level above their score
    found = SeriesScores()
    score = np.zeros((10, 20), dtype=np.float32)
    for number in range(19):
        score[0, :3] = (number + 1) * 100 / 65535
        found.add(f"s{number}", score, np.ones(score.shape, dtype=bool))
    thresholds = found.thresholds()
    assert thresholds["specific"].value == pytest.approx((19 * 100 + 1) / 65535)  # k = ceil(20 * 0.95) = 19
    assert thresholds["sensitive"].value == pytest.approx((18 * 100 + 1) / 65535)  # k = 18
    assert thresholds["specific"].promise == (
        "of 95% of new normal series, at most 1% of the lung reaches it (conformal, 19 normal series)"
    )


def test_pixels_of_all_slices_of_a_series_count_together() -> None:
    found = SeriesScores()
    for number in range(19):
        for size, pixels in ((100, 1), (400, 5)):  # 6 of 500 pixels reach 0.5, 2 of them 0.75
            score = np.zeros((1, size), dtype=np.float32)
            score[0, :pixels] = 0.5
            score[0, 0] = 0.75
            found.add(f"s{number}", score, np.ones((1, size), dtype=bool))
    assert found.thresholds()["specific"].value == pytest.approx((round(0.5 * 65535) + 1) / 65535)


@pytest.mark.parametrize(
    ("count", "names"), [(8, set()), (9, {"sensitive"}), (18, {"sensitive"}), (19, {"sensitive", "specific"})]
)
def test_too_few_series_promise_nothing(count: int, names: set[str]) -> None:
    found = SeriesScores()
    for number in range(count):
        found.add(f"s{number}", np.full((2, 2), 0.25, dtype=np.float32), np.ones((2, 2), dtype=bool))
    assert set(found.thresholds()) == names


def test_saturated_scores_promise_nothing() -> None:
    found = SeriesScores()
    for number in range(40):
        found.add(f"s{number}", np.ones((2, 2), dtype=np.float32), np.ones((2, 2), dtype=bool))
    assert found.thresholds() == {}


def test_the_promise_holds_for_new_series() -> None:
    rng = np.random.default_rng(0)
    lungs = np.ones((1, 200), dtype=bool)

    def series() -> np.ndarray:
        return np.clip(rng.beta(1, 20, 200) * rng.uniform(0.2, 1.0), 0, 1).astype(np.float32)[None]

    kept = {"specific": 0, "sensitive": 0}
    for _ in range(60):
        found = SeriesScores()
        for number in range(29):
            found.add(str(number), series(), lungs)
        for name, threshold in found.thresholds().items():
            kept[name] += sum(float((series() >= np.float32(threshold.value)).mean()) <= 0.01 for _ in range(50))
    # k / (n + 1) is 29 / 30 and 27 / 30
    assert kept["specific"] / 3000 == pytest.approx(29 / 30, abs=0.02)
    assert kept["sensitive"] / 3000 == pytest.approx(27 / 30, abs=0.025)

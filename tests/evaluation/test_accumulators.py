"""Slices of a hundred pixels, by hand and against scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from lesionsplit.data.table import Label, Slice
from lesionsplit.evaluation.accumulators import MethodAccumulator, Scored
from lesionsplit.evaluation.bootstrap import Bootstrap, Resampled

LUNGS = np.ones((10, 10), dtype=bool)


def row(name: str, label: Label, series: str) -> Slice:
    return Slice(image=Path(f"{name}.png"), label=label, split="test", series=series, place=name)


def firing(pixels: int, score: float = 0.75) -> np.ndarray:
    scores = np.zeros(100, dtype=np.float32)
    scores[:pixels] = score
    return scores.reshape(10, 10)


def some(seed: int = 0) -> list[tuple[Slice, Scored, dict[str, np.ndarray]]]:
    """Four slices of lesion in two series, and two normal ones; scores are whole hundredths."""
    rng = np.random.default_rng(seed)
    lungs = np.zeros((10, 10), dtype=bool)
    lungs[2:8, 1:9] = True
    made = []
    for number, series in enumerate(["s", "t", "s", "t", "n", "m"]):
        label: Label = "lesion" if number < 4 else "normal"
        truths = {name: rng.random((10, 10)) < 0.3 for name in "ab"} if label == "lesion" else {}
        score = np.round(np.clip(rng.random((10, 10)) * 0.7 + 0.2 * truths.get("a", 0), 0, 1), 2).astype(np.float32)
        made.append((row(str(number), label, series), Scored(score, lungs), truths))
    return made


def accumulated(made: list[tuple[Slice, Scored, dict[str, np.ndarray]]], threshold: float | None) -> MethodAccumulator:
    accumulator = MethodAccumulator(threshold)
    for one in made:
        accumulator.add(*one)
    return accumulator


def assert_same(one: Resampled, other: Resampled) -> None:
    assert one.value == other.value
    np.testing.assert_array_equal(one.resamples, other.resamples)


def test_a_slice_with_exactly_a_hundredth_of_its_lung_counts_as_lesion() -> None:
    accumulator = MethodAccumulator(0.5)
    fires: list[tuple[Label, int]] = [
        *(("normal", pixels) for pixels in (0, 0, 1, 4)),
        *(("lesion", pixels) for pixels in (0, 1, 9)),
    ]
    for number, (label, pixels) in enumerate(fires):
        truths = {"a": firing(3) > 0} if label == "lesion" else {}
        accumulator.add(row(str(number), label, f"s{number}"), Scored(firing(pixels), LUNGS), truths)
    assert {name: one.value for name, one in accumulator.measured().slices.items()} == pytest.approx(
        {
            "false_positive_fraction": 0.05 / 4,
            "normal_series_marked": 1 / 4,
            "worst_normal_series": 4 / 100,
            "specificity": 2 / 4,
            "sensitivity": 2 / 3,
            "score_of_normal": 0.75 * 0.05 / 4,
            "score_of_lesion": 0.75 * 0.1 / 3,
            "auroc": ((0.5 + 0.5 + 0 + 0) + 2 * (1 + 1 + 0.5 + 0.5)) / 12,  # scores are 0 or 0.75, that of one pixel
        }
    )


@pytest.mark.parametrize("name", ["a", "b"])
def test_numbers_against_an_annotator_are_scikit_learns(name: str) -> None:
    made = [one for one in some() if one[2]]
    score, truth = (np.stack(part) for part in ([one[1].score for one in made], [one[2][name] for one in made]))
    inside = np.stack([one[1].lungs for one in made])
    found = score >= np.float32(0.3)
    hundredths = np.arange(1, 101) / 100

    def best(kept: np.ndarray) -> float:
        return max(float(f1_score(truth[kept], score[kept] >= np.float32(one) - 1e-6)) for one in hundredths)

    everywhere = np.ones_like(truth)
    dices = [f1_score(truth.ravel(), score.ravel() >= np.float32(one) - 1e-6) for one in hundredths[9:60]]
    each = [(t.ravel(), s.ravel()) for t, s in zip(truth, score, strict=True)]
    measured = accumulated(some(), 0.3).measured().against[name]
    assert {key: one.value for key, one in measured.items()} == pytest.approx(
        {
            "average_precision": average_precision_score(truth.ravel(), score.ravel()),
            "average_precision_in_lung": average_precision_score(truth[inside], score[inside]),
            "average_precision_per_image": np.mean([average_precision_score(*one) for one in each]),
            "chance": truth.mean(),
            "chance_in_lung": truth[inside].mean(),
            "chance_per_image": truth.mean(),
            "dice_oracle": best(everywhere),
            "dice_oracle_in_lung": best(inside),
            "dice_fixed": f1_score(truth.ravel(), (score >= np.float32(0.4)).ravel()),
            "dice_lowest_0.1_to_0.6": min(dices) / best(everywhere),
            "dice_stored": f1_score(truth.ravel(), found.ravel()),
            "dice_stored_in_lung": f1_score(truth[inside], found[inside]),
            "dice_stored_per_image": np.mean([f1_score(t, s >= np.float32(0.3)) for t, s in each]),
        }
    )


def test_every_number_is_resampled_by_the_series_of_its_slices() -> None:
    """A resample in which each of the two lesion series is drawn once has the numbers of all slices."""
    measured = accumulated(some(), 0.3).measured()
    once = (Bootstrap(["s", "t"]).times == 1).all(axis=1)
    assert 0 < once.sum() < len(once)
    for judge in ("a", "b", "a and b"):
        for name, one in measured.against[judge].items():
            assert one.resamples.shape == once.shape
            np.testing.assert_allclose(one.resamples[once], one.value, rtol=1e-12, err_msg=name)
            assert len(np.unique(one.resamples.round(9))) == 3, name  # twice s, both, or twice t
    drawn = Bootstrap(["s", "t", "n", "m"]).times
    once = (drawn == 1).all(axis=1)
    assert 0 < once.sum() < len(once)
    for name, one in measured.slices.items():
        assert one.resamples.shape == once.shape
        np.testing.assert_allclose(one.resamples[once], one.value, rtol=1e-12, err_msg=name)


def test_the_first_two_annotators_agree_or_not() -> None:
    made = [(one, scored, {**truths, "c": LUNGS} if truths else {}) for one, scored, truths in some()]
    measured = accumulated(made, 0.3).measured().against
    assert list(measured) == ["a", "b", "c", "a and b"]
    lesion = [one for one in made if one[2]]
    score, first, second = (
        np.stack(part) for part in ([s.score for _, s, _ in lesion], *([t[n] for *_, t in lesion] for n in "ab"))
    )
    agreed = first == second
    assert {key: one.value for key, one in measured["a and b"].items()} == pytest.approx(
        {
            "average_precision": average_precision_score(first[agreed], score[agreed]),
            "chance": first[agreed].mean(),
        }
    )


def test_a_method_s_own_probability_is_the_score_of_a_slice() -> None:
    made = some()
    presences = [0.9, 0.0, 0.6, 0.3, 0.0, 0.4]
    own = [(one, scored._replace(presence=p), truths) for (one, scored, truths), p in zip(made, presences, strict=True)]
    accumulator = accumulated(own, 0.3)
    assert accumulator.scores_slices
    assert [one.score for one in accumulator.slices] == presences
    auroc = accumulator.measured().slices["auroc"].value
    assert auroc == pytest.approx(roc_auc_score([True] * 4 + [False] * 2, presences))
    assert not accumulated(made, 0.3).scores_slices


def test_the_numbers_of_a_slice_are_kept_in_the_order_of_the_table() -> None:
    made = some()
    accumulator = accumulated(made, 0.3)
    assert [one.row for one in accumulator.slices] == [one for one, _, _ in made]
    for numbers, (_, scored, truths) in zip(accumulator.slices, made, strict=True):
        inside = scored.score[scored.lungs]
        assert numbers.mean == pytest.approx(inside.mean())
        assert numbers.score == inside.max()  # of 48 pixels a hundredth is one
        assert numbers.lesion_fraction == np.mean(inside >= np.float32(0.3))
        assert list(numbers.against) == list(truths)
        for name, against in numbers.against.items():
            assert against.outlined == truths[name].mean()
    assert np.isnan([one.lesion_fraction for one in accumulated(made, None).slices]).all()


def test_where_an_annotator_outlined_nothing_there_is_no_number_of_the_slice() -> None:
    made = some()
    one, scored, truths = made[1]
    made[1] = (one, scored, {"a": truths["a"], "b": ~LUNGS})
    accumulator = accumulated(made, 0.3)
    assert [series for series, _ in accumulator.annotators["a"].outlined] == ["s", "t", "s", "t"]
    assert [series for series, _ in accumulator.annotators["b"].outlined] == ["s", "s", "t"]


def test_slices_that_are_added_later_count_too() -> None:
    made = some()
    accumulator = accumulated(made[:5], 0.3)
    first = accumulator.measured()
    assert accumulator.measured() is first  # computed once
    accumulator.add(*made[5])
    found, expected = accumulator.measured(), accumulated(made, 0.3).measured()
    assert first.slices["score_of_normal"].value != expected.slices["score_of_normal"].value
    for name, one in expected.slices.items():
        assert_same(found.slices[name], one)
    assert found.against.keys() == expected.against.keys()
    for judge, numbers in expected.against.items():
        assert found.against[judge].keys() == numbers.keys()
        for name, one in numbers.items():
            assert_same(found.against[judge][name], one)


def test_without_a_threshold_there_are_no_numbers_at_it() -> None:
    measured = accumulated(some(), None).measured()
    assert list(measured.slices) == ["score_of_normal", "score_of_lesion", "auroc"]
    assert "dice_stored" not in measured.against["a"]
    assert "dice_stored_in_lung" not in measured.against["a"]
    assert np.isnan(measured.against["a"]["dice_stored_per_image"].value)


def test_without_annotators_there_are_numbers_of_slices_alone() -> None:
    made = [(one, scored, {}) for one, scored, _ in some()]
    measured = accumulated(made, 0.3).measured()
    assert measured.against == {}
    assert measured.slices["auroc"].value == accumulated(some(), 0.3).measured().slices["auroc"].value


def test_a_normal_series_is_marked_where_more_than_a_hundredth_of_its_lung_is() -> None:
    accumulator = MethodAccumulator(0.5)
    half = np.arange(100).reshape(10, 10) < 50
    slices = [("s", 0, LUNGS), ("s", 2, LUNGS), ("t", 0, half), ("t", 2, LUNGS), ("u", 0, LUNGS), ("v", 1, LUNGS)]
    for number, (series, pixels, lungs) in enumerate(slices):
        accumulator.add(row(str(number), "normal", series), Scored(firing(pixels), lungs), {})
    found = accumulator.measured().slices
    assert found["normal_series_marked"].value == 1 / 4  # 2 of 200, 2 of 150, 0 of 100, 1 of 100
    assert found["worst_normal_series"].value == pytest.approx(2 / 150)
    assert found["worst_normal_series"].estimate().high == pytest.approx(2 / 150)

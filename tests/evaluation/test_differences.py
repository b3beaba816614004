from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from lesionsplit.data.table import Label, Slice
from lesionsplit.errors import DataError, SettingsError
from lesionsplit.evaluation.accumulators import MethodAccumulator, Scored
from lesionsplit.evaluation.bootstrap import Bootstrap, Estimate
from lesionsplit.evaluation.differences import cross_annotator_drop, paired_differences


class Case(NamedTuple):
    """A slice of a few pixels."""

    row: Slice
    truths: Mapping[str, np.ndarray]
    lungs: np.ndarray


def case(series: str, label: Label, lungs: np.ndarray, number: int = 0, **truths: np.ndarray) -> Case:
    name = f"{series}-{number}.png"
    return Case(Slice(image=Path(name), label=label, split="test", series=series, place=name), truths, lungs)


def accumulator(
    cases: Sequence[Case], scores: Sequence[np.ndarray], threshold: float | None = 0.5
) -> MethodAccumulator:
    counted = MethodAccumulator(threshold)
    for one, score in zip(cases, scores, strict=True):
        counted.add(one.row, Scored(np.float32(score), one.lungs), one.truths)
    return counted


def approx(value: float, low: float, high: float) -> Estimate:
    """Equal to an estimate within rounding."""
    return Estimate(*(pytest.approx(number, abs=1e-12) for number in (value, low, high)))


# Three series of one slice with four pixels, two of them lung. Annotator b outlines one pixel more than a in series
# x alone. `found` finds all that a outlined; `missed` finds nothing in x. So all hangs on n, how often x is drawn:
# 0 to 3 times with chances 8/27, 12/27, 6/27 and 1/27. The 2.5th percentile is that of n = 0 and the 97.5th that of
# n = 3; without resampling n = 1.
LUNGS = np.array([[True, True, False, False]])
FIRST = np.array([[True, False, False, False]])
BOTH = np.array([[True, True, False, False]])
BY_HAND = [
    case("x", "lesion", LUNGS, a=FIRST, b=BOTH),
    case("y", "lesion", LUNGS, a=FIRST, b=FIRST),
    case("z", "lesion", LUNGS, a=FIRST, b=FIRST),
]
FOUND = [0.9 * FIRST] * 3
MISSED = [0.0 * FIRST, 0.9 * FIRST, 0.9 * FIRST]


def test_three_series_by_hand() -> None:
    methods = {"missed": accumulator(BY_HAND, MISSED), "found": accumulator(BY_HAND, FOUND)}
    differences = paired_differences(methods, "missed")
    assert set(differences) == {"found"}
    against = differences["found"].against
    assert list(against) == ["a", "b", "a and b"]
    assert against["a"] == {
        # `missed`: (3 - n) / 3 at precision 1, the rest at 3 / 12, or 3 / 6 in the lung
        "average_precision": approx(1 / 4, 0, 3 / 4),
        "average_precision_in_lung": approx(1 / 6, 0, 1 / 2),
        "average_precision_per_image": approx(1 / 4, 0, 3 / 4),  # 1 less 1 / 4 in x
        "dice_oracle": approx(1 - 4 / 5, 0, 1),
        "dice_stored": approx(1 - 4 / 5, 0, 1),
    }
    # of the 12 pixels n are left out; `missed`: (3 - n) / 3 at precision 1, the rest at 3 / (12 - n)
    known = {name: one for name, one in against["a and b"].items() if one.value is not None}
    assert known == {"average_precision": approx(1 - 2 / 3 - 1 / 11, 0, 1 - 1 / 3)}


def test_gaps_between_annotators_by_hand() -> None:
    gaps = cross_annotator_drop(accumulator(BY_HAND, FOUND), "b")
    assert set(gaps) == {"a"}
    # against b: 3 of 3 + n at precision 1, the rest at (3 + n) / 12
    assert gaps["a"]["average_precision"] == approx(3 / 4 + 1 / 12 - 1, 3 / 6 + 3 / 12 - 1, 0)
    assert gaps["a"]["average_precision_in_lung"] == approx(3 / 4 + 1 / 6 - 1, 3 / 4 + 1 / 6 - 1, 0)  # n = 1 is lowest
    assert gaps["a"]["chance"] == approx(1 / 12, 0, 3 / 12)
    drop = cross_annotator_drop(accumulator(BY_HAND, FOUND), "a")
    assert set(drop) == {"b"}
    assert drop["b"]["average_precision"] == approx(1 / 6, 0, 1 / 4)


def test_a_gap_beside_another_method_is_a_difference_of_differences() -> None:
    found, missed = accumulator(BY_HAND, FOUND), accumulator(BY_HAND, MISSED)
    gap = cross_annotator_drop(found, "b", missed)["a"]
    # `missed` against b: 3 - n of 3 + n at precision 1, the rest at (3 + n) / 12; against a see above
    of_missed = [(3 - n) / (3 + n) + 2 * n / (3 + n) * (3 + n) / 12 - (1 - n / 4) for n in range(4)]
    of_found = [3 / (3 + n) + n / 12 - 1 for n in range(4)]
    each = np.subtract(of_found, of_missed)
    drawn = Bootstrap(["x", "y", "z"]).times[:, 0].astype(int)
    assert gap["average_precision"] == approx(each[1], *np.percentile(each[drawn], [2.5, 97.5]))
    assert gap["chance"] == Estimate(0.0, 0.0, 0.0)
    assert cross_annotator_drop(found, "b", found)["a"]["dice_oracle"] == Estimate(0.0, 0.0, 0.0)


def some(seed: int) -> list[Case]:
    """Five series of lesion and four of normal slices, one to three slices each."""
    rng = np.random.default_rng(seed)
    cases = []
    for number in range(9):
        label: Label = "lesion" if number < 5 else "normal"
        for at in range(rng.integers(1, 4)):
            lungs = np.zeros((6, 8), dtype=bool)
            lungs[1:5, 1:7] = True
            truths = {name: (rng.random((6, 8)) < 0.3) & lungs for name in "ab"} if label == "lesion" else {}
            cases.append(case(f"s{number}", label, lungs, at, **truths))
    return cases


def noisy(cases: Sequence[Case], seed: int, hint: float = 0.3) -> list[np.ndarray]:
    """In hundredths, each of which is a bin of its own, so that intervals are exact."""
    rng = np.random.default_rng(seed)
    return [
        np.round(np.clip(rng.random(one.lungs.shape) * 0.6 + hint * one.truths.get("a", 0), 0, 1), 2) for one in cases
    ]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return some(3)


def explicit(
    cases: Sequence[Case],
    names: Sequence[str],
    measure: Callable[[list[int]], float],
    other: Callable[[list[int]], float],
) -> Estimate:
    """The same, one draw after the other, each slice as many times as its series was drawn."""
    series = sorted(set(names))

    @cache  # of five series there are but 126 different draws
    def difference(times: tuple[int, ...]) -> float:
        drawn = [
            at
            for at, one in enumerate(cases)
            if one.row.series in series
            for _ in range(times[series.index(one.row.series)])
        ]
        return measure(drawn) - other(drawn)

    differences = [difference(tuple(times)) for times in Bootstrap(names).times.astype(int).tolist()]
    return approx(difference((1,) * len(series)), *np.nanpercentile(differences, [2.5, 97.5]))


def test_pooled_intervals_are_those_of_an_explicit_loop_with_scikit_learn(cases: list[Case]) -> None:
    one, other = noisy(cases, 1), noisy(cases, 2, hint=0.1)
    lesions = [case.row.series for case in cases if case.row.label == "lesion"]
    differences = paired_differences({"ours": accumulator(cases, one), "theirs": accumulator(cases, other)}, "theirs")[
        "ours"
    ]

    def area(scores: list[np.ndarray], name: str, kept: Callable[[Case], np.ndarray]) -> Callable[[list[int]], float]:
        def measure(drawn: list[int]) -> float:
            truth = np.concatenate([cases[at].truths[name][kept(cases[at])] for at in drawn])
            return float(average_precision_score(truth, np.concatenate([scores[at][kept(cases[at])] for at in drawn])))

        return measure

    def everywhere(one: Case) -> np.ndarray:
        return np.ones_like(one.lungs)

    for name, field, kept in (
        ("a", "average_precision", everywhere),
        ("b", "average_precision_in_lung", lambda one: one.lungs),
        ("a and b", "average_precision", lambda one: one.truths["a"] == one.truths["b"]),
    ):
        expected = explicit(cases, lesions, area(one, name[0], kept), area(other, name[0], kept))
        assert differences.against[name][field] == expected, name


def test_the_other_intervals_are_those_of_an_explicit_loop(cases: list[Case]) -> None:
    one, other = noisy(cases, 1), noisy(cases, 2, hint=0.1)
    every = [case.row.series for case in cases]
    lesions = [case.row.series for case in cases if case.row.label == "lesion"]
    methods = {"ours": accumulator(cases, one, 0.5), "theirs": accumulator(cases, other, 0.4)}
    differences = paired_differences(methods, "theirs")["ours"]

    def overlap(scores: list[np.ndarray], thresholds: Sequence[float]) -> Callable[[list[int]], float]:
        def measure(drawn: list[int]) -> float:
            truth, score = (np.stack([of[at] for at in drawn]) for of in ([c.truths.get("a") for c in cases], scores))
            found = [score >= threshold - 1e-9 for threshold in thresholds]
            return max(2 * (mask & truth).sum() / (mask.sum() + truth.sum()) for mask in found)

        return measure

    def per_image(scores: list[np.ndarray]) -> Callable[[list[int]], float]:
        each = [
            average_precision_score(c.truths["a"].ravel(), s.ravel()) if c.truths else None
            for c, s in zip(cases, scores, strict=True)
        ]
        return lambda drawn: float(np.mean([each[at] for at in drawn]))

    def false_positives(scores: list[np.ndarray], threshold: float) -> Callable[[list[int]], float]:
        def measure(drawn: list[int]) -> float:
            normal = [at for at in drawn if cases[at].row.label == "normal"]
            shares = [(scores[at][cases[at].lungs] >= threshold - 1e-9).mean() for at in normal]
            return float(np.mean(shares)) if shares else float("nan")

        return measure

    def told_apart(scores: list[np.ndarray]) -> Callable[[list[int]], float]:
        highest = [score[c.lungs].max() for c, score in zip(cases, scores, strict=True)]  # one pixel is a hundredth

        def measure(drawn: list[int]) -> float:
            labels = [cases[at].row.label == "lesion" for at in drawn]
            if len(set(labels)) < 2:
                return float("nan")
            return float(roc_auc_score(labels, [highest[at] for at in drawn]))

        return measure

    hundredths = np.arange(1, 101) / 100
    against = differences.against["a"]
    assert against["dice_oracle"] == explicit(cases, lesions, overlap(one, hundredths), overlap(other, hundredths))
    assert against["dice_stored"] == explicit(cases, lesions, overlap(one, [0.5]), overlap(other, [0.4]))
    assert against["average_precision_per_image"] == explicit(cases, lesions, per_image(one), per_image(other))
    assert differences.slices["false_positive_fraction"] == explicit(
        cases, every, false_positives(one, 0.5), false_positives(other, 0.4)
    )
    assert differences.slices["auroc"] == explicit(cases, every, told_apart(one), told_apart(other))


def test_the_same_method_twice_differs_by_nothing(cases: list[Case]) -> None:
    one = noisy(cases, 1)
    differences = paired_differences({"one": accumulator(cases, one), "again": accumulator(cases, one)}, "one")["again"]
    nothing = Estimate(0.0, 0.0, 0.0)
    for name in ("a", "b"):
        assert set(differences.against[name].values()) == {nothing}
    assert differences.against["a and b"]["average_precision"] == nothing
    assert differences.slices["false_positive_fraction"] == differences.slices["auroc"] == nothing


def test_better_in_every_series_is_better_though_the_methods_own_intervals_overlap() -> None:
    """Series of very different difficulty, in each of which one method is a little better."""
    rng = np.random.default_rng(5)
    lungs = np.ones((20, 20), dtype=bool)
    made = [case(f"s{number}", "lesion", lungs, a=rng.random((20, 20)) < 0.05 + 0.05 * number) for number in range(10)]
    noise = [rng.random((20, 20)) * (0.3 + 0.06 * number) for number in range(10)]
    worse, better = (
        [np.clip(n + hint * c.truths["a"], 0, 1) for n, c in zip(noise, made, strict=True)] for hint in (0.2, 0.25)
    )
    for one, low, high in zip(made, worse, better, strict=True):
        truth = one.truths["a"].ravel()
        assert average_precision_score(truth, high.ravel()) > average_precision_score(truth, low.ravel())
    methods = {"worse": accumulator(made, worse), "better": accumulator(made, better)}
    own = {name: one.measured().against["a"]["average_precision"].estimate() for name, one in methods.items()}
    assert own["worse"].high > own["better"].low  # type: ignore[operator]
    difference = paired_differences(methods, "worse")["better"].against["a"]
    for name in ("average_precision", "average_precision_per_image", "dice_oracle"):
        assert difference[name].low > 0  # type: ignore[operator]
    back = paired_differences(methods, "better")["worse"].against["a"]["average_precision"]
    forth = difference["average_precision"]
    assert back == approx(-forth.value, -forth.high, -forth.low)  # type: ignore[operator]


def test_values_are_the_differences_of_those_in_the_tables(cases: list[Case]) -> None:
    methods = {"one": accumulator(cases, noisy(cases, 1)), "two": accumulator(cases, noisy(cases, 2))}
    difference = paired_differences(methods, "one")["two"]
    for name in ("a", "b"):
        one, two = (methods[method].measured().against[name] for method in ("one", "two"))
        for field, estimate in difference.against[name].items():
            assert estimate.value == pytest.approx(two[field].value - one[field].value), field
    one, two = (methods[method].measured().slices for method in ("one", "two"))
    assert difference.slices["auroc"].value == pytest.approx(two["auroc"].value - one["auroc"].value)


def test_what_one_of_them_lacks_is_missing(cases: list[Case]) -> None:
    scores = noisy(cases, 1)
    methods = {"with": accumulator(cases, scores), "without": accumulator(cases, scores, None)}
    for reference, other in (("with", "without"), ("without", "with")):
        difference = paired_differences(methods, reference)[other]
        assert difference.against["a"]["dice_stored"] == difference.slices["false_positive_fraction"] == Estimate(None)
        assert difference.against["a"]["dice_oracle"] == Estimate(0.0, 0.0, 0.0)
    lesions = [one for one in cases if one.row.label == "lesion"]
    methods = {name: accumulator(lesions, noisy(lesions, seed)) for name, seed in (("one", 1), ("two", 2))}
    slices = paired_differences(methods, "one")["two"].slices
    assert slices["auroc"] == slices["false_positive_fraction"] == Estimate(None)


def test_a_single_series_has_no_interval() -> None:
    methods = {"missed": accumulator(BY_HAND[:1], MISSED[:1]), "found": accumulator(BY_HAND[:1], FOUND[:1])}
    difference = paired_differences(methods, "missed")["found"]
    assert difference.against["a"]["average_precision"] == Estimate(0.75)


def test_a_reference_or_annotator_that_is_not_there_is_named(cases: list[Case]) -> None:
    one = accumulator(cases, noisy(cases, 1))
    with pytest.raises(SettingsError, match=r"^reference 'two': no such method; allowed: one, other$"):
        paired_differences({"one": one, "other": one}, "two")
    with pytest.raises(SettingsError, match=r"annotator 'c': outlined nothing here; allowed: a, b"):
        cross_annotator_drop(one, "c")


def test_methods_of_other_slices_are_no_pairs(cases: list[Case]) -> None:
    one, shorter = accumulator(cases, noisy(cases, 1)), accumulator(cases[:-1], noisy(cases[:-1], 1))
    with pytest.raises(DataError, match="shorter: was scored on other slices than one; score both on the same table"):
        paired_differences({"one": one, "shorter": shorter}, "one")
    with pytest.raises(DataError) as caught:
        cross_annotator_drop(one, "b", shorter)
    assert str(caught.value) == (
        "the method: was scored on other slices than the method it is compared with; score both on the same table"
    )


@pytest.mark.parametrize(
    ("judges", "others", "said"),
    [
        ("a", "ab", "against a, one against a, b"),
        ("ab", "", "against a, b, one against nobody"),
        ("", "ba", "against nobody, one against b, a"),
        ("abc", "ab", "against a, b, c, one against a, b"),
        ("ba", "ab", "against b, a, one against a, b"),
    ],
    ids=["one of two", "of nobody", "by nobody", "the same first two", "in another order"],
)
def test_methods_of_other_annotators_are_no_pairs(judges: str, others: str, said: str) -> None:
    alone, one = (
        accumulator([case("x", "lesion", LUNGS, **dict.fromkeys(names, FIRST))], FOUND[:1])
        for names in (judges, others)
    )
    with pytest.raises(DataError) as caught:
        paired_differences({"one": one, "alone": alone}, "one")
    assert str(caught.value) == f"alone: was scored {said}; score both against the same annotators"

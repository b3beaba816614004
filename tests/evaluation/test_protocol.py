from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score

from lesionsplit.data.lung_slice import read_slice
from lesionsplit.data.table import Slice, Table
from lesionsplit.errors import DataError
from lesionsplit.evaluation.accumulators import MethodAccumulator, Scored
from lesionsplit.evaluation.baselines import opening, smoothing
from lesionsplit.evaluation.bootstrap import Bootstrap, Estimate
from lesionsplit.evaluation.protocol import evaluate, onto_grid, read_mask, to_grid, untrained_scores
from lesionsplit.evaluation.result import Evaluation
from lesionsplit.evaluation.score_histogram import dice
from lesionsplit.evaluation.slices import worst
from lesionsplit.images import read_grey
from lesionsplit.report.evaluation import slices_to_csv

RESOLUTION = 64


def noisy(table: Table, seed: int = 0) -> Iterator[Scored]:
    """Heat maps that know a little: truth plus noise, at the frame's own resolution."""
    rng = np.random.default_rng(seed)
    for row in table:
        grey, lungs = read_slice(row)
        hint = 0.2 * (read_mask(row, "b", grey.shape[0])) if row.masks else 0
        yield Scored(
            np.where(lungs, np.clip(rng.normal(0.2 + hint, 0.1, grey.shape), 0, 1), 0).astype(np.float32), lungs
        )


@pytest.fixture(scope="module")
def results(phantom: Table) -> tuple[Evaluation, dict[str, MethodAccumulator]]:
    scores = {"noisy": noisy(phantom), "opening": untrained_scores(map(read_slice, phantom), opening, RESOLUTION)}
    return evaluate(phantom, scores, {"noisy": 0.35, "opening": 0.05}, RESOLUTION)


def stacked(table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What annotator a outlined in the lesion slices, the levels of `noisy`, and the lungs: (slices, rows, columns)."""
    truth, score, lung = [], [], []
    for row, scored in zip(table, noisy(table), strict=True):
        if row.label == "lesion":
            small = to_grid(scored, RESOLUTION)
            score.append(np.rint(small.score * 65535))
            truth.append(read_mask(row, "a", RESOLUTION))
            lung.append(small.lungs)
    return np.stack(truth), np.stack(score), np.stack(lung)


def test_pooled_numbers_are_scikit_learns_over_all_pixels(
    phantom: Table, results: tuple[Evaluation, dict[str, MethodAccumulator]]
) -> None:
    truths, scores, lungs = stacked(phantom)
    numbers = results[0].methods["noisy"]["a"]
    assert numbers["average_precision"].value == pytest.approx(average_precision_score(truths.ravel(), scores.ravel()))
    in_lung = average_precision_score(truths[lungs], scores[lungs])
    assert numbers["average_precision_in_lung"].value == pytest.approx(in_lung)
    each = [average_precision_score(t.ravel(), s.ravel()) for t, s in zip(truths, scores, strict=True) if t.any()]
    assert numbers["average_precision_per_image"].value == pytest.approx(np.mean(each))
    found = scores >= np.ceil(0.35 * 65535)
    overlap = 2 * (found & truths).sum() / (found.sum() + truths.sum())
    assert numbers["dice_stored"].value == pytest.approx(overlap)
    assert numbers["dice_stored_in_lung"].value == pytest.approx(f1_score(truths[lungs], found[lungs]))
    precision, recall, _ = precision_recall_curve(truths[lungs], scores[lungs])
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    assert numbers["dice_oracle_in_lung"].value == pytest.approx(f1.max())
    assert results[0].chance["a"]["average_precision"].value == pytest.approx(truths.mean())
    assert results[0].chance["a"]["average_precision_in_lung"].value == pytest.approx(truths[lungs].mean())
    prevalences = [truth.mean() for truth in truths if truth.any()]
    assert results[0].chance["a"]["average_precision_per_image"].value == pytest.approx(np.mean(prevalences))


def test_reliability_is_scikit_learns_over_the_lungs_of_lesion_slices(
    phantom: Table, results: tuple[Evaluation, dict[str, MethodAccumulator]]
) -> None:
    truths, scores, lungs = stacked(phantom)
    share, mean = calibration_curve(truths[lungs], scores[lungs] / 65535, n_bins=10)
    by_method = {name: list(found) for name, found in results[0].reliability.items()}
    assert by_method == {"noisy": ["a", "b", "b_revised"], "opening": ["a", "b", "b_revised"]}
    found = results[0].reliability["noisy"]["a"]
    assert found.score == [*(pytest.approx(one) for one in mean), *[None] * (10 - len(mean))]
    assert found.outlined == [*(pytest.approx(one) for one in share), *[None] * (10 - len(mean))]
    assert 0 < len(mean) < 10


def test_the_conventions_say_what_was_scored(results: tuple[Evaluation, dict[str, MethodAccumulator]]) -> None:
    assert results[0].conventions == {
        "data": "phantom",
        "split": "test+train+val",
        "lesion slices": 18,
        "normal slices": 18,
        "lesion series": 6,
        "normal series": 4,
        "resolution": 64,
        "average precision": "sum of precision times step in recall, 16-bit scores; not the trapezoid",
        "pooled": "over all pixels of the lesion slices",
        "interval": "95 %, 1000 bootstrap resamples of series",
        "threshold of noisy": 0.35,
        "threshold of opening": 0.05,
    }


def test_healthy_versions_are_compared_on_the_frame_where_a_method_makes_them(phantom: Table) -> None:
    lesion = phantom.labelled("lesion")
    errors = []

    def healed() -> Iterator[Scored]:
        for row in lesion:
            grey, lungs = read_slice(row)
            assert row.healthy is not None
            truth = read_grey(row.healthy)
            errors.append(np.abs(grey.astype(float) - truth)[lungs].mean() / 255)
            yield Scored(np.zeros(grey.shape, dtype=np.float32), lungs, healthy=truth)

    scores = {"noisy": noisy(lesion), "healed": healed()}
    evaluation, _ = evaluate(lesion, scores, dict.fromkeys(scores, 0.5), RESOLUTION)
    assert set(evaluation.healthy) == {"healed"}
    found = evaluation.healthy["healed"]
    assert found["error_of_slice"].value == pytest.approx(np.mean(errors), rel=1e-5)
    assert found["error_of_healthy"] == Estimate(0.0, 0.0, 0.0)
    assert set(evaluation.removal) == {"healed"}
    removed = evaluation.removal["healed"]["removed"].value
    assert removed is not None
    assert removed > 0.8  # parenchyma under a lesion is not quite the median
    assert found["closer"] == Estimate(1.0, 1.0, 1.0)


def test_slices_are_told_apart_by_their_highest_hundredth(
    phantom: Table, results: tuple[Evaluation, dict[str, MethodAccumulator]]
) -> None:
    labels, scores = [], []
    for row, scored in zip(phantom, noisy(phantom), strict=True):
        small = to_grid(scored, RESOLUTION)
        inside = np.sort(small.score[small.lungs])[::-1]
        labels.append(row.label == "lesion")
        scores.append(inside[: max(1, round(0.01 * len(inside)))].mean())
    assert results[0].slices["noisy"]["auroc"].value == pytest.approx(roc_auc_score(labels, scores))


def test_annotators_judge_each_other(phantom: Table, results: tuple[Evaluation, dict[str, MethodAccumulator]]) -> None:
    a, b = (np.stack([read_mask(row, name, RESOLUTION) for row in phantom.labelled("lesion")]) for name in ("a", "b"))
    agreement = results[0].annotators["a"]["b"]
    assert agreement["dice"].value == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert agreement["precision"].value == pytest.approx((a & b).sum() / b.sum())
    assert agreement["recall"].value == pytest.approx((a & b).sum() / a.sum())
    assert set(results[0].annotators["a"]) == {"b", "b_revised"}
    names = [row.series for row in phantom.labelled("lesion")]
    slices = zip(np.sum(a & b, axis=(1, 2)), np.sum(a, axis=(1, 2)) + np.sum(b, axis=(1, 2)), strict=True)
    each = np.zeros((len(set(names)), 2))
    for name, counts in zip(names, slices, strict=True):
        each[sorted(set(names)).index(name)] += counts
    hits, sizes = (Bootstrap(names).times @ each).T
    interval = np.percentile(2 * hits / sizes, [2.5, 97.5])
    assert (agreement["dice"].low, agreement["dice"].high) == (pytest.approx(interval[0]), pytest.approx(interval[1]))


def test_agreed_pixels_are_those_that_both_or_neither_outlined(
    phantom: Table, results: tuple[Evaluation, dict[str, MethodAccumulator]]
) -> None:
    a, b = (np.stack([read_mask(row, name, RESOLUTION) for row in phantom.labelled("lesion")]) for name in ("a", "b"))
    pairs = zip(phantom, noisy(phantom), strict=True)
    score = np.stack([to_grid(scored, RESOLUTION).score for row, scored in pairs if row.label == "lesion"])
    kept = ~(a ^ b)
    assert kept.sum() < kept.size  # they do disagree somewhere
    assert set(results[0].agreed) == {"a and b"}
    numbers = results[0].agreed["a and b"]
    assert set(numbers) == {"chance", "noisy", "opening"}
    estimate = numbers["noisy"]["average_precision"]
    assert estimate.value == pytest.approx(average_precision_score(a[kept], np.rint(score * 65535)[kept]))
    assert estimate.low is not None
    assert estimate.low <= estimate.value <= estimate.high  # type: ignore[operator]
    assert numbers["chance"]["average_precision"].value == pytest.approx(a[kept].mean())


def test_the_threshold_s_stability_is_the_lowest_dice_over_the_best(
    results: tuple[Evaluation, dict[str, MethodAccumulator]],
) -> None:
    evaluation, accumulators = results
    overlap = dice(accumulators["noisy"].annotators["a"].whole.total)
    estimate = evaluation.methods["noisy"]["a"]["dice_lowest_0.1_to_0.6"]
    assert estimate.value == pytest.approx(overlap[6554:39322].min() / overlap[1:].max())
    assert estimate.low is not None
    assert estimate.low <= estimate.value <= estimate.high  # type: ignore[operator]


def test_dice_in_lung_leaves_out_what_lies_outside(phantom: Table) -> None:
    lesion = phantom.labelled("lesion")

    def half() -> Iterator[Scored]:
        for row in lesion:
            truth = read_mask(row, "a", RESOLUTION)
            lungs = np.zeros_like(truth)
            lungs[:, : RESOLUTION // 2] = True
            yield Scored((truth & lungs).astype(np.float32), lungs)

    numbers = evaluate(lesion, {"half": half()}, {"half": 0.5}, RESOLUTION)[0].methods["half"]["a"]
    assert numbers["dice_stored_in_lung"] == numbers["dice_oracle_in_lung"] == Estimate(1.0, 1.0, 1.0)
    assert numbers["dice_stored"].value is not None
    assert 0 < numbers["dice_stored"].value < 1


def test_the_stored_threshold_is_exact_in_the_interval_too(phantom: Table) -> None:
    """A threshold within a bin: Dice that is 1 from there and nowhere near, in every resample."""
    lesion, threshold = phantom.labelled("lesion"), 0.35013

    def steps() -> Iterator[Scored]:
        for row in lesion:
            truth = read_mask(row, "a", RESOLUTION)
            score = np.where(truth, np.ceil(threshold * 65535), np.floor(threshold * 65535)) / 65535
            yield Scored(score.astype(np.float32), np.ones_like(truth))

    evaluation, _ = evaluate(lesion, {"steps": steps()}, {"steps": threshold}, RESOLUTION)
    assert evaluation.methods["steps"]["a"]["dice_stored"] == Estimate(1.0, 1.0, 1.0)


def test_intervals_hold_the_value(results: tuple[Evaluation, dict[str, MethodAccumulator]]) -> None:
    estimate = results[0].methods["opening"]["b"]["average_precision"]
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.low <= estimate.value <= estimate.high  # type: ignore[operator]


def test_a_perfect_map_is_perfect(phantom: Table) -> None:
    lesion = phantom.labelled("lesion")

    def truth() -> Iterator[Scored]:
        for row in lesion:
            _, lungs = read_slice(row)
            yield Scored(read_mask(row, "b", len(lungs)).astype(np.float32), np.ones_like(lungs))

    evaluation, _ = evaluate(lesion, {"truth": truth()}, {"truth": 0.5}, 128)
    numbers = evaluation.methods["truth"]["b"]
    assert numbers["average_precision"].value == 1
    assert numbers["dice_stored"].value == 1
    assert evaluation.slices["truth"]["auroc"].value is None


def test_without_a_threshold_only_its_own_numbers_are_missing(
    phantom: Table, results: tuple[Evaluation, dict[str, MethodAccumulator]]
) -> None:
    scores = {"noisy": noisy(phantom), "opening": untrained_scores(map(read_slice, phantom), opening, RESOLUTION)}
    evaluation, _ = evaluate(phantom, scores, {"noisy": 0.35, "opening": None}, RESOLUTION)
    assert evaluation.methods["noisy"] == results[0].methods["noisy"]
    for annotator in phantom.annotators:
        found, expected = (one.methods["opening"][annotator] for one in (evaluation, results[0]))
        assert found["dice_stored"].value is found["dice_stored_per_image"].value is None
        kept = ("average_precision", "average_precision_in_lung", "average_precision_per_image", "dice_oracle")
        assert all(found[name] == expected[name] for name in (*kept, "dice_fixed"))
    on, before = (one.slices["opening"] for one in (evaluation, results[0]))
    assert on["false_positive_fraction"].value is on["specificity"].value is on["sensitivity"].value is None
    assert (on["auroc"], on["score_of_normal"], on["score_of_lesion"]) == (
        before["auroc"],
        before["score_of_normal"],
        before["score_of_lesion"],
    )
    assert evaluation.conventions["threshold of opening"] is None


def test_without_a_threshold_and_without_normal_slices_the_rest_is_as_ever(phantom: Table) -> None:
    lesion = phantom.labelled("lesion")
    (expected, whole), (found, bare) = (
        evaluate(lesion, {"noisy": noisy(lesion)}, {"noisy": threshold}, RESOLUTION) for threshold in (0.35, None)
    )
    at_threshold = ("dice_stored", "dice_stored_per_image", "dice_stored_in_lung")
    for annotator, numbers in found.methods["noisy"].items():
        for name in numbers:
            estimate = expected.methods["noisy"][annotator][name]
            assert numbers[name] == (Estimate(None) if name in at_threshold else estimate), name
    assert found.agreed == expected.agreed
    assert set(found.agreed["a and b"]) == {"chance", "noisy"}
    on = found.slices["noisy"]
    assert on["score_of_lesion"] == expected.slices["noisy"]["score_of_lesion"]
    assert on["score_of_lesion"].value is not None
    missing = (on["false_positive_fraction"], on["score_of_normal"], on["specificity"], on["sensitivity"], on["auroc"])
    assert all(estimate == Estimate(None) for estimate in missing)
    rows, before = (
        list(csv.DictReader(io.StringIO(slices_to_csv(accumulators["noisy"].slices, lesion))))
        for accumulators in (bare, whole)
    )
    assert len(rows) == len(before) == len(lesion)
    for row, with_threshold in zip(rows, before, strict=True):
        for column, text in row.items():
            empty = column.startswith(("lesion_fraction", "dice_", "missed_", "false_", "wrong_"))
            assert text == ("" if empty else with_threshold[column]), column
    first = worst(bare["noisy"].slices, "a", 5, 5)[0].against["a"]
    assert first.average_precision == min(one.average_precision for _, one in bare["noisy"].annotators["a"].outlined)


def test_the_grid_averages_and_masks_need_half(phantom: Table) -> None:
    np.testing.assert_allclose(onto_grid(np.float32([[0, 1], [1, 1]]), 1), [[0.75]])
    image = np.random.default_rng(0).random((40, 80)).astype(np.float32)
    expected = image.reshape(10, 4, 20, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(onto_grid(image, 20), expected, atol=1e-6)
    np.testing.assert_allclose(onto_grid(image.T, 20), expected.T, atol=1e-6)
    assert onto_grid(image[:1], 8).shape == (1, 8)
    assert onto_grid(image[:, :1], 8).shape == (8, 1)
    row = phantom.labelled("lesion").slices[0]
    assert read_mask(row, "a", 64).shape == read_mask(row, "b", 64).shape == (64, 64)


def test_what_is_half_lesion_or_lung_is_lesion_or_lung(phantom: Table, tmp_path: Path) -> None:
    half = np.zeros((4, 4), dtype=np.uint8)
    half[:2, 1:3] = 255  # half of the upper two pixels of the grid
    half[2, 0] = 255  # a quarter of the one below
    Image.fromarray(half).save(tmp_path / "half.png")
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(tmp_path / "image.png")
    row = replace(
        phantom.labelled("lesion").slices[0], image=tmp_path / "image.png", masks={"a": tmp_path / "half.png"}
    )
    expected = [[True, True], [False, False]]
    np.testing.assert_array_equal(read_mask(row, "a", 2), expected)
    np.testing.assert_array_equal(to_grid(Scored(np.zeros((4, 4), np.float32), half > 0), 2).lungs, expected)


def test_a_slice_that_an_annotator_left_out_is_named(phantom: Table) -> None:
    rows = list(phantom.labelled("lesion"))[:2]
    rows[1] = replace(rows[1], masks={"a": rows[1].masks["a"]})
    table = Table(root=phantom.root, slices=tuple(rows))
    with pytest.raises(DataError) as caught:
        evaluate(table, {"noisy": noisy(table)}, {"noisy": 0.3})
    assert str(caught.value) == (
        f"{rows[1].place}: has no mask of b, who outlined other slices; add it or remove the column"
    )


def test_empty_masks_of_normal_slices_change_nothing(
    phantom: Table, results: tuple[Evaluation, dict[str, MethodAccumulator]], tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((64, 64), dtype=np.uint8)).save(tmp_path / "empty.png")
    empty = dict.fromkeys(phantom.annotators, tmp_path / "empty.png")
    rows = [replace(row, masks=empty) if row.label == "normal" else row for row in phantom]
    scores = {"noisy": noisy(phantom), "opening": untrained_scores(map(read_slice, phantom), opening, RESOLUTION)}
    masked = Table(root=phantom.root, slices=tuple(rows))
    again, _ = evaluate(masked, scores, {"noisy": 0.35, "opening": 0.05}, RESOLUTION)
    assert again == results[0]


def test_a_slice_whose_lung_is_too_small_for_the_grid_is_named(phantom: Table) -> None:
    lungs = np.zeros((128, 128), dtype=bool)
    lungs[5, 5] = True
    scores = {"ours": (Scored(np.zeros(lungs.shape, dtype=np.float32), lungs) for _ in phantom)}
    with pytest.raises(DataError) as caught:
        evaluate(phantom, scores, {"ours": 0.5}, RESOLUTION)
    place = phantom.slices[0].place
    assert str(caught.value) == f"{place}: has no lung left at a resolution of 64; remove the slice"


def test_masks_of_normal_slices_alone_are_refused(phantom: Table) -> None:
    masks = phantom.labelled("lesion").slices[0].masks
    rows = tuple(replace(row, masks=masks) for row in phantom.labelled("normal").slices[:2])
    table = Table(root=phantom.root, slices=rows)
    with pytest.raises(DataError) as caught:
        evaluate(table, {"noisy": noisy(table)}, {"noisy": 0.3})
    assert str(caught.value) == (
        f"{phantom.root}: lists masks, but no slice with lesion; add some, or remove the columns of masks"
    )


def test_scores_end_a_pixel_of_the_grid_beyond_the_lungs() -> None:
    lungs = np.zeros((40, 40), dtype=bool)
    lungs[10:30, 10:30] = True
    small = to_grid(Scored(np.ones((40, 40), dtype=np.float32), lungs), 20)
    expected = np.zeros((20, 20), dtype=np.float32)
    expected[4:16, 4:16] = 1
    np.testing.assert_array_equal(small.score, expected)
    assert small.score.dtype == np.float32
    assert small.lungs.sum() == 100


def test_the_grid_keeps_the_probability_of_a_slice() -> None:
    scored = Scored(np.ones((40, 40), dtype=np.float32), np.ones((40, 40), dtype=bool), presence=0.3)
    assert to_grid(scored, 20).presence == 0.3
    assert to_grid(scored._replace(presence=None), 20).presence is None


def test_untrained_maps_are_made_on_the_grid(phantom: Table) -> None:
    rows = list(phantom)[:3]
    for row, scored in zip(rows, untrained_scores(map(read_slice, rows), smoothing, RESOLUTION), strict=True):
        grey, lungs = read_slice(row)
        inside = onto_grid(lungs, RESOLUTION) >= 0.5
        np.testing.assert_array_equal(scored.lungs, inside)
        expected = smoothing(onto_grid(grey.astype(np.float32) / np.iinfo(grey.dtype).max, RESOLUTION), inside)
        np.testing.assert_allclose(scored.score, expected, atol=1e-6)


def test_a_pixel_exactly_at_the_threshold_counts_as_lesion() -> None:
    accumulator = MethodAccumulator(0.25)
    lungs = np.ones((4, 4), dtype=bool)
    score = np.zeros((4, 4), dtype=np.float32)
    score[0] = 16384 / 65535  # the level of the threshold
    score[1] = 16383 / 65535
    score[2, 0] = 0.25
    truth = np.zeros((4, 4), dtype=bool)
    truth[0] = True
    row = Slice(image=Path("1.png"), label="lesion", split="test", series="s", place="line 2")
    accumulator.add(row, Scored(score, lungs), {"a": truth})
    assert accumulator.slices[0].lesion_fraction == 5 / 16
    assert accumulator.measured().against["a"]["dice_stored"].value == 2 * 4 / (4 + 5)
    assert not accumulator.scores_slices

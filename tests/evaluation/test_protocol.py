from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score

from lesionsplit.data.lungs import read_slice
from lesionsplit.data.table import Table
from lesionsplit.errors import DataError
from lesionsplit.evaluation.baselines import opening, smoothing
from lesionsplit.evaluation.bootstrap import Estimate
from lesionsplit.evaluation.counts import dice
from lesionsplit.evaluation.protocol import Evaluation, evaluate, onto_grid, read_mask, to_grid, untrained_scores
from lesionsplit.evaluation.slices import worst
from lesionsplit.evaluation.tally import MethodTally, Scored
from lesionsplit.report.tables import slices_to_csv

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
def results(phantom: Table) -> tuple[Evaluation, dict[str, MethodTally]]:
    scores = {"noisy": noisy(phantom), "opening": untrained_scores(map(read_slice, phantom), opening, RESOLUTION)}
    return evaluate(phantom, scores, {"noisy": 0.35, "opening": 0.05}, RESOLUTION)


def test_pooled_numbers_are_scikit_learns_over_all_pixels(
    phantom: Table, results: tuple[Evaluation, dict[str, MethodTally]]
) -> None:
    truth, score, lung = [], [], []
    for row, scored in zip(phantom, noisy(phantom), strict=True):
        if row.label == "lesion":
            small = to_grid(scored, RESOLUTION)
            score.append(np.rint(small.score * 65535))
            truth.append(read_mask(row, "a", RESOLUTION))
            lung.append(small.lungs)
    truths, scores, lungs = (np.stack(part) for part in (truth, score, lung))
    numbers = results[0].methods["noisy"]["a"]
    assert numbers.average_precision.value == pytest.approx(average_precision_score(truths.ravel(), scores.ravel()))
    in_lung = average_precision_score(truths[lungs], scores[lungs])
    assert numbers.average_precision_in_lung.value == pytest.approx(in_lung)
    each = [average_precision_score(t.ravel(), s.ravel()) for t, s in zip(truths, scores, strict=True) if t.any()]
    assert numbers.average_precision_per_image.value == pytest.approx(np.mean(each))
    found = scores >= np.ceil(0.35 * 65535)
    overlap = 2 * (found & truths).sum() / (found.sum() + truths.sum())
    assert numbers.dice_stored.value == pytest.approx(overlap)
    assert numbers.dice_stored_in_lung.value == pytest.approx(f1_score(truths[lungs], found[lungs]))
    precision, recall, _ = precision_recall_curve(truths[lungs], scores[lungs])
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    assert numbers.dice_best_in_lung.value == pytest.approx(f1.max())
    assert results[0].chance["a"].average_precision.value == pytest.approx(truths.mean())
    assert results[0].chance["a"].average_precision_in_lung.value == pytest.approx(truths[lungs].mean())
    prevalences = [truth.mean() for truth in truths if truth.any()]
    assert results[0].chance["a"].average_precision_per_image.value == pytest.approx(np.mean(prevalences))


def test_slices_are_told_apart_by_their_highest_hundredth(
    phantom: Table, results: tuple[Evaluation, dict[str, MethodTally]]
) -> None:
    labels, scores = [], []
    for row, scored in zip(phantom, noisy(phantom), strict=True):
        small = to_grid(scored, RESOLUTION)
        inside = np.sort(small.score[small.lungs])[::-1]
        labels.append(row.label == "lesion")
        scores.append(inside[: max(1, round(0.01 * len(inside)))].mean())
    assert results[0].slices["noisy"].auroc.value == pytest.approx(roc_auc_score(labels, scores))


def test_annotators_judge_each_other(phantom: Table, results: tuple[Evaluation, dict[str, MethodTally]]) -> None:
    a, b = (np.stack([read_mask(row, name, RESOLUTION) for row in phantom.labelled("lesion")]) for name in ("a", "b"))
    agreement = results[0].annotators["a"]["b"]
    assert agreement.dice.value == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert agreement.precision.value == pytest.approx((a & b).sum() / b.sum())
    assert agreement.recall.value == pytest.approx((a & b).sum() / a.sum())
    assert set(results[0].annotators["a"]) == {"b", "b_revised"}


def test_agreed_pixels_are_those_that_both_or_neither_outlined(
    phantom: Table, results: tuple[Evaluation, dict[str, MethodTally]]
) -> None:
    a, b = (np.stack([read_mask(row, name, RESOLUTION) for row in phantom.labelled("lesion")]) for name in ("a", "b"))
    pairs = zip(phantom, noisy(phantom), strict=True)
    score = np.stack([to_grid(scored, RESOLUTION).score for row, scored in pairs if row.label == "lesion"])
    kept = ~(a ^ b)
    assert kept.sum() < kept.size  # they do disagree somewhere
    assert set(results[0].agreed) == {"a and b"}
    numbers = results[0].agreed["a and b"]
    assert set(numbers) == {"chance", "noisy", "opening"}
    estimate = numbers["noisy"].average_precision
    assert estimate.value == pytest.approx(average_precision_score(a[kept], np.rint(score * 65535)[kept]))
    assert estimate.low is not None
    assert estimate.low <= estimate.value <= estimate.high  # type: ignore[operator]
    assert numbers["chance"].average_precision.value == pytest.approx(a[kept].mean())


def test_the_threshold_s_stability_is_the_lowest_dice_over_the_best(
    results: tuple[Evaluation, dict[str, MethodTally]],
) -> None:
    evaluation, tallies = results
    overlap = dice(tallies["noisy"].annotators["a"].whole.total)
    estimate = evaluation.methods["noisy"]["a"].dice_lowest
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
    assert numbers.dice_stored_in_lung == numbers.dice_best_in_lung == Estimate(1.0, 1.0, 1.0)
    assert numbers.dice_stored.value is not None
    assert 0 < numbers.dice_stored.value < 1


def test_the_stored_threshold_is_exact_in_the_interval_too(phantom: Table) -> None:
    """A threshold within a bin: Dice that is 1 from there and nowhere near, in every resample."""
    lesion, threshold = phantom.labelled("lesion"), 0.35013

    def steps() -> Iterator[Scored]:
        for row in lesion:
            truth = read_mask(row, "a", RESOLUTION)
            score = np.where(truth, np.ceil(threshold * 65535), np.floor(threshold * 65535)) / 65535
            yield Scored(score.astype(np.float32), np.ones_like(truth))

    evaluation, _ = evaluate(lesion, {"steps": steps()}, {"steps": threshold}, RESOLUTION)
    assert evaluation.methods["steps"]["a"].dice_stored == Estimate(1.0, 1.0, 1.0)


def test_intervals_hold_the_value(results: tuple[Evaluation, dict[str, MethodTally]]) -> None:
    estimate = results[0].methods["opening"]["b"].average_precision
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
    assert numbers.average_precision.value == 1
    assert numbers.dice_stored.value == 1
    assert evaluation.slices["truth"].auroc.value is None


def test_without_a_threshold_only_its_own_numbers_are_missing(
    phantom: Table, results: tuple[Evaluation, dict[str, MethodTally]]
) -> None:
    scores = {"noisy": noisy(phantom), "opening": untrained_scores(map(read_slice, phantom), opening, RESOLUTION)}
    evaluation, _ = evaluate(phantom, scores, {"noisy": 0.35, "opening": None}, RESOLUTION)
    assert evaluation.methods["noisy"] == results[0].methods["noisy"]
    for annotator in phantom.annotators:
        found, expected = (one.methods["opening"][annotator] for one in (evaluation, results[0]))
        assert found.dice_stored.value is found.dice_stored_per_image.value is None
        kept = ("average_precision", "average_precision_in_lung", "average_precision_per_image", "dice_best")
        assert all(getattr(found, name) == getattr(expected, name) for name in (*kept, "dice_fixed"))
    on, before = (one.slices["opening"] for one in (evaluation, results[0]))
    assert on.share_of_lung_fired.value is on.specificity.value is on.sensitivity.value is None
    assert (on.auroc, on.score_of_normal, on.score_of_lesion) == (
        before.auroc,
        before.score_of_normal,
        before.score_of_lesion,
    )
    assert evaluation.conventions["threshold of opening"] is None


def test_without_a_threshold_and_without_normal_slices_the_rest_is_as_ever(phantom: Table) -> None:
    lesion = phantom.labelled("lesion")
    (expected, whole), (found, bare) = (
        evaluate(lesion, {"noisy": noisy(lesion)}, {"noisy": threshold}, RESOLUTION) for threshold in (0.35, None)
    )
    at_threshold = ("dice_stored", "dice_stored_per_image", "dice_stored_in_lung")
    for annotator, numbers in found.methods["noisy"].items():
        for name in numbers.__struct_fields__:
            estimate = getattr(expected.methods["noisy"][annotator], name)
            assert getattr(numbers, name) == (Estimate(None) if name in at_threshold else estimate), name
    assert found.agreed == expected.agreed
    assert set(found.agreed["a and b"]) == {"chance", "noisy"}
    on = found.slices["noisy"]
    assert on.score_of_lesion == expected.slices["noisy"].score_of_lesion
    assert on.score_of_lesion.value is not None
    missing = (on.share_of_lung_fired, on.score_of_normal, on.specificity, on.sensitivity, on.auroc)
    assert all(estimate == Estimate(None) for estimate in missing)
    rows, before = (
        list(csv.DictReader(io.StringIO(slices_to_csv(tallies["noisy"].slices, lesion)))) for tallies in (bare, whole)
    )
    assert len(rows) == len(before) == len(lesion)
    for row, with_threshold in zip(rows, before, strict=True):
        for column, text in row.items():
            empty = column.startswith(("share_of_lung", "dice_", "missed_", "false_", "wrong_"))
            assert text == ("" if empty else with_threshold[column]), column
    first = worst(bare["noisy"].slices, "a", 5, 5)[0].against["a"]
    assert first.average_precision == min(bare["noisy"].annotators["a"].precisions)


def test_the_grid_averages_and_masks_need_half(phantom: Table) -> None:
    np.testing.assert_allclose(onto_grid(np.float32([[0, 1], [1, 1]]), 1), [[0.75]])
    image = np.zeros((40, 80), dtype=np.float32)
    assert onto_grid(image, 20).shape == (10, 20)
    row = phantom.labelled("lesion").slices[0]
    assert read_mask(row, "a", 64).shape == read_mask(row, "b", 64).shape == (64, 64)


def test_a_slice_that_an_annotator_left_out_is_named(phantom: Table) -> None:
    rows = list(phantom.labelled("lesion"))[:2]
    rows[1] = replace(rows[1], masks={"a": rows[1].masks["a"]})
    table = Table(root=phantom.root, slices=tuple(rows))
    with pytest.raises(DataError, match="has no mask of b, who outlined other slices"):
        evaluate(table, {"noisy": noisy(table)}, {"noisy": 0.3})


def test_empty_masks_of_normal_slices_change_nothing(
    phantom: Table, results: tuple[Evaluation, dict[str, MethodTally]], tmp_path: Path
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
    with pytest.raises(DataError, match="has no lung left at a resolution of 64"):
        evaluate(phantom, scores, {"ours": 0.5}, RESOLUTION)


def test_scores_end_a_pixel_of_the_grid_beyond_the_lungs() -> None:
    lungs = np.zeros((40, 40), dtype=bool)
    lungs[10:30, 10:30] = True
    small = to_grid(Scored(np.ones((40, 40), dtype=np.float32), lungs), 20)
    expected = np.zeros((20, 20), dtype=np.float32)
    expected[4:16, 4:16] = 1
    np.testing.assert_array_equal(small.score, expected)
    assert small.lungs.sum() == 100


def test_untrained_maps_are_made_on_the_grid(phantom: Table) -> None:
    rows = list(phantom)[:3]
    for row, scored in zip(rows, untrained_scores(map(read_slice, rows), smoothing, RESOLUTION), strict=True):
        grey, lungs = read_slice(row)
        inside = onto_grid(lungs, RESOLUTION) >= 0.5
        np.testing.assert_array_equal(scored.lungs, inside)
        expected = smoothing(onto_grid(grey.astype(np.float32) / np.iinfo(grey.dtype).max, RESOLUTION), inside)
        np.testing.assert_allclose(scored.score, expected, atol=1e-6)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesionsplit.data.lung_slice import read_slice
from lesionsplit.data.table import Slice, Table
from lesionsplit.evaluation.accumulators import Scored
from lesionsplit.evaluation.slices import AgainstOutline, SliceNumbers
from lesionsplit.inference.predictor import SlicePredictor
from lesionsplit.report.examples import FOUND, TILE, Shown, describe, described_page, example_page
from lesionsplit.tiles import GAP, HEADING, text_tile

NAN = float("nan")
HALF_MISSED = AgainstOutline(0.31, 0.6, 0.5, 0.25, 0.06, 0.02)
WITHOUT_THRESHOLD = AgainstOutline(0.31, NAN, NAN, NAN, NAN, NAN)


def numbers(against: dict[str, AgainstOutline], lesion_fraction: float = 0.08) -> SliceNumbers:
    label = "lesion" if against else "normal"
    row = Slice(image=Path("images/7.png"), label=label, split="val", series="s3", place="line 8")  # type: ignore[arg-type]
    return SliceNumbers(row, 0.25, lesion_fraction, 0.1, against)


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        (numbers({}, lesion_fraction=0.041), "false positives: 4.1% of a normal lung"),
        (numbers({"a": HALF_MISSED}), "missed 50% of a's outline"),
        (
            numbers({"a": HALF_MISSED._replace(missed_of_lung=0.01), "b": HALF_MISSED}),
            "25% outside a's outline",
        ),
        (numbers({"a": AgainstOutline(NAN, NAN, NAN, 1.0, 0.0, 0.08)}), "a outlined nothing; found 8.0%"),
        (numbers({}, lesion_fraction=NAN), "no threshold, so no lesion mask"),
        (numbers({"a": WITHOUT_THRESHOLD}, lesion_fraction=NAN), "no threshold, so no lesion mask"),
    ],
)
def test_the_larger_error_is_said_in_words(one: SliceNumbers, sentence: str) -> None:
    assert describe(one, ("a", "b"))[1] == [(sentence, FOUND)]


def test_every_annotators_numbers_are_said() -> None:
    silent = AgainstOutline(NAN, NAN, NAN, NAN, 0.0, 0.0)
    lines = describe(numbers({"a": HALF_MISSED, "b": silent}), ("a", "b"))
    words = [line if isinstance(line, str) else line[0][0] for line in lines]
    assert words[0] == "7, lesion, series s3"
    assert words[2:] == [
        "wrong: 8.0% of the lung; score 0.25",
        "a: missed 50%, false 25%",
        "    Dice 0.60, AP 0.31",
        "b: missed -, false -",
        "    Dice -, AP -",
    ]


def test_without_a_threshold_words_have_dashes() -> None:
    lines = describe(numbers({"a": WITHOUT_THRESHOLD}, lesion_fraction=NAN), ("a",))
    words = [line if isinstance(line, str) else line[0][0] for line in lines]
    assert words[2:] == [
        "wrong: - of the lung; score 0.25",
        "a: missed -, false -",
        "    Dice -, AP 0.31",
    ]


def test_the_words_fit_the_tile() -> None:
    """With names as long as covid-cell's, and as many annotators as there are colours."""
    all_wrong = AgainstOutline(1.0, 1.0, 1.0, 1.0, 0.5, 0.6)
    names = ("b_revised", "b", "c", "d")
    lines = describe(numbers(dict.fromkeys(names, all_wrong), lesion_fraction=1.0), names)
    assert len(lines) == 11
    assert np.array_equal(text_tile(lines, TILE), text_tile(lines, (TILE[0], 2 * TILE[1]))[:, : TILE[1]])
    assert not np.array_equal(text_tile(lines, TILE), text_tile(lines[:-1], TILE))


def test_a_page_has_a_row_for_each_slice_and_words_before_the_tiles(phantom: Table, weights: Path) -> None:
    rows = [phantom.labelled("lesion").slices[0], phantom.labelled("normal").slices[0]]
    slices = [SliceNumbers(row, 0.5, 0.1, 0.1, {"a": HALF_MISSED} if row.masks else {}) for row in rows]
    found = SlicePredictor.load(weights).predict_stream(map(read_slice, rows))
    scores = [Scored(one.score, one.lungs, healthy=one.healthy) for one in found]
    shown = Shown(rows=rows, scores=scores, annotators=phantom.annotators, threshold=0.2)
    page = np.asarray(described_page(shown, slices, "drawn"))
    without = np.asarray(example_page(shown))
    assert without.shape == (page.shape[0], page.shape[1] - TILE[1] - GAP, 3)
    np.testing.assert_array_equal(without[HEADING:, GAP + TILE[1] :], page[HEADING:, 2 * (GAP + TILE[1]) :])
    assert page.shape == (HEADING + 2 * (TILE[0] + GAP) + GAP, 7 * (TILE[1] + GAP) + GAP, 3)
    for row in range(2):
        top = HEADING + row * (TILE[0] + GAP)
        words = page[top : top + TILE[0], GAP : GAP + TILE[1]]
        assert (words.max(axis=(0, 1)) > 200).any()
        assert words.mean() < 60  # mostly empty

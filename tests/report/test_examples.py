from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesionsplit.data.lungs import read_slice
from lesionsplit.data.table import Slice, Table
from lesionsplit.evaluation.slices import AgainstOutline, SliceNumbers
from lesionsplit.pictures import GAP, HEADING, text_tile
from lesionsplit.predictor import Predictor
from lesionsplit.report.examples import FOUND, TILE, choose_examples, choose_random, describe, described_page

NAN = float("nan")
HALF_MISSED = AgainstOutline(0.31, 0.6, 0.5, 0.25, 0.06, 0.02)
WITHOUT_THRESHOLD = AgainstOutline(0.31, NAN, NAN, NAN, NAN, NAN)


def numbers(against: dict[str, AgainstOutline], fired: float = 0.08) -> SliceNumbers:
    label = "lesion" if against else "normal"
    row = Slice(image=Path("images/7.png"), label=label, split="val", series="s3", place="line 8")  # type: ignore[arg-type]
    return SliceNumbers(row, 0.25, fired, 0.1, against)


def test_examples_are_from_all_over(phantom: Table) -> None:
    chosen = choose_examples(phantom, lesion=4, normal=2)
    assert [row.label for row in chosen] == ["lesion"] * 4 + ["normal"] * 2
    assert len({(row.label, row.series) for row in chosen}) == 6
    assert len(choose_examples(phantom, lesion=500, normal=0)) == 18


def test_random_ones_are_the_same_for_the_same_seed_and_in_order() -> None:
    slices = [numbers({}, fired=share / 100) for share in range(50)]
    shares = [one.fired for one in choose_random(slices, 20, seed=3)]
    assert shares == [one.fired for one in choose_random(slices, 20, seed=3)]
    assert shares != [one.fired for one in choose_random(slices, 20, seed=4)]
    assert shares == sorted(set(shares))
    assert len(shares) == 20
    assert choose_random(slices[:5], 20) == slices[:5]


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        (numbers({}, fired=0.041), "fires on 4.1% of a normal lung"),
        (numbers({"a": HALF_MISSED}), "missed 50% of a's outline"),
        (
            numbers({"a": HALF_MISSED._replace(missed_of_lung=0.01), "b": HALF_MISSED}),
            "fires 25% outside a's outline",
        ),
        (numbers({"a": AgainstOutline(NAN, NAN, NAN, 1.0, 0.0, 0.08)}), "a outlined nothing; fires on 8.0%"),
        (numbers({}, fired=NAN), "no threshold, so nothing is called lesion"),
        (numbers({"a": WITHOUT_THRESHOLD}, fired=NAN), "no threshold, so nothing is called lesion"),
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
    lines = describe(numbers({"a": WITHOUT_THRESHOLD}, fired=NAN), ("a",))
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
    lines = describe(numbers(dict.fromkeys(names, all_wrong), fired=1.0), names)
    assert len(lines) == 11
    assert np.array_equal(text_tile(lines, TILE), text_tile(lines, (TILE[0], 2 * TILE[1]))[:, : TILE[1]])
    assert not np.array_equal(text_tile(lines, TILE), text_tile(lines[:-1], TILE))


def test_a_page_has_a_row_a_slice_and_words_before_the_pictures(phantom: Table, weights: Path) -> None:
    rows = [phantom.labelled("lesion").slices[0], phantom.labelled("normal").slices[0]]
    slices = [SliceNumbers(row, 0.5, 0.1, 0.1, {"a": HALF_MISSED} if row.masks else {}) for row in rows]
    predictions = Predictor.load(weights).predict_stream(map(read_slice, rows))
    page = np.asarray(described_page(slices, predictions, phantom.annotators, "drawn"))
    assert page.shape == (HEADING + 2 * (TILE[0] + GAP) + GAP, 7 * (TILE[1] + GAP) + GAP, 3)
    for row in range(2):
        top = HEADING + row * (TILE[0] + GAP)
        words = page[top : top + TILE[0], GAP : GAP + TILE[1]]
        assert (words.max(axis=(0, 1)) > 200).any()
        assert words.mean() < 60  # mostly empty

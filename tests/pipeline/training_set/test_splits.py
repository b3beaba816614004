"""Patients into splits."""

from __future__ import annotations

from collections import Counter

import pytest

from lesionsplit.errors import DataError
from lesionsplit.pipeline.training_set.splits import assign, fixed_splits

FRACTIONS = (0.6, 0.2, 0.2)


def test_counts_are_those_of_the_fractions_in_both_groups() -> None:
    ill = {f"{number:02d}": number % 2 == 0 for number in range(40)}
    found = assign(ill, {}, FRACTIONS, seed=3)
    for group in (True, False):
        counts = Counter(split for patient, split in found.items() if ill[patient] == group)
        assert counts == {"train": 12, "val": 4, "test": 4}


def test_few_patients_leave_no_split_empty() -> None:
    found = assign(dict.fromkeys("abc", True), {}, (0.9, 0.05, 0.05), seed=0)
    assert sorted(found.values()) == ["test", "train", "val"]


def test_a_single_patient_is_for_training() -> None:
    assert assign({"a": True}, {}, FRACTIONS, seed=0) == {"a": "train"}


def test_a_split_of_fraction_0_stays_empty() -> None:
    found = assign(dict.fromkeys("abcdefgh", False), {}, (0.75, 0.25, 0.0), seed=0)
    assert Counter(found.values()) == {"train": 6, "val": 2}


def test_seed_decides_and_fixed_ones_stay() -> None:
    ill = {f"{number:02d}": True for number in range(20)}
    assert assign(ill, {}, FRACTIONS, seed=1) == assign(ill, {}, FRACTIONS, seed=1)
    assert assign(ill, {}, FRACTIONS, seed=1) != assign(ill, {}, FRACTIONS, seed=2)
    fixed = {"00": "test", "01": "test", "02": "test", "03": "test"}
    found = assign(ill, fixed, FRACTIONS, seed=1)  # type: ignore[arg-type]
    assert Counter(found.values()) == {"train": 12, "val": 4, "test": 4}
    assert all(found[patient] == "test" for patient in fixed)


def test_a_patient_in_two_splits_is_refused() -> None:
    with pytest.raises(DataError, match="b: is in split 'val', and a of the same patient in 'train'"):
        fixed_splits({"a": "p", "b": "p"}, {"a": "train", "b": "val"})

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lesionsplit.phantom.anatomy import Subject

SIZE = 256


@pytest.fixture(scope="module")
def subjects() -> list[Subject]:
    return [Subject(np.random.default_rng(seed), SIZE, 0.45) for seed in range(6)]


def test_there_are_two_lungs(subjects: list[Subject]) -> None:
    for subject in subjects:
        _, count = ndimage.label(subject.lungs(0.45))
        assert count == 2


def test_lungs_fill_about_what_they_fill_in_ct(subjects: list[Subject]) -> None:
    share = np.mean([subject.lungs(0.45).mean() for subject in subjects])
    assert 0.08 < share < 0.25  # 0.13 in covid-cell


def test_neighbouring_slices_are_alike_and_distant_ones_are_not(subjects: list[Subject]) -> None:
    def overlap(one: np.ndarray, other: np.ndarray) -> float:
        return 2 * (one & other).sum() / (one.sum() + other.sum())

    for subject in subjects:
        here = subject.lungs(0.45)
        assert overlap(here, subject.lungs(0.462)) > 0.95
        assert overlap(here, subject.lungs(0.08)) < 0.9


def test_a_slice_is_the_same_whenever_it_is_drawn(subjects: list[Subject]) -> None:
    one, other = subjects[0].healthy(0.45), subjects[0].healthy(0.45)
    assert np.array_equal(one.grey, other.grey)


def test_outside_the_lungs_is_black_and_inside_is_not(subjects: list[Subject]) -> None:
    for subject in subjects:
        one = subject.healthy(0.45)
        assert np.array_equal(one.grey > 0, one.lungs)
        assert one.grey.max() <= 255


def test_vessels_are_bright_and_a_small_part(subjects: list[Subject]) -> None:
    for subject in subjects:
        one = subject.healthy(0.45)
        inside = one.grey[one.lungs]
        assert 0.002 < (inside > np.median(inside) + 60).mean() < 0.2

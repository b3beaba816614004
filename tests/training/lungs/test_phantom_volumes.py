"""Imagined chests: thresholds and morphology, which know nothing of how they were drawn, find the same lungs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lesionsplit.lungs.resample import AIR, MM, SIDE
from lesionsplit.lungs.thresholds import body_of, threshold_lungs
from lesionsplit.training.lungs.phantom_volumes import SIZE, draw_chest, phantom_samples
from lesionsplit.training.lungs.samples import Sample


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return phantom_samples(4, seed=3)


def test_they_follow_from_the_seed(samples: list[Sample]) -> None:
    for one, two in zip(samples, phantom_samples(1, seed=3), strict=False):
        np.testing.assert_array_equal(one.image, two.image)
        np.testing.assert_array_equal(one.lungs, two.lungs)
    assert not np.array_equal(samples[0].image, samples[1].image)
    assert not np.array_equal(samples[0].image, phantom_samples(1, seed=4)[0].image)


def test_they_lie_on_the_canvas(samples: list[Sample]) -> None:
    for image, lungs in samples:
        assert image.shape == lungs.shape == (SIDE, SIDE)
        assert image.dtype == lungs.dtype == np.float32
        assert 0 <= lungs.min() <= lungs.max() <= 1
        assert image.min() > -0.01


def test_thresholds_find_the_lungs_of_healthy_ones() -> None:
    agreed = []
    for number, height in enumerate((0.3, 0.55)):
        hu, lungs = draw_chest(np.random.default_rng((9, number)), height)
        hu[lungs] = np.minimum(hu[lungs], -700)  # what is drawn of disease is not for thresholds
        small = np.clip(ndimage.zoom(hu, SIDE / SIZE, order=1), AIR, 300) - AIR
        truth = ndimage.zoom(lungs.astype(np.float32), SIDE / SIZE, order=1) > 0.5
        found = threshold_lungs(small[None].astype(np.float32), np.ones((SIDE, SIDE), bool))[0]
        agreed.append(2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth)))
    assert min(agreed) > 0.95


def test_lungs_are_air_in_a_body(samples: list[Sample]) -> None:
    frame = np.ones((SIDE, SIDE), dtype=bool)
    with_lungs = [one for one in samples if np.count_nonzero(one.lungs > 0.5) * MM**2 > 5000]
    assert len(with_lungs) >= 2
    for image, lungs in with_lungs:
        inside, body = lungs > 0.99, body_of(image + np.float32(AIR), frame)
        assert np.mean(body[inside]) > 0.99
        assert -950 < np.median(image[inside]) + AIR < -500  # healthy or hazy
        beside = ndimage.binary_dilation(lungs > 0, iterations=4) & ~ndimage.binary_dilation(lungs > 0, iterations=1)
        assert np.median(image[beside]) + AIR > -150
        assert np.median(image[~body]) + AIR < -950


def test_below_the_lungs_there_is_none() -> None:
    hu, lungs = draw_chest(np.random.default_rng(1), 1.6)
    assert not lungs.any()
    assert 5 < np.median(hu[hu > -300]) < 120

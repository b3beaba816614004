"""What healthy versions take off, against numbers that can be computed by hand, and against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lesionsplit.evaluation.removal import LEVELS, Pool, RemovalAccumulator, removed_share, removed_share_of_dense


def test_the_share_is_that_of_what_lesions_add_where_both_outlined() -> None:
    image = np.full((4, 64), 0.2, dtype=np.float32)
    image[1, 2:5] = 0.6, 0.4, 0.3
    healthy = image.copy()
    healthy[1, 2:5] = 0.3, 0.3, 0.3  # of 0.4, 0.2 and 0.1 above the median, 0.3, 0.1 and 0 are taken off
    lungs = np.ones_like(image, dtype=bool)
    lungs[3] = False
    one, other = np.zeros_like(lungs), np.zeros_like(lungs)
    one[1, 2:5], other[1, 1:5] = True, True
    counted = RemovalAccumulator()
    counted.add("s", image, healthy, lungs, [one, other])
    found = counted.summarise()
    assert found is not None
    assert found["removed"].value == pytest.approx(0.4 / 0.7, rel=1e-5)
    assert found["removed_dense"].value == pytest.approx(0.3 / 0.4, rel=1e-5)
    assert found["changed_normal"].value is None


def test_change_is_a_fraction_of_the_lungs_deviation() -> None:
    rng = np.random.default_rng(0)
    counted = RemovalAccumulator()
    changes, spreads = [], []
    for series in ("a", "a", "b"):
        image = rng.random((32, 48)).astype(np.float32)
        healthy = image + 0.01 * rng.standard_normal(image.shape).astype(np.float32)
        lungs = rng.random(image.shape) < 0.7
        counted.add(series, image, healthy, lungs, [])
        changes.append(np.abs(healthy - image)[lungs])
        spreads.append(np.full(lungs.sum(), image[lungs].std()))
    found = counted.summarise()
    assert found is not None
    expected = np.concatenate(changes).mean() / np.concatenate(spreads).mean()
    assert found["changed_normal"].value == pytest.approx(expected, rel=1e-4)
    assert found["removed"].value is None


def test_what_is_near_an_outline_is_not_elsewhere() -> None:
    """Eight pixels of 256, measured from the outline."""
    image = np.tile(np.linspace(0.1, 0.9, 256, dtype=np.float32), (3, 1))
    truth = np.zeros_like(image, dtype=bool)
    truth[:, :100] = True
    lungs = np.ones_like(truth)
    near, far = image.copy(), image.copy()
    near[:, 107] -= 0.1
    far[:, 108] -= 0.1
    shares = []
    for healthy in (near, far):
        counted = RemovalAccumulator()
        counted.add("s", image, healthy, lungs, [truth])
        found = counted.summarise()
        assert found is not None
        shares.append(found["changed_elsewhere"].value)
    assert shares[0] == 0
    assert shares[1] == pytest.approx(0.1 / 148 / image[0, 108:].std(), rel=1e-4)


def test_texture_is_that_of_healed_lesions_beside_that_of_spared_lung() -> None:
    """In fine noise on a slope; lesions of fewer than 100 pixels do not count."""
    rng = np.random.default_rng(2)
    image = (0.3 + 0.02 * rng.standard_normal((64, 256))).astype(np.float32)
    healthy = image.copy()
    lesion = np.zeros_like(image, dtype=bool)
    lesion[20:40, 20:60] = True
    healthy[lesion] = 0.3 + 0.5 * (image[lesion] - 0.3)
    healthy += np.linspace(0, 0.2, 256, dtype=np.float32)
    lungs = np.ones_like(lesion)
    counted = RemovalAccumulator()
    counted.add("s", image, healthy, lungs, [lesion, lesion])
    small = np.zeros_like(lesion)
    small[0, :99] = True
    counted.add("t", image, healthy * 0.5, lungs, [small, small])
    found = counted.summarise()
    assert found is not None
    away = lungs & (ndimage.distance_transform_edt(~lesion) > 8)
    assert found["texture"].value == pytest.approx(healthy[lesion].std() / healthy[away].std(), rel=1e-5)
    fine = healthy - ndimage.gaussian_filter(healthy, 1.5)  # the lungs are the whole frame: only its border differs
    expected = fine[lesion].std() / fine[away].std()
    assert found["fine_texture"].value == pytest.approx(expected, rel=0.02)
    assert expected == pytest.approx(0.5, abs=0.05)


def test_dense_is_the_third_with_most_added() -> None:
    rng = np.random.default_rng(1)
    level = rng.integers(0, 2 * LEVELS + 1, 900)
    added = (level - LEVELS) / LEVELS
    removed = added * rng.random(900)
    sums = np.stack([np.bincount(level, one, 2 * LEVELS + 1) for one in (np.ones(900), added, removed)])
    order = np.argsort(-level, kind="stable")
    last = level[order[299]]
    dense = level >= last
    assert removed_share_of_dense(sums) == pytest.approx(removed[dense].sum() / added[dense].sum())
    assert removed_share(np.stack([sums, 2 * sums])) == pytest.approx([removed.sum() / added.sum()] * 2)


def test_series_are_added_up_and_resampled() -> None:
    pool = Pool()
    pool.add("a", np.ones((2, 1)))
    pool.add("a", np.ones((2, 1)))
    pool.add("b", np.ones((2, 1)))
    assert pool.by_series["a"].tolist() == [[2.0], [2.0]]
    assert pool.total.tolist() == [[3.0], [3.0]]


def test_a_method_that_changes_no_slice_makes_no_healthy_versions() -> None:
    image = np.full((4, 8), 0.5, dtype=np.float32)
    lungs = np.ones_like(image, dtype=bool)
    counted = RemovalAccumulator()
    assert counted.summarise() is None
    counted.add("s", image, image, lungs, [])
    assert counted.summarise() is None
    counted.add("s", image, image * 0.9, lungs, [])
    assert counted.summarise() is not None

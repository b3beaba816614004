from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lesionsplit.data.lung_slice import LungSlice
from lesionsplit.errors import DataError
from lesionsplit.lungs.resample import SIDE
from lesionsplit.training.lungs.samples import Sample, draw_batch, embedded, filled, samples_of, vary, with_gas
from lesionsplit.training.lungs.synthetic_disease import draw_disease


@pytest.fixture(scope="module")
def hosts(chest) -> list[Sample]:
    return samples_of(chest.volume)


@pytest.fixture(scope="module")
def host(hosts: list[Sample]) -> Sample:
    return hosts[7]


@pytest.fixture(scope="module")
def lung_slice() -> LungSlice:
    rows, columns = np.mgrid[:512, :512]
    lungs = (np.hypot((rows - 250) / 1.4, columns - 150) < 100) | (np.hypot((rows - 250) / 1.4, columns - 370) < 90)
    grey = np.where(lungs, 90, 0).astype(np.uint8)
    grey[lungs & (rows % 40 < 8) & (columns % 40 < 8)] = 230
    return LungSlice(grey, lungs)


def test_the_lungs_of_a_healthy_chest(chest, hosts: list[Sample]) -> None:
    areas = (chest.volume.axial(chest.truth) > 0).sum(axis=(1, 2)) * 2.2**2
    found = [float(one.lungs.sum()) * 2.5**2 for one in hosts]
    np.testing.assert_allclose(found, areas, rtol=0.02, atol=150)
    assert all(one.image.shape == one.lungs.shape == (SIDE, SIDE) for one in hosts)


def test_only_ct_in_hu_with_lungs_will_do(chest) -> None:
    with pytest.raises(DataError, match=r"chest.nii: is not in HU; train on CT in HU"):
        samples_of(replace(chest.volume, intensity="grey"))
    with pytest.raises(DataError, match=r"chest.nii: no lung found; train on chest CT"):
        samples_of(replace(chest.volume, array=np.full((64, 64, 2), 40, np.int16)))


def test_disease_is_drawn_in_the_lungs_only_and_is_denser(host: Sample) -> None:
    changed = []
    for seed in range(40):
        drawn = draw_disease(np.random.default_rng(seed), host.image, host.lungs)
        np.testing.assert_array_equal(drawn[host.lungs == 0], host.image[host.lungs == 0])
        assert (drawn >= host.image - 1e-3).all()
        changed.append((drawn - host.image)[host.lungs > 0.5])
    assert np.mean([(one > 100).mean() for one in changed]) > 0.1
    assert max(float((one > 800).mean()) for one in changed) > 0.2  # as dense as soft tissue


def test_a_slice_without_lung_stays_as_it_is() -> None:
    image = np.full((SIDE, SIDE), 1000, np.float32)
    assert draw_disease(np.random.default_rng(0), image, np.zeros_like(image)) is image


def test_lungs_of_another_take_the_place_of_the_hosts(host: Sample, lung_slice: LungSlice) -> None:
    made = embedded(np.random.default_rng(0), lung_slice, host)
    inside, theirs = made.lungs > 0.99, host.lungs > 0.5
    assert np.median(made.image[inside]) == pytest.approx(1024 - 830, abs=70)
    assert (made.image[inside] > 900).mean() > 0.01  # vessels
    gone = (host.lungs > 0.99) & (made.lungs == 0)
    assert gone.any()
    assert (made.image[gone] > 800).all()
    rows, columns = (np.flatnonzero(theirs.any(axis=axis)) for axis in (1, 0))
    put_rows, put_columns = (np.flatnonzero((made.lungs > 0.5).any(axis=axis)) for axis in (1, 0))
    assert len(put_rows) == pytest.approx(len(rows), rel=0.12)
    assert len(put_columns) == pytest.approx(len(columns), rel=0.12)


def test_filled_lungs_are_none(host: Sample) -> None:
    made = filled(np.random.default_rng(0), host)
    assert not made.lungs.any()
    assert (made.image[host.lungs > 0.9] > 800).all()


def test_gas_is_in_the_body_and_not_in_the_lungs(host: Sample) -> None:
    changed = np.zeros((SIDE, SIDE), bool)
    for seed in range(20):
        made = with_gas(np.random.default_rng(seed), host)
        np.testing.assert_array_equal(made.lungs, host.lungs)
        changed |= made.image < host.image - 300
    assert changed.any()
    assert not changed[host.lungs > 0.02].any()


def test_batches_follow_from_the_seed(hosts: list[Sample], lung_slice: LungSlice) -> None:
    one, two, other = (
        vary(rng, draw_batch(rng, hosts, [lung_slice], 6)) for rng in map(np.random.default_rng, (3, 3, 4))
    )
    for first, second, third in zip(one, two, other, strict=True):
        assert first.shape == (6, 1, SIDE, SIDE)
        assert first.dtype == torch.float32
        torch.testing.assert_close(first, second, rtol=0, atol=0)
        assert not torch.equal(first, third)
    image, lungs = one
    assert 0 <= image.min() <= image.max() <= 1324
    assert 0 <= lungs.min() <= lungs.max() <= 1

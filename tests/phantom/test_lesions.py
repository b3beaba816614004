from __future__ import annotations

import numpy as np
import pytest

from lesionsplit.phantom.anatomy import Subject
from lesionsplit.phantom.lesions import FREQUENCIES, KINDS, Kind, Lesion, add_lesions

SIZE = 128


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject(np.random.default_rng(2), SIZE, 0.5)


def test_every_kind_has_its_share() -> None:
    assert len(KINDS) == len(FREQUENCIES) == 4
    assert sum(FREQUENCIES) == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lesion_only_adds_and_only_in_lung(subject: Subject, kind: Kind) -> None:
    healthy = subject.healthy(0.5)
    part = add_lesions(healthy, [Lesion(np.random.default_rng(7), subject, 0.5, kind)], 0.5)
    assert part.extent.any()
    assert (part.added >= 0).all()
    assert not part.added[~healthy.lungs].any()
    assert (part.added[part.extent] > 0).all()
    assert (np.rint(healthy.grey) + part.added <= 255).all()


def test_no_lesion_adds_nothing(subject: Subject) -> None:
    part = add_lesions(subject.healthy(0.5), [], 0.5)
    assert not part.added.any()
    assert not part.extent.any()


def test_a_lesion_ends_above_and_below(subject: Subject) -> None:
    lesion = Lesion(np.random.default_rng(7), subject, 0.5, "ground-glass")
    assert not add_lesions(subject.healthy(0.95), [lesion], 0.95).extent.any()


def test_a_band_lies_along_the_pleura(subject: Subject) -> None:
    from scipy import ndimage

    healthy = subject.healthy(0.5)
    depth = ndimage.distance_transform_edt(healthy.lungs)

    def mean_depth(kind: Kind) -> float:
        parts = [add_lesions(healthy, [Lesion(np.random.default_rng(i), subject, 0.5, kind)], 0.5) for i in range(8)]
        return float(np.mean([depth[part.extent].mean() for part in parts if part.extent.any()]))

    assert mean_depth("subpleural-band") < mean_depth("ground-glass")


def test_consolidation_is_denser_than_ground_glass(subject: Subject) -> None:
    healthy = subject.healthy(0.5)

    def median(kind: Kind) -> float:
        parts = [add_lesions(healthy, [Lesion(np.random.default_rng(i), subject, 0.5, kind)], 0.5) for i in range(8)]
        return float(np.median(np.concatenate([part.added[part.extent] for part in parts])))

    assert median("consolidation") > median("ground-glass")

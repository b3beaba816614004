from __future__ import annotations

import numpy as np
import pytest

from lesionsplit.phantom.noise import clouds, grain, ramp
from lesionsplit.phantom.vessels import TIP_RADIUS, draw_vessels, grow


def test_every_target_is_reached_and_tips_are_thin() -> None:
    rng = np.random.default_rng(0)
    targets = rng.uniform(0, 60, size=(40, 3))
    vessels = grow(rng, np.array([30.0, 30.0, 30.0]), targets)
    gaps = np.linalg.norm(vessels[None, :, :3] - targets[:, None], axis=2).min(axis=1)
    assert gaps.max() < 1e-9
    assert vessels[:, 3].min() == pytest.approx(TIP_RADIUS)


def test_murrays_law_at_the_root() -> None:
    rng = np.random.default_rng(0)
    vessels = grow(rng, np.array([30.0, 30.0, 30.0]), rng.uniform(0, 60, size=(40, 3)))
    # the root feeds every tip that nothing grew on from
    tips = np.isclose(vessels[:, 3], TIP_RADIUS).sum()
    assert vessels[0, 3] <= TIP_RADIUS * 40 ** (1 / 2.6) + 1e-9
    assert tips > 1
    assert vessels[0, 3] == vessels[:, 3].max()


def test_a_plane_cuts_what_it_meets() -> None:
    vertical = np.array([[20.0, 12.0, z, 3.0] for z in range(0, 40, 2)])
    drawn = draw_vessels(vertical, 20.0, 48)
    rows, columns = np.nonzero(drawn > 0.5)
    assert (rows.mean(), columns.mean()) == (pytest.approx(12, abs=0.6), pytest.approx(20, abs=0.6))
    assert len(rows) == pytest.approx(np.pi * 3**2, rel=0.35)
    assert not draw_vessels(vertical, 80.0, 48).any()


def test_textures_have_the_spread_they_say() -> None:
    rng = np.random.default_rng(1)
    assert grain(rng, 200, 1.0).std() == pytest.approx(1, abs=1e-3)
    assert clouds(rng, 200, 8).std() == pytest.approx(1, abs=1e-3)


def test_a_ramp_is_flat_outside_and_halfway_between() -> None:
    values = np.array([-5, 0, 0.5, 1, 5], dtype=np.float32)
    assert ramp(values, 0, 1).tolist() == [0, 0, 0.5, 1, 1]

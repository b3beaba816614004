from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lesionsplit import cores
from lesionsplit.errors import SettingsError, WeightsError
from lesionsplit.lungs.network import DEFAULT, LungNetwork, default_network
from lesionsplit.lungs.resample import SIDE
from lesionsplit.models.card import digest
from lesionsplit.training.lungs.network import LungCard, LungModel, LungNet, export_lungs


@pytest.fixture(scope="module")
def shrunk() -> np.ndarray:
    """Noise, (11, SIDE, SIDE) in HU above air."""
    return np.random.default_rng(0).uniform(0, 1300, (11, SIDE, SIDE)).astype(np.float32)


def test_the_file_in_the_package_is_that_of_the_weights(shrunk: np.ndarray) -> None:
    network = default_network()
    assert network.card.weights == digest(Path(str(DEFAULT)))
    with torch.inference_mode():
        expected = LungModel.load().shares(torch.from_numpy(shrunk[:, None])).numpy()[:, 0]
    assert expected.std() > 0.01
    np.testing.assert_allclose(network.shares(shrunk), expected, atol=1e-4, rtol=0)


def test_other_weights_are_exported(tmp_path: Path, shrunk: np.ndarray) -> None:
    torch.manual_seed(0)
    model = LungModel(LungCard(channels=(2, 3), trained={"seed": "0"}), LungNet((2, 3)))
    model.save(tmp_path / "lungs.safetensors")
    export_lungs(tmp_path / "lungs.safetensors", tmp_path / "lungs.onnx")
    with torch.inference_mode():
        expected = model.shares(torch.from_numpy(shrunk[:, None])).numpy()[:, 0]
    found = LungNetwork(tmp_path / "lungs.onnx").shares(shrunk)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)
    assert found.std() > 0


def test_slices_do_not_see_each_other(shrunk: np.ndarray) -> None:
    before = shrunk.copy()
    together = default_network().shares(shrunk)
    alone = np.concatenate([default_network().shares(one[None]) for one in shrunk])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_array_equal(shrunk, before)
    assert 0 <= together.min() <= together.max() <= 1


def test_it_is_read_once_for_each_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    first = default_network()
    assert default_network() is first
    monkeypatch.setattr(cores, "_chosen", cores.threads() + 1)
    assert default_network() is not first


def test_damaged_weights_find_no_lung_silently(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="the lung network's output is not finite"):
        default_network().shares(np.full((1, SIDE, SIDE), np.nan, np.float32))


def test_a_device_that_does_not_exist() -> None:
    with pytest.raises(SettingsError, match="device 'warp' is not available; allowed: auto, cpu, cuda, cuda:N, mps"):
        default_network("warp")

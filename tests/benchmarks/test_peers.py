"""The networks of others are as published, and a step's time falls into parts that add up."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from torch import nn

ROOT = Path(__file__).parents[2]


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A module of the benchmarks."""
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"benchmarks.{name}")


def weights(network: nn.Module) -> int:
    return sum(one.numel() for one in network.parameters())


def test_lungmask_has_five_levels_of_double_convolutions(part: Callable[[str], ModuleType]) -> None:
    network, features = part("peer_networks").lungmask_network(), [1, 64, 128, 256, 512, 1024]

    def double(inputs: int, outputs: int) -> int:  # with bias, and two numbers of batch norm a feature
        return 9 * (inputs + outputs) * outputs + 6 * outputs

    down = sum(map(double, features, features[1:]))
    up = sum(double(2 * fine, fine) + 2 * fine * fine + fine for fine in features[1:-1])
    assert weights(network) == down + up + 3 * 65
    assert network(torch.rand(2, 1, 32, 32)).shape == (2, 3, 32, 32)


def test_nnunet_has_eight_levels_and_averages_four_mirror_images(part: Callable[[str], ModuleType]) -> None:
    peers = part("peer_networks")
    network = peers.nnunet_network().eval()
    assert [level[0].out_channels for level in network.encoder] == [32, 64, 128, 256, 512, 512, 512, 512]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert sum(isinstance(module, nn.InstanceNorm2d) for module in network.modules()) == 2 * 8 + 2 * 7
    left = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    found = peers.with_mirrors(left, torch.ones(1, 1, 5, 5))
    torch.testing.assert_close(found, found.flip(2))
    torch.testing.assert_close(found, found.flip(3))


def test_padim_scores_the_distance_of_each_place_from_normal(part: Callable[[str], ModuleType]) -> None:
    padim = part("peer_networks").Padim(kept=3)
    normal = torch.randn(20, 3, 2, 2)
    padim.fit(normal)
    place = normal[:, :, 0, 1].numpy().astype(float)
    inverse = np.linalg.inv(np.cov(place.T) + 0.01 * np.eye(3))
    expected = mahalanobis([1, 2, 3], place.mean(axis=0), inverse)
    padim.features = lambda _: torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    apart = torch.tensor([1.0, 2.0, 3.0]) - padim.mean[1, 0]
    assert (apart @ padim.inverse[1] @ apart).sqrt().item() == pytest.approx(expected, rel=1e-4)
    assert padim.score(torch.zeros(1, 1, 8, 8)).shape == (1, 1, 8, 8)


def test_the_authors_decoders_differ_in_their_last_convolution_only(part: Callable[[str], ModuleType]) -> None:
    peers, book = part("peer_networks"), part("textbook")
    channels = [4, 6, 8, 8, 8]
    network = peers.AuthorsNetwork(channels)
    assert weights(network) == weights(book.Network(channels)) - weights(book.Decoder(channels)) + channels[0] + 1
    trainer = peers.AuthorsTrainer(network, peers.AuthorsCritic(channels[:4]))
    images = torch.rand(4, 1, 32, 32) - 0.5
    losses = [trainer.step(images[:2], images[2:]) for _ in range(8)]
    assert losses[-1] < losses[0]


def test_the_parts_of_a_step_add_up(part: Callable[[str], ModuleType], tmp_path: Path) -> None:
    steps = part("steps")
    settings = steps.settings_for("synthesis", small=True)
    found = steps.measure("synthesis", settings, steps.phantom(tmp_path / "phantom", 5), 1, 1e11)
    assert sum(found.shares.values()) == pytest.approx(1)
    for column in ("convolution", "elementwise", "sampling", "drawing", "optimiser", "averaging"):
        assert found.shares[column] > 0.001, column
    assert found.shares["convolution"] == max(found.shares.values())
    assert found.slices == 8
    assert found.floor > 0

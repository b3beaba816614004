"""What the tests of the MindSpore form share: the same method in both frameworks, and batches of the phantom.

Tests that need MindSpore are skipped where it is not installed; `make test-mindspore` installs it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
import torch

from lesionsplit.data.augment import Augmentation
from lesionsplit.data.cache import prepare
from lesionsplit.data.placement import PlacementSettings
from lesionsplit.data.sampling import Batch, Sampler
from lesionsplit.data.table import Table
from lesionsplit.methods.decomposition import DecompositionSettings, Objective, Optimisation
from lesionsplit.networks.critic import CriticSettings
from lesionsplit.networks.decomposition import NetworkSettings

Draw: TypeAlias = Callable[[int], Batch]
"""The batch of a step."""


@pytest.fixture(scope="session")
def draw(phantom: Table, tmp_path_factory: pytest.TempPathFactory) -> Draw:
    """4 slices of each label, (4, 1, 48, 64), with noise everywhere.

    Without it most pixels are equal and black. Then gradients of batch norm in float32, PyTorch's as well, are 4e-4
    off those in float64, which is more than these tests allow.
    """
    placement = PlacementSettings(rows=48, columns=64, frame=72)
    slices = prepare(phantom.split("train"), placement, folder=tmp_path_factory.mktemp("cache"))
    sampler = Sampler(slices, Augmentation(), batch_size=4, seed=3)

    def noisy(step: int) -> Batch:
        generator = torch.Generator().manual_seed(step)
        normal, lesion, *_ = sampler.draw(step)
        return Batch(*(one + 0.3 * torch.randn(one.shape, generator=generator) for one in (normal, lesion)))

    return noisy


def method(
    network: dict[str, Any], critic: str = "none", critic_warmup_steps: int = 0, **objective: Any
) -> DecompositionSettings:
    """Settings of a narrow network and critic, with the paper's objective, weights and rates unless given."""
    return DecompositionSettings(
        network=NetworkSettings(channels=(6, 8, 12), **network),
        critic=CriticSettings(channels=(6, 8, 12, 12), norm=critic),  # type: ignore[arg-type]
        objective=Objective(**objective),
        optimisation=Optimisation(critic_warmup_steps=critic_warmup_steps),
    )

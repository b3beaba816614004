from __future__ import annotations

import signal

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from lesionsplit.errors import DivergedError, RunError
from lesionsplit.methods.base import bare
from lesionsplit.methods.decomposition import DecompositionSettings
from lesionsplit.networks.critic import CriticSettings
from lesionsplit.networks.decomposition import NetworkSettings
from lesionsplit.networks.lesion_unet import LesionUNet, LesionUNetSettings
from lesionsplit.training.framework import running_average
from lesionsplit.training.loop import any_process, check_batch_size, refuse_broken
from lesionsplit.training.stopping import StopRequest


def test_the_average_is_exponential_and_begins_with_the_first() -> None:
    method = DecompositionSettings(
        network=NetworkSettings(channels=(2, 3)), critic=CriticSettings(channels=(2, 2, 2, 2))
    ).build()
    average = running_average(method, 0.75)
    weight = method.network.encoder.blocks[0][0].weight  # type: ignore[union-attr, index]
    expected = None
    for value in (1.0, 2.0, 4.0):
        nn.init.constant_(weight, value)
        average.update_parameters(bare(method.network))
        expected = value if expected is None else 0.75 * expected + 0.25 * value
    kept = average.module.encoder.blocks[0][0].weight
    torch.testing.assert_close(kept, torch.full_like(kept, expected))  # type: ignore[arg-type]


def test_weights_that_are_not_numbers_are_not_kept() -> None:
    state = {"network": nn.Linear(2, 2), "critic_loss": nn.Linear(2, 2)}
    refuse_broken(state, 1)
    nn.init.constant_(state["critic_loss"].bias, float("nan"))  # type: ignore[attr-defined]
    with pytest.raises(DivergedError, match="the weights 'bias' of critic_loss are not finite at step 7"):
        refuse_broken(state, 7)


def test_moments_that_are_not_numbers_are_not_kept() -> None:
    """A checkpoint with them could not be continued: what is loaded is finite."""
    network = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    network(torch.full((1, 2), 1e25)).sum().backward()
    optimizer.step()
    assert all(torch.isfinite(weight).all() for weight in network.parameters())
    with pytest.raises(DivergedError, match="the weights 'state/0/exp_avg_sq' of optimizer are not finite at step 2"):
        refuse_broken({"network": network, "optimizer": optimizer}, 2)


def test_what_is_kept_beside_the_weights_counts_too() -> None:
    network = LesionUNet(LesionUNetSettings(channels=(2, 3)))
    refuse_broken({"network": network}, 1)
    network.logit_offset.fill_(float("inf"))
    with pytest.raises(DivergedError, match="the weights 'logit_offset' of network are not finite at step 3"):
        refuse_broken({"network": network}, 3)


def test_one_process_decides_for_itself() -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    assert any_process(True, fabric)
    assert not any_process(False, fabric)


def test_a_batch_must_be_shared_out_evenly() -> None:
    check_batch_size(4, 2)
    with pytest.raises(RunError, match=r"training\.batch_size is 4; with 3 processes it must be a multiple of 3"):
        check_batch_size(4, 3)


def test_the_first_signal_asks_and_the_second_insists() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        handler = signal.getsignal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGINT) == handler
        handler(signal.SIGTERM, None)  # type: ignore[operator, misc]
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            handler(signal.SIGINT, None)  # type: ignore[operator, misc]
    assert signal.getsignal(signal.SIGTERM) == before

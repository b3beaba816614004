from __future__ import annotations

import torch
from torch import nn

from lesionsplit.networks.denoiser import Denoiser, DenoiserSettings
from lesionsplit.networks.healing import HealingDenoiser

SETTINGS = DenoiserSettings(channels=(8, 12), embedding=8)


def pair() -> tuple[Denoiser, HealingDenoiser]:
    """A denoiser, and one with a branch whose other weights are the same; neither output is constant."""
    torch.manual_seed(0)
    plain, healing = Denoiser(SETTINGS, outputs=2), HealingDenoiser(SETTINGS, outputs=2)
    nn.init.normal_(plain.head.weight, std=0.1)
    nn.init.normal_(healing.branch_head.weight, std=0.1)
    healing.load_state_dict(plain.state_dict(), strict=False)
    return plain, healing


def inputs() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    lungs = torch.zeros(2, 1, 16, 24)
    lungs[..., 4:20] = 1
    return torch.randn(2, 1, 16, 24, generator=generator), lungs, torch.zeros(2), torch.ones(2, dtype=torch.int64)


def test_the_branch_is_one_more_image_and_changes_no_other() -> None:
    plain, healing = pair()
    output = healing(*inputs())
    assert output.shape == (2, 3, 16, 24)
    assert torch.equal(output[:, :2], plain(*inputs()))
    assert output[:, 2].std() > 0


def test_no_gradient_of_the_branch_reaches_the_rest() -> None:
    _, healing = pair()
    healing(*inputs())[:, 2].square().sum().backward()  # type: ignore[no-untyped-call]
    moved = {name for name, weight in healing.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert moved == {name for name, _ in healing.named_parameters() if name.startswith("branch")}
    assert {id(one) for one in healing.branch_parameters()} == {
        id(weight) for name, weight in healing.named_parameters() if name.startswith("branch")
    }


def test_untrained_the_branch_takes_nothing_off() -> None:
    output = HealingDenoiser(SETTINGS, outputs=2)(*inputs())
    assert not output[:, 2].any()

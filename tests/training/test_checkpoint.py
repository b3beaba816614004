from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lesionsplit.errors import RunError
from lesionsplit.training.checkpoint import load_checkpoint, save_checkpoint


def trained(seed: int) -> dict[str, object]:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1, betas=(0.5, 0.9))
    for _ in range(3):
        optimizer.zero_grad()
        network(torch.randn(8, 3)).square().mean().backward()
        optimizer.step()
    return {"network": network, "optimizer": optimizer}


def same(one: object, two: object) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)  # type: ignore[arg-type]
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)  # type: ignore[attr-defined,index]
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))  # type: ignore[arg-type]
    return one == two


def test_everything_comes_back_to_the_bit(tmp_path: Path) -> None:
    before, after = trained(0), trained(1)
    save_checkpoint(tmp_path / "c.safetensors", before, step=3, seconds=1.5)
    assert load_checkpoint(tmp_path / "c.safetensors", after) == {"step": 3, "seconds": 1.5}
    for name in before:
        assert same(before[name].state_dict(), after[name].state_dict())  # type: ignore[attr-defined]


def test_what_cannot_be_continued_from_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(b"half a checkpoint")
    with pytest.raises(RunError, match=r"c\.safetensors: cannot be continued from"):
        load_checkpoint(path, trained(0))
    save_checkpoint(path, {"network": nn.Linear(2, 2)}, step=1)
    with pytest.raises(RunError, match="cannot be continued from"):
        load_checkpoint(path, {"network": nn.Linear(3, 3)})
    with pytest.raises(RunError, match="cannot be continued from"):
        load_checkpoint(path, {"critic": nn.Linear(2, 2)})


def test_an_optimiser_goes_on_the_same_whatever_the_layout_of_its_parameters(tmp_path: Path) -> None:
    """A file holds numbers in the order of their indices; a fused step takes them in the order of memory."""

    def made() -> tuple[nn.Conv2d, torch.optim.Optimizer]:
        torch.manual_seed(0)
        network = nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)
        return network, torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)

    def step(network: nn.Conv2d, optimizer: torch.optim.Optimizer, seed: int) -> None:
        torch.manual_seed(seed)
        optimizer.zero_grad()
        network(torch.randn(2, 4, 6, 6)).square().mean().backward()
        optimizer.step()

    through, stopped, again = made(), made(), made()
    for one in (through, stopped):
        step(*one, 1)
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, dict(zip(("network", "optimizer"), stopped, strict=True)), step=1)
    load_checkpoint(path, dict(zip(("network", "optimizer"), again, strict=True)))
    for one in (through, again):
        step(*one, 2)
    assert through[0].weight.stride() != through[0].weight.contiguous().stride()
    assert torch.equal(through[0].weight, again[0].weight)
    assert torch.equal(through[0].bias, again[0].bias)  # type: ignore[arg-type]

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

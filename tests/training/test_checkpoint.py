from __future__ import annotations

import copy
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from lesionsplit.errors import RunError
from lesionsplit.training.checkpoint import KEY, load_checkpoint, read_progress, save_checkpoint


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
    with pytest.raises(RunError, match=r"c\.safetensors: cannot be loaded"):
        load_checkpoint(path, trained(0))
    save_checkpoint(path, {"network": nn.Linear(2, 2)}, step=1)
    with pytest.raises(RunError, match="cannot be loaded"):
        load_checkpoint(path, {"network": nn.Linear(3, 3)})
    with pytest.raises(RunError, match="cannot be loaded"):
        load_checkpoint(path, {"critic": nn.Linear(2, 2)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, trained(0), step=3, seconds=1.5)
    return path


def rewrite(path: Path, tensors: dict[str, torch.Tensor | None], text: str = '{"progress": {"step": 3}}') -> None:
    """The same file with some tensors changed, by name, or left out; without a digest, as of before 0.3.0."""
    whole = {**safetensors.torch.load_file(path), **tensors}
    kept = {name: tensor for name, tensor in whole.items() if tensor is not None}
    safetensors.torch.save_file(kept, path, metadata={KEY: text})


MOMENT = "/optimizer/state/0/exp_avg"


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        ({"/network/0.weight": None}, "/network/0.weight is missing"),
        ({"/network/0.weight": torch.zeros(3, 3)}, "/network/0.weight is F32 3 x 3; needed: F32 4 x 3"),
        ({"/network/0.weight": torch.zeros(4, 3).double()}, "/network/0.weight is F64 4 x 3; needed: F32 4 x 3"),
        ({"/network/9.weight": torch.zeros(3)}, "/network/9.weight has no place"),
        ({"/critic/0.weight": torch.zeros(3)}, "/critic/0.weight has no place"),
        ({"/network/0.bias": torch.full((4,), torch.nan)}, "a number in /network/0.bias is not finite"),
        ({MOMENT: None}, f"{MOMENT} is missing"),
        ({MOMENT: torch.zeros(3, 4)}, f"{MOMENT} is F32 3 x 4; needed: F32 4 x 3"),
        ({MOMENT: torch.full((4, 3), torch.inf)}, f"a number in {MOMENT} is not finite"),
        ({"/optimizer/state/0/step": torch.zeros(2)}, "/optimizer/state/0/step is F32 2; needed: F32 scalar"),
        ({"/optimizer/state/99/step": torch.zeros(())}, "/optimizer/state/99/step has no place"),
        ({"/optimizer/state/x/step": torch.zeros(())}, "/optimizer/state/x/step has no place"),
        ({"/optimizer/state/0/exp_avg/x": torch.zeros(())}, "/optimizer/state/0/exp_avg/x has no place"),
    ],
)
def test_what_an_optimiser_or_a_network_has_no_place_for(
    path: Path, tensors: dict[str, torch.Tensor | None], why: str
) -> None:
    rewrite(path, tensors)
    state = trained(1)
    before = copy.deepcopy({name: part.state_dict() for name, part in state.items()})  # type: ignore[attr-defined]
    with pytest.raises(RunError) as caught:
        load_checkpoint(path, state)
    assert str(caught.value) == f"{path}: cannot be loaded ({why}); remove it to begin again, or start a new run"
    assert all(same(before[name], part.state_dict()) for name, part in state.items())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"progress": 3}',
        '{"progress": {}}',
        '{"progress": {"step": "3"}}',
        '{"progress": {"step": -1}}',
        '{"progress": {"step": 2.5}}',
        '{"progress": {"step": NaN}}',
        '{"progress": {"step": 3, "seconds": NaN}}',
        '{"progress": {"step": 3, "seconds": -1}}',
        '{"progress": {"step": 3, "seconds": 1e999}}',
        '{"progress": {"step": null}}',
    ],
)
def test_progress_that_is_none(path: Path, text: str) -> None:
    rewrite(path, {}, text)
    for read in (read_progress, lambda path: load_checkpoint(path, trained(0))):
        with pytest.raises(RunError, match=r"^.*c\.safetensors: cannot be loaded \(its metadata: .*\); remove it to"):
            read(path)


def test_a_checkpoint_of_another_kind_of_file(path: Path) -> None:
    safetensors.torch.save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(RunError, match="cannot be loaded"):
        read_progress(path)


def test_a_flipped_bit_is_found(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"cannot be loaded \(the content has changed since it was written\)"):
        load_checkpoint(path, trained(0))


def test_a_checkpoint_without_a_digest_is_read(path: Path) -> None:
    rewrite(path, {})
    again = trained(1)
    assert load_checkpoint(path, again) == {"step": 3, "seconds": 0.0}
    for name, part in trained(0).items():
        assert same(part.state_dict(), again[name].state_dict())  # type: ignore[attr-defined]


def test_a_parameter_that_no_step_has_reached_has_no_moments(tmp_path: Path) -> None:
    def made() -> dict[str, object]:
        network = nn.ModuleList([nn.Linear(2, 1), nn.Linear(2, 1)])
        return {"network": network, "optimizer": torch.optim.AdamW(network.parameters(), lr=0.1)}

    before, after = made(), made()
    before["network"][1](torch.ones(1, 2)).sum().backward()  # type: ignore[index]
    before["optimizer"].step()  # type: ignore[attr-defined]
    save_checkpoint(tmp_path / "c", before, step=1)
    load_checkpoint(tmp_path / "c", after)
    assert sorted(after["optimizer"].state_dict()["state"]) == [2, 3]  # type: ignore[attr-defined]
    assert same(before["optimizer"].state_dict(), after["optimizer"].state_dict())  # type: ignore[attr-defined]


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

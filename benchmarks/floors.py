"""What the machine can do at best, and how much work a run has in it: what no code can go below.

A floor is the larger of two times: multiply-adds over the rate of a large matrix product, and the bytes that have to be
read and written once over the rate of a large copy.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from benchmarks.task import Rates, Work
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


def measure_rates(device: str = "cpu", dtype: torch.dtype = torch.float32, size: int = 2048) -> Rates:
    """The best of a few tries of each."""
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    source = torch.ones(64 << 20, device=device)
    target = torch.empty_like(source)
    product = best(lambda: left @ right, device)
    copied = best(lambda: target.copy_(source), device)
    return Rates(size**3 / product, 2 * source.nbytes / copied)


def best(run: Callable[[], object], device: str, tries: int = 7) -> float:
    """The shortest time of several, in seconds."""
    times = []
    for _ in range(tries):
        synchronise(device)
        start = time.perf_counter()
        run()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return min(times)


def synchronise(device: str) -> None:
    """Wait until a GPU has done what it was told."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


class _Counting(TorchDispatchMode):
    """`FlopCounterMode` keeps a tree of modules, which second derivatives confuse; a sum is all that is wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        counted = flop_registry.get(function._overloadpacket)
        if counted is None:
            with self:
                result = function.decompose(*args, **kwargs)
            return function(*args, **kwargs) if result is NotImplemented else result
        result = function(*args, **kwargs)
        self.operations += counted(*args, **kwargs, out_val=result)
        return result


def count(run: Callable[[], object], modules: list[nn.Module], given: int, *, trains: bool = False) -> Work:
    """What one run has to do.

    Args:
        run: does it once, in this thread.
        modules: whose weights it reads, and, if it trains, whose gradients and Adam's two moments it reads and writes.
        given: bytes that come in and go out.
        trains: then what is kept for the backward pass is written and read too.
    """
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with _Counting() as counting, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    weights = sum(weight.nbytes for module in modules for weight in module.parameters())
    return Work(counting.operations / 2, given + weights * (8 if trains else 1) + 2 * sum(kept.values()) * trains)

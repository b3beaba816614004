"""Where training stands, in one safetensors file that can be loaded without running code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.optim import Optimizer

from lesionsplit.errors import RunError
from lesionsplit.images import write_bytes

KEY = "lesionsplit-checkpoint"


def save_checkpoint(path: Path, state: Mapping[str, Any], **progress: float) -> None:
    """Write the state of modules and optimisers, whole or not at all.

    Args:
        path: replaced if it exists.
        state: objects with ``state_dict``, by name.
        progress: plain numbers to keep beside, the step among them.
    """
    tensors: dict[str, Tensor] = {}
    plain = _flatten({name: part.state_dict() for name, part in state.items()}, "", tensors)
    metadata = {KEY: json.dumps({"plain": plain, "progress": progress})}
    write_bytes(path, safetensors.torch.save(tensors, metadata=metadata))


def read_progress(path: Path) -> dict[str, float]:
    """The numbers kept beside a checkpoint, the step among them.

    Raises:
        RunError: the file is broken.
    """
    try:
        with safe_open(path, framework="pt") as file:
            progress: dict[str, float] = json.loads((file.metadata() or {})[KEY])["progress"]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise _broken(path, error) from None
    return progress


def load_checkpoint(path: Path, state: Mapping[str, Any]) -> dict[str, float]:
    """Load modules and optimisers in place; returns the numbers kept beside.

    Raises:
        RunError: the file is broken, or not of these modules.
    """
    try:
        with safe_open(path, framework="pt") as file:
            kept = json.loads((file.metadata() or {})[KEY])
        tensors = safetensors.torch.load_file(path)
        whole = _unflatten(kept["plain"], tensors)
        for name, part in state.items():
            part.load_state_dict(whole[name])
            if isinstance(part, Optimizer):
                _lay_out(part)
        progress: dict[str, float] = kept["progress"]
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise _broken(path, error) from None
    return progress


def _lay_out(optimizer: Optimizer) -> None:
    """Bring what an optimiser keeps of its parameters into their memory layout, which a file does not hold.

    Its fused step goes through both in the order of memory, whatever their strides are, and would be silently wrong.
    """
    for parameter, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                kept[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _broken(path: Path, error: Exception) -> RunError:
    return RunError(f"{path}: cannot be continued from ({str(error).splitlines()[0]}); start a new run")


def _flatten(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """Move tensors out of nested tables into ``tensors``; what is left can be written as JSON."""
    if isinstance(value, Tensor):
        tensors[place] = value.detach().cpu().contiguous().clone()  # safetensors refuses shared memory
        return {"tensor": place}
    if isinstance(value, Mapping):
        return {"table": [[key, _flatten(item, f"{place}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"list": [_flatten(item, f"{place}/{index}", tensors) for index, item in enumerate(value)]}
    return {"value": value}


def _unflatten(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "table":
        return {key: _unflatten(item, tensors) for key, item in content}
    if kind == "list":
        return [_unflatten(item, tensors) for item in content]
    return content

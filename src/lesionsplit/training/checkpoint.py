"""The state of a training in one safetensors file, which can be loaded without running code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec
import torch
from torch import Tensor
from torch.optim import Optimizer

from lesionsplit.errors import RunError
from lesionsplit.images import write_bytes
from lesionsplit.models.card import first_line
from lesionsplit.models.tensors import TensorFile, compare, save, shapes_of
from lesionsplit.settings import NonNegative, NonNegativeInt

KEY = "lesionsplit-checkpoint"

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What Adam keeps of each parameter, in its shape; besides, it counts the parameter's steps."""


class Part(Protocol):
    """A module or an optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """Its state."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> object:
        """Load a state in place."""


class _Progress(msgspec.Struct, frozen=True):
    step: NonNegativeInt
    seconds: NonNegative = 0.0


class _Facts(msgspec.Struct, frozen=True):
    """The text in the file's metadata."""

    progress: _Progress


def save_checkpoint(path: Path, state: Mapping[str, Part], *, step: int, seconds: float = 0.0) -> None:
    """Write the state of modules and optimisers to a file, completely or not at all.

    Args:
        path: replaced if it exists.
        state: modules, and optimisers of the kind of Adam, by name.
        step: steps that are done.
        seconds: that they took.

    Raises:
        DataError: the file cannot be written.
    """
    tensors = {f"/{owner}/{name}": tensor for owner, part in state.items() for name, tensor in tensors_of(part)}
    text = json.dumps({"progress": {"step": step, "seconds": seconds}})
    write_bytes(path, save(tensors, KEY, text), durable=True)


def read_progress(path: Path) -> dict[str, float]:
    """The steps in a checkpoint that are done, ``step``, and the ``seconds`` that they took.

    Raises:
        RunError: the file is broken.
    """
    try:
        return _progress(TensorFile.open(path))
    except (OSError, ValueError) as error:
        raise _broken(path, error) from None


def load_checkpoint(path: Path, state: Mapping[str, Part]) -> dict[str, float]:
    """Load modules and optimisers in place; returns what `read_progress` does.

    An optimiser keeps its own rates and options, which follow from the settings of its run.

    Raises:
        RunError: the file is broken, or belongs to other modules; none of them is changed.
    """
    try:
        file = TensorFile.open(path)
        progress = _progress(file)
        wanted: dict[str, Tensor] = {}
        for owner, part in state.items():
            held = _moments(part, owner, file) if isinstance(part, Optimizer) else part.state_dict()
            wanted |= {f"/{owner}/{name}": tensor for name, tensor in held.items()}
        compare(file.shapes, shapes_of(wanted))
        tensors = file.load(KEY)
    except (OSError, ValueError) as error:
        raise _broken(path, error) from None
    for owner, part in state.items():
        own = {name.removeprefix(f"/{owner}/"): one for name, one in tensors.items() if name.startswith(f"/{owner}/")}
        if not isinstance(part, Optimizer):
            part.load_state_dict(own)
            continue
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in own.items():
            _, index, key = name.split("/")
            moments.setdefault(int(index), {})[key] = tensor
        part.load_state_dict({**part.state_dict(), "state": moments})
        _match_layout(part)
    return progress


def tensors_of(part: Part) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a module, and those of an optimiser as ``state/0/exp_avg``, by name."""
    state = part.state_dict()
    if not isinstance(part, Optimizer):
        yield from state.items()
        return
    for index, moments in state["state"].items():
        for name, tensor in moments.items():
            yield f"state/{index}/{name}", tensor


def _moments(optimizer: Optimizer, owner: str, file: TensorFile) -> dict[str, Tensor]:
    """What a file must hold of an optimiser: all or nothing of each parameter, in the parameter's shape.

    A parameter that no step has reached has nothing.
    """
    found: dict[str, Tensor] = {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, parameter in enumerate(parameters):
        place = f"state/{index}"
        if any(name.startswith(f"/{owner}/{place}/") for name in file.shapes):
            found[f"{place}/step"] = torch.zeros((), device="meta")
            found |= {f"{place}/{name}": parameter for name in MOMENTS}
    return found


def _progress(file: TensorFile) -> dict[str, float]:
    try:
        facts = msgspec.json.decode(file.metadata.get(KEY, ""), type=_Facts)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"its metadata: {error}") from None
    return msgspec.structs.asdict(facts.progress)


def _match_layout(optimizer: Optimizer) -> None:
    """Give the tensors of an optimiser the memory layout of its parameters, which a file does not store.

    The fused step reads both in the order of memory, whatever their strides are; with other layouts it would be
    silently wrong.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _broken(path: Path, error: Exception) -> RunError:
    return RunError(f"{path}: cannot be loaded ({first_line(error)}); remove it to begin again, or start a new run")

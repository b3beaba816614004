"""What `Model.read` does, as a graph that other engines can run."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export
from torch.overrides import TorchFunctionMode

from lesionsplit.engines.base import OUTPUTS
from lesionsplit.errors import WeightsError
from lesionsplit.model import Model


def trace(model: Model) -> ExportedProgram:
    """Trace what a model reads off canvases, (B, 1, H, W) in network grey, for any B.

    Raises:
        WeightsError: its method does something on the way that has no place in a graph.
    """
    sample = torch.zeros(2, 1, *model.card.placement.canvas)  # two: one would be taken for a constant
    reading, batch = _Reading(model).eval(), ({0: Dim.DYNAMIC},)
    with quiet():
        try:
            try:
                return export(reading, (sample,), dynamic_shapes=batch, strict=False)
            except RuntimeError:  # `len(images)` makes a constant of B; reading the code itself is slower and sees it
                return export(reading, (sample,), dynamic_shapes=batch, strict=True)
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            raise not_exportable(model, error) from None


def outputs(program: ExportedProgram) -> tuple[str, ...]:
    """The names of what a traced model gives."""
    return OUTPUTS[: len(program.graph_signature.user_outputs)]


def not_exportable(model: Model, error: Exception) -> WeightsError:
    """Says so in one line."""
    name = model.card.method.__struct_config__.tag
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return WeightsError(f"method {name!r} cannot be exported ({reason[:160]}); predict with --engine torch")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep from users what exporters have to say to those who write them, whole graphs among it."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class _Reading(nn.Module):
    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network = model.network
        self.method = model.card.method

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        with _InPlainWords():
            reading = self.method.read(self.network, images)
        return tuple(part for part in reading if part is not None)


class _InPlainWords(TorchFunctionMode):
    """Says in simpler functions what neither ONNX nor OpenVINO has a word for."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return PLAIN.get(func, func)(*args, **(kwargs or {}))


def _fmin(one: Tensor, other: Tensor) -> Tensor:
    lower = torch.minimum(one, other)
    return torch.where(one.isnan(), other, torch.where(other.isnan(), one, lower))


def _nanquantile(values: Tensor, at: Tensor, dim: int) -> Tensor:
    """Several quantiles along ``dim`` of all that is a number; NaN where nothing is."""
    counted = ~values.isnan()
    count = counted.sum(dim, keepdim=True).to(values.dtype)
    ordered = torch.where(counted, values, torch.inf).sort(dim).values
    found = []
    for share in at.unbind():
        rank = (share * (count - 1)).clip(min=0)
        below, above = (ordered.gather(dim, place.long()) for place in (rank.floor(), rank.ceil()))
        between = below + (rank - rank.floor()) * (above - below)
        found.append(torch.where(count > 0, between, torch.nan).squeeze(dim))
    return torch.stack(found)


PLAIN: dict[Callable[..., Any], Callable[..., Any]] = {torch.fmin: _fmin, torch.nanquantile: _nanquantile}

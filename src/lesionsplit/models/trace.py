"""The computation of `Model.infer` as a graph, which another engine can run."""

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

from lesionsplit.domains.table import domain_of
from lesionsplit.errors import WeightsError
from lesionsplit.models.model import Model

OUTPUTS = ("score", "healthy", "presence")
"""Names of the graph's outputs, in the order of `methods.base.MethodOutput`; some methods have no presence."""


def trace(model: Model) -> ExportedProgram:
    """Trace what a model computes for canvases, (B, C, H, W) in network grey, for any B.

    Raises:
        WeightsError: its method has a step that a graph cannot express.
    """
    sample = torch.zeros(
        2, model.card.channels, *model.card.placement.canvas
    )  # two: a batch of one would be taken for a constant
    module, batch = _InferModule(model).eval(), ({0: Dim.DYNAMIC},)
    with quiet():
        try:
            try:
                return export(module, (sample,), dynamic_shapes=batch, strict=False)
            except RuntimeError:  # `len(images)` makes B a constant; strict tracing is slower and does not
                return export(module, (sample,), dynamic_shapes=batch, strict=True)
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            raise not_exportable(model, error) from None


def not_exportable(model: Model, error: Exception) -> WeightsError:
    """The one-line error for a model that cannot be exported."""
    name = model.card.method.__struct_config__.tag
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return WeightsError(f"method {name!r} cannot be exported ({reason[:160]}); predict with --engine torch")


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the messages of exporters, which are for their developers and contain whole graphs."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class _InferModule(nn.Module):
    """`Model.infer` as a module, without the outputs that the method does not have."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network = model.network
        self.method = model.card.method
        self.domain = domain_of(model.card.kind)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        with _Replacements():
            output = self.method.infer(self.network, images, self.domain)
        return tuple(part for part in output if part is not None)


class _Replacements(TorchFunctionMode):
    """Replaces functions that ONNX does not have by simpler ones that compute the same."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return REPLACEMENTS.get(func, func)(*args, **(kwargs or {}))


def _fmin(one: Tensor, other: Tensor) -> Tensor:
    lower = torch.minimum(one, other)
    return torch.where(one.isnan(), other, torch.where(other.isnan(), one, lower))


def _nanquantile(values: Tensor, quantiles: Tensor, dim: int) -> Tensor:
    """Several quantiles along ``dim`` of the values that are not NaN; NaN where all are."""
    valid = ~values.isnan()
    count = valid.sum(dim, keepdim=True).to(values.dtype)
    ordered = torch.where(valid, values, torch.inf).sort(dim).values
    found = []
    for quantile in quantiles.unbind():
        rank = (quantile * (count - 1)).clip(min=0)
        below, above = (ordered.gather(dim, index.long()) for index in (rank.floor(), rank.ceil()))
        interpolated = below + (rank - rank.floor()) * (above - below)
        found.append(torch.where(count > 0, interpolated, torch.nan).squeeze(dim))
    return torch.stack(found)


REPLACEMENTS: dict[Callable[..., Any], Callable[..., Any]] = {torch.fmin: _fmin, torch.nanquantile: _nanquantile}

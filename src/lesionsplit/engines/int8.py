"""Post-training quantisation by NNCF: convolutions in 8-bit integers, what is read off them as it was."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lesionsplit.engines import openvino
from lesionsplit.engines.base import INPUT, KEY, Format, Stamp, first_line, package
from lesionsplit.engines.graph import quiet
from lesionsplit.engines.onnx import failures
from lesionsplit.errors import WeightsError
from lesionsplit.images import Float

EXACT = (
    *("Add", "Divide", "Maximum", "MaxPool", "Minimum", "Multiply", "Power", "ReduceMax", "ReduceMin", "ReduceSum"),
    *("Select", "Sigmoid", "Subtract", "TopK"),
    *("Div", "Max", "Min", "Mul", "Pow", "Sub", "Where"),  # as ONNX calls them
)
"""Kinds of operation that stay in floats: a score is computed with them from what the convolutions say, and in integers
that loses ten times what the convolutions lose."""


def quantise(path: Path, small: Path, kind: Format, canvases: Float, stamp: Stamp) -> None:
    """Write an exported file anew, in 8-bit integers.

    Args:
        path: the exported file.
        small: the file to write.
        kind: of both.
        canvases: (N, 1, H, W), network grey: how large what the network computes gets is seen on them.
        stamp: of the file to write.

    Raises:
        SettingsError: a package is not installed.
        WeightsError: NNCF cannot do it.
    """
    nncf = package("nncf", "int8")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    ranges = package("nncf.quantization.range_estimator", "int8").RangeEstimatorParametersSet
    more = package("nncf.quantization.advanced_parameters", "int8").AdvancedQuantizationParameters(
        activations_range_estimator_params=ranges.MINMAX  # the widest seen: normal slices lack what lesions are like
    )
    onnx = package("onnx", "onnx") if kind == "onnx" else None
    whole: Any = openvino.read_file(path)[0] if onnx is None else onnx.load(path)
    samples = nncf.Dataset([{INPUT: canvas[None]} for canvas in canvases])
    caught: tuple[type[Exception], ...] = (RuntimeError, ValueError, TypeError)
    if kind == "onnx":
        caught += failures()
    with quiet():
        try:
            result = nncf.quantize(
                whole,
                samples,
                subset_size=len(canvases),
                preset=nncf.QuantizationPreset.MIXED,
                fast_bias_correction=False,
                advanced_parameters=more,
                ignored_scope=nncf.IgnoredScope(names=_last(whole, kind), types=list(EXACT), validate=False),
            )
        except caught as error:
            raise WeightsError(
                f"NNCF cannot bring it to integers as {kind} ({first_line(error)}); export it without --int8"
            ) from None
    if onnx is None:
        openvino.write(result, stamp, small)
    else:
        for entry in result.metadata_props:
            if entry.key == KEY:
                entry.value = stamp.to_json()
        onnx.save(result, small)


def _last(whole: Any, kind: Format) -> list[str]:
    """Convolutions that stay in floats too: those that smooth, and the last ones, which make few channels of many."""
    if kind == "openvino":
        shapes = {
            operation.get_friendly_name(): list(operation.input(1).get_source_output().get_partial_shape().to_shape())
            for operation in whole.get_ops()
            if operation.get_type_name() == "Convolution"
        }
    else:
        numbers = {entry.name: list(entry.dims) for entry in whole.graph.initializer}
        shapes = {
            node.name: numbers.get(node.input[1], [1, 1])  # what is not stored is computed, and so not learnt
            for node in whole.graph.node
            if node.op_type == "Conv"
        }
    return [name for name, (made, given, *_) in shapes.items() if made == 1 or 3 * made <= given]

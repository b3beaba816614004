"""Split chest CT into a healthy version and the lesion on top, learnt from image labels alone.

>>> import lesionsplit
>>> result = lesionsplit.predict("scan.nii.gz")
>>> result.save("found/")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lesionsplit.errors import (
        DataError,
        DivergedError,
        LesionsplitError,
        NoLungError,
        RunError,
        SettingsError,
        WeightsError,
    )
    from lesionsplit.models.model import load_model
    from lesionsplit.pipeline.calls import predict, read_volume
    from lesionsplit.pipeline.compare import compare
    from lesionsplit.pipeline.evaluate import evaluate
    from lesionsplit.pipeline.predictor import Predictor
    from lesionsplit.pipeline.result import Result
    from lesionsplit.runtime import Runtime
    from lesionsplit.training.train import train

_HOME = {
    "DataError": "errors",
    "DivergedError": "errors",
    "LesionsplitError": "errors",
    "NoLungError": "errors",
    "Predictor": "pipeline.predictor",
    "Result": "pipeline.result",
    "RunError": "errors",
    "Runtime": "runtime",
    "SettingsError": "errors",
    "WeightsError": "errors",
    "compare": "pipeline.compare",
    "evaluate": "pipeline.evaluate",
    "load_model": "models.model",
    "predict": "pipeline.calls",
    "read_volume": "pipeline.calls",
    "train": "training.train",
}
"""Where each public name is defined."""

__all__ = [
    "DataError",
    "DivergedError",
    "LesionsplitError",
    "NoLungError",
    "Predictor",
    "Result",
    "RunError",
    "Runtime",
    "SettingsError",
    "WeightsError",
    "compare",
    "evaluate",
    "load_model",
    "predict",
    "read_volume",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import public names when they are first used: importing the package imports no torch."""
    if name == "__version__":
        from importlib.metadata import version  # reads mail headers, the slowest import of --help

        return version("lesionsplit")
    if name not in _HOME:
        raise AttributeError(f"module 'lesionsplit' has no attribute {name!r}")
    from lesionsplit.errors import needs_training_packages

    with needs_training_packages():
        return getattr(import_module(f"lesionsplit.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """All public names."""
    return sorted([*globals(), *__all__, "__version__"])

"""Take chest CT slices apart into healthy lung and lesion, having learnt from image labels alone.

>>> from lesionsplit import Predictor
>>> predictor = Predictor.load()
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lesionsplit.errors import LesionsplitError
    from lesionsplit.images import read_grey
    from lesionsplit.predictor import Prediction, Predictor

__all__ = ["LesionsplitError", "Prediction", "Predictor", "read_grey"]

_HOME = {
    "LesionsplitError": "lesionsplit.errors",
    "Prediction": "lesionsplit.predictor",
    "Predictor": "lesionsplit.predictor",
    "read_grey": "lesionsplit.images",
}


def __getattr__(name: str) -> Any:
    """Import public names when they are first used: importing the package imports no torch."""
    if name == "__version__":
        return version("lesionsplit")
    if name not in _HOME:
        raise AttributeError(f"module 'lesionsplit' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)

"""The weights of a run for ONNX Runtime."""

from __future__ import annotations

from lesionsplit.errors import SettingsError, WeightsError
from lesionsplit.models.card import digest
from lesionsplit.models.export import export
from lesionsplit.models.model import Model
from lesionsplit.models.onnx_file import SUFFIX
from lesionsplit.runtime import Runtime
from lesionsplit.training.run import Run


def export_run(run: Run, runtime: Runtime = Runtime()) -> None:
    """Write a run's weights for ONNX Runtime, too, so that they predict faster, and where PyTorch is not installed.

    Raises:
        DataError: the file cannot be written.
    """
    path = run.weights.with_suffix(SUFFIX)
    runtime.say(f"writing {path} for ONNX Runtime")
    try:
        export(Model.load(run.weights), digest(run.weights), path)
    except (SettingsError, WeightsError) as error:
        runtime.say(f"not written: {error}")

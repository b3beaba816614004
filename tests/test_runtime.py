from __future__ import annotations

from pathlib import Path

import pytest

from lesionsplit.errors import SettingsError
from lesionsplit.runtime import Runtime


def test_an_exported_file_is_not_run_by_torch() -> None:
    with pytest.raises(SettingsError, match=r"w\.onnx: is a file for ONNX Runtime, and the engine is torch"):
        Runtime(engine="torch").engine_for(Path("w.onnx"))
    assert Runtime().engine_for(Path("w.onnx")) == "torch"  # SlicePredictor runs it with ONNX Runtime
    assert Runtime(engine="onnx").engine_for(None) == "onnx"

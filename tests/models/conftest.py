"""What tests of exported files share."""

from __future__ import annotations

from pathlib import Path

import pytest

from lesionsplit.data.lung_slice import LungSlice, read_slice
from lesionsplit.data.table import Table
from lesionsplit.models.card import digest
from lesionsplit.models.export import export
from lesionsplit.models.model import Model


@pytest.fixture(scope="session")
def exported(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny weights as an ONNX file."""
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    assert 0 <= export(Model.load(weights), digest(weights), path) < 1e-4
    assert list(path.parent.iterdir()) == [path]  # the temporary folder is gone
    return path


@pytest.fixture
def slices(phantom: Table) -> list[LungSlice]:
    return [read_slice(row) for row in (*phantom.slices[:5], *phantom.slices[-5:])]

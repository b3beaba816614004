from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
import torch

from lesionsplit.models import open_engine
from lesionsplit.models.card import digest
from lesionsplit.models.model import Model
from lesionsplit.models.onnx_engine import OnnxEngine

Call = Callable[..., tuple[int, str]]
TORCH = f"torch {torch.__version__} on cpu"


@pytest.fixture
def exported(call: Call, weights: Path, tmp_path: Path) -> Path:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    out = tmp_path / "made" / "tiny.onnx"
    code, said = call("export", weights, "-o", out, "--threads", 1)
    assert code == 0, said
    assert said.startswith(f"written to {out}; differs from PyTorch by at most ")
    assert list(out.parent.iterdir()) == [out]
    return out


def test_the_file_is_of_the_weights(exported: Path, weights: Path) -> None:
    card = OnnxEngine(exported).export_card
    assert (card.card, card.weights) == (Model.load(weights).card.for_prediction(), digest(weights))


def test_default_is_the_weights_in_the_package(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[str, str, Path, bool]] = []

    def write(model: Model, sha: str, path: Path, *, mirror: bool) -> float:
        found.append((model.card.threshold_from, sha, path, mirror))
        return 0.0

    monkeypatch.setattr("lesionsplit.models.export.export", write)
    assert call("export", "default", "-o", tmp_path / "a.onnx")[0] == 0
    assert call("export", "default", "-o", tmp_path / "b.onnx", "--no-mirror")[0] == 0
    known = (Model.load().card.threshold_from, digest())
    assert found == [(*known, tmp_path / "a.onnx", True), (*known, tmp_path / "b.onnx", False)]


@pytest.mark.parametrize(
    ("given", "says"), [("lungs", "has no mirror average; leave it out"), ("tiny", "already; leave --no-mirror out")]
)
def test_no_mirror_where_there_is_none_is_one_line(
    call: Call, weights: Path, tmp_path: Path, given: str, says: str
) -> None:
    code, said = call("export", weights if given == "tiny" else given, "-o", tmp_path / "a.onnx", "--no-mirror")
    assert (code, said.count("\n")) == (2, 1)
    assert says in said
    assert not list(tmp_path.iterdir())


def test_a_wrong_name_is_one_line(call: Call, weights: Path, tmp_path: Path) -> None:
    code, said = call("export", weights, "-o", tmp_path / "a.xml")
    assert (code, said) == (2, f"lesionsplit: {tmp_path / 'a.xml'}: an exported file must be called NAME.onnx\n")
    assert not list(tmp_path.iterdir())


def test_what_runs_the_network_is_in_the_manifest(
    call: Call, exported: Path, weights: Path, tmp_path: Path, make: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --engine onnx, and with an exported file, ONNX Runtime runs the network."""
    monkeypatch.setattr(open_engine, "user_cache_path", lambda *_, **__: tmp_path / "cache")
    make.make_nifti(tmp_path / "ct.nii.gz", make.chest((48, 40, 6)).hu, affine=make.affine_of((8, 8, 20)))
    onnx = f"onnxruntime {version('onnxruntime')} on cpu"
    for name, given, engine in (
        ("a", ("--weights", weights), TORCH),
        ("b", ("--weights", weights, "--engine", "torch"), TORCH),
        ("c", ("--weights", weights, "--engine", "onnx"), onnx),
        ("d", ("--weights", exported), onnx),
    ):
        arguments = ("--write", "numbers", "--lung-method", "thresholds", "--device", "cpu", "--threads", 1)
        code, said = call("predict", tmp_path / "ct.nii.gz", "-o", tmp_path / name, *given, *arguments)
        assert code == 0, said
        assert json.loads((tmp_path / name / "ct" / "manifest.json").read_text())["engine"] == engine
        assert (tmp_path / "cache").exists() == (name in "cd")
    assert len(list((tmp_path / "cache/engines").glob("*.onnx"))) == 1


def test_slices_too_are_predicted_by_the_engine_asked_for(
    call: Call, weights: Path, phantom_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    found: list[str] = []
    infer = OnnxEngine.infer
    monkeypatch.setattr(OnnxEngine, "infer", lambda self, images: found.append(self.name) or infer(self, images))
    monkeypatch.setattr(open_engine, "user_cache_path", lambda *_, **__: tmp_path / "cache")
    image = min(phantom_folder.rglob("*.png"))
    for engine, batches in (("torch", 0), ("onnx", 2)):  # two: the comparison with PyTorch, and the prediction
        code, said = call("predict", image, "--weights", weights, "--engine", engine, "-o", tmp_path / engine)
        assert code == 0, said
        assert len(found) == batches

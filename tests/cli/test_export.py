from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lesionsplit.engines import export as exporting
from lesionsplit.engines.base import Format, Stamp
from lesionsplit.engines.export import run_file
from lesionsplit.images import Float
from lesionsplit.model import Model, digest

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def openvino() -> None:
    import sys

    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as `engines.base.package` has it
    pytest.importorskip("openvino")


def test_a_file_is_written(call: Call, weights: Path, tmp_path: Path, openvino: None) -> None:
    out = tmp_path / "made" / "tiny.xml"
    code, said = call("export", weights, "--format", "openvino", "-o", out, "--threads", 1)
    assert code == 0
    assert f"written to {out}; differs from torch by at most" in said
    assert {one.name for one in out.parent.iterdir()} == {"tiny.xml", "tiny.bin"}
    stamp = run_file(out).stamp
    assert (stamp.card, stamp.weights, stamp.precision) == (Model.load(weights).card, digest(weights), "fp32")


@pytest.fixture
def broken(card: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quantiser after which a network sees nothing anywhere: its scores are 0."""

    def quantise(path: Path, small: Path, kind: Format, canvases: Float, stamp: Stamp) -> None:
        model = Model(stamp.card, stamp.card.method.build_network())  # untrained: changes nothing
        exporting.openvino.save(exporting.trace(model), stamp, small)
        assert canvases.shape[1:] == (1, *stamp.card.placement.canvas)

    monkeypatch.setattr(exporting.int8, "quantise", quantise)


def test_integers_that_lose_too_much_are_refused(
    call: Call, weights: Path, tmp_path: Path, phantom_folder: Path, openvino: None, broken: None
) -> None:
    out = tmp_path / "tiny.xml"
    given = ("export", weights, "--format", "openvino", "-o", out, "--int8", "--data", phantom_folder, "--threads", 1)
    code, said = call(*given)
    assert code == 2
    last = said.splitlines()[-1]
    assert "falls by" in last
    assert "where 0.005 is allowed; nothing is written" in last
    assert not list(tmp_path.iterdir())
    code, said = call(*given, "--allow-loss")
    assert code == 0
    assert "average precision on val against" in said
    assert run_file(out).stamp.precision == "int8"


def test_integers_need_normal_slices(call: Call, weights: Path, tmp_path: Path) -> None:
    code, said = call("export", weights, "--format", "onnx", "-o", tmp_path / "a.onnx", "--int8")
    assert (code, len(said.splitlines())) == (2, 1)
    assert "--int8 needs --data" in said
    assert not list(tmp_path.iterdir())


def test_a_wrong_name_is_one_line(call: Call, weights: Path, tmp_path: Path) -> None:
    code, said = call("export", weights, "--format", "onnx", "-o", tmp_path / "a.xml")
    assert (code, len(said.splitlines())) == (2, 1)
    assert "must be called NAME.onnx" in said


def test_real_integers(weights: Path, tmp_path: Path, phantom_folder: Path, call: Call, openvino: None) -> None:
    pytest.importorskip("nncf", reason="int8 comes with lesionsplit[int8]")
    out = tmp_path / "tiny.xml"
    given = ("--int8", "--data", phantom_folder, "--allow-loss", "--threads", 1)
    code, said = call("export", weights, "--format", "openvino", "-o", out, *given)
    assert code == 0, said
    assert run_file(out).stamp.precision == "int8"
    assert b'element_type="i8"' in out.read_bytes()

from __future__ import annotations

import json
import logging
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from lesionsplit.data.lungs import LungSlice, read_slice
from lesionsplit.data.table import Table
from lesionsplit.engines import choose
from lesionsplit.engines import export as exporting
from lesionsplit.engines.base import KEY, SUFFIXES, Format, Stamp
from lesionsplit.engines.choose import open_engine
from lesionsplit.engines.export import canvases, drawn, export, run_file
from lesionsplit.engines.torch import TorchEngine
from lesionsplit.errors import DataError, SettingsError, WeightsError
from lesionsplit.images import Float
from lesionsplit.methods.diffusion import DiffusionSettings
from lesionsplit.methods.distilled import DistilledSettings
from lesionsplit.methods.synthesis import SynthesisSettings
from lesionsplit.model import Model, ModelCard, digest
from lesionsplit.networks.additive import AdditiveSettings
from lesionsplit.networks.denoiser import DenoiserSettings
from lesionsplit.predictor import Predictor
from lesionsplit.settings import to_table

CPU = torch.device("cpu")
NEEDED: dict[Format, tuple[str, ...]] = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}
SUFFIX = {kind: suffix for suffix, kind in SUFFIXES.items()}


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def kind(request: pytest.FixtureRequest) -> Format:
    """Every format whose packages are installed."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as `base.package` has it
    for package in NEEDED[request.param]:
        pytest.importorskip(package)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def exported(kind: Format, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(kind) / f"tiny{SUFFIX[kind]}"
    difference = export(Model.load(weights), digest(weights), path, kind)
    assert 0 <= difference < 1e-4
    names = {path.name, "tiny.bin"} if kind == "openvino" else {path.name}
    assert {one.name for one in path.parent.iterdir()} == names  # what was written beside is gone
    return path


@pytest.fixture
def slices(phantom: Table) -> list[LungSlice]:
    return [read_slice(row) for row in (*phantom.slices[:5], *phantom.slices[-5:])]


def seen(slices: list[LungSlice], card: ModelCard) -> Float:
    return canvases(iter(slices), card)


def test_it_says_what_torch_says(exported: Path, weights: Path, slices: list[LungSlice]) -> None:
    model, engine = Model.load(weights), run_file(exported)
    images = seen(slices, model.card)
    with torch.inference_mode():
        expected = model.read(torch.from_numpy(images))
    assert expected.score.std() > 0.005, "a test of nothing"
    for count in (1, 3, len(images)):  # any number at a time
        found = engine.read(images[:count])
        assert found.score.dtype == found.healthy.dtype == np.float32
        assert found.presence is None
        np.testing.assert_allclose(found.score, expected.score[:count, 0], atol=1e-4, rtol=0)
        np.testing.assert_allclose(found.healthy, expected.healthy[:count, 0], atol=1e-4, rtol=0)


def test_the_file_says_what_it_is(exported: Path, kind: Format, weights: Path) -> None:
    if kind == "onnx":
        import onnx

        whole = onnx.load(exported)
        onnx.checker.check_model(whole, full_check=True)
        text = {entry.key: entry.value for entry in whole.metadata_props}[KEY]
        assert [entry.name for entry in whole.graph.output] == ["score", "healthy"]
    else:
        import openvino

        text = openvino.Core().read_model(exported).get_rt_info([KEY]).astype(str)
    stamp = json.loads(text)
    assert stamp["card"] == json.loads(json.dumps(to_table(Model.load(weights).card)))  # tuples are lists there
    assert stamp["weights"] == digest(weights)
    assert stamp["precision"] == "fp32"
    assert stamp["made_with"]["torch"] == torch.__version__
    engine = run_file(exported)
    assert engine.card == Model.load(weights).card
    assert (
        engine.name
        == {
            "onnx": f"onnxruntime {version('onnxruntime')}, fp32",
            "openvino": f"openvino {version('openvino')}, fp32",
        }[kind]
    )


def test_predictions_are_the_same(exported: Path, weights: Path, kind: Format, slices: list[LungSlice]) -> None:
    plain, other = Predictor.load(weights, device="cpu"), Predictor.load(exported, device="cpu")
    assert other.threshold == plain.threshold
    for one, same in zip(plain.predict_stream(slices), other.predict_stream(slices), strict=True):
        np.testing.assert_allclose(same.score, one.score, atol=1e-4, rtol=0)
        doubtful = np.abs(one.score - plain.threshold) < 1e-4
        assert np.array_equal(same.mask[~doubtful], one.mask[~doubtful])
        assert np.abs(same.healthy.astype(int) - one.healthy).max() <= 1


METHODS = {
    "synthesis": SynthesisSettings(network=AdditiveSettings(channels=(4, 6), openings=(3,))),
    "distilled": DistilledSettings(network=DenoiserSettings(channels=(4, 6), embedding=8)),
}


def of_method(card: ModelCard, name: str) -> Model:
    torch.manual_seed(3)
    network = METHODS[name].build_network()
    for weight in network.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    return Model(msgspec.structs.replace(card, method=METHODS[name]), network)


@pytest.mark.parametrize("name", METHODS)
def test_our_own_methods(name: str, card: ModelCard, tmp_path: Path, slices: list[LungSlice]) -> None:
    pytest.importorskip("openvino")
    model = of_method(card, name)
    path = tmp_path / "own.xml"
    export(model, "0" * 64, path, "openvino")
    images = seen(slices, card)[:3]
    found, expected = run_file(path).read(images), TorchEngine(model, CPU).read(images)
    assert expected.score.max() > 0.01, "a test of nothing"
    np.testing.assert_allclose(found.score, expected.score, atol=1e-4, rtol=0)
    np.testing.assert_allclose(found.healthy, expected.healthy, atol=1e-4, rtol=0)


def test_weights_are_converted_once(
    kind: Format, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slices: list[LungSlice]
) -> None:
    first = open_engine(weights, kind, CPU, cache=tmp_path)
    monkeypatch.setattr(choose, "export", None)  # would be a TypeError
    again = open_engine(weights, kind, CPU, cache=tmp_path)
    images = seen(slices, first.card)
    np.testing.assert_array_equal(first.read(images).score, again.read(images).score)
    assert type(again) is type(run_file(next(tmp_path.rglob(f"*{SUFFIX[kind]}"))))


def test_auto_is_torch_where_nothing_else_is_installed(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "find_spec", lambda _: None)
    assert isinstance(open_engine(weights, "auto", CPU), TorchEngine)


def test_auto_is_torch_on_a_gpu(weights: Path) -> None:
    assert isinstance(open_engine(weights, "auto", torch.device("meta")), TorchEngine)


@pytest.mark.parametrize(
    ("engine", "device", "line"),
    [
        ("tensorrt", "cpu", r"engine 'tensorrt' is not known; allowed: auto, torch, onnx, openvino"),
        ("onnx", "meta", r"engine onnx runs on the CPU, not on meta; leave --device out, or give cpu"),
    ],
)
def test_engines_that_cannot_be_had(engine: str, device: str, line: str, weights: Path) -> None:
    with pytest.raises(SettingsError, match=line):
        open_engine(weights, engine, torch.device(device), wanted=device)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "missing", "extra"), [("a.onnx", "onnxruntime", "onnx"), ("a.xml", "openvino", "openvino")]
)
def test_a_missing_package_is_named(name: str, missing: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SettingsError, match=rf"{missing} is not installed; .* pip install 'lesionsplit\[{extra}\]'"):
        run_file(Path(name))


def test_files_that_cannot_be_read(exported: Path, kind: Format, tmp_path: Path) -> None:
    path = tmp_path / exported.name
    with pytest.raises(WeightsError, match="no such file"):
        run_file(path)
    path.write_bytes(b"no graph")
    path.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"is not a whole (ONNX|OpenVINO) file") as caught:
        run_file(path)
    assert len(str(caught.value).splitlines()) == 1
    other = "openvino" if kind == "onnx" else "onnx"
    with pytest.raises(SettingsError, match=rf"is a file for {kind}, not for {other}"):
        open_engine(exported, other, CPU)  # type: ignore[arg-type]


def test_a_stamp_is_checked() -> None:
    with pytest.raises(WeightsError, match=r"a\.onnx: has no card of lesionsplit; give a file that"):
        Stamp.from_json(None, Path("a.onnx"))
    for text in ("{", "{}", '{"card": {}}'):
        with pytest.raises(WeightsError, match="another version"):
            Stamp.from_json(text, Path("a.onnx"))


def test_numbers_of_another_file_are_refused(exported: Path, kind: Format, tmp_path: Path) -> None:
    if kind != "openvino":
        pytest.skip("an ONNX file holds its own numbers")
    (tmp_path / "a.xml").write_bytes(exported.read_bytes())
    content = bytearray(exported.with_suffix(".bin").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(WeightsError, match=r"a\.bin: is not the file that was written with a\.xml"):
        run_file(tmp_path / "a.xml")


def test_the_name_must_fit(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"a\.xml: a file for onnx must be called NAME\.onnx"):
        export(Model.load(weights), "", tmp_path / "a.xml", "onnx")


def test_what_differs_from_torch_is_not_written(
    exported: Path, kind: Format, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / exported.name
    path.write_bytes(b"before")
    for tolerance, probe in ((-1.0, None), (1e-3, np.full_like(drawn(Model.load(weights).card), np.nan))):
        monkeypatch.setattr(exporting, "TOLERANCE", tolerance)
        monkeypatch.setattr(exporting, "trace", lambda _: None)  # the exported file will do
        monkeypatch.setattr(getattr(exporting, kind), "save", lambda *given: _copy(exported, given[-1]))
        with pytest.raises(WeightsError, match=r"method 'decomposition': what was exported differs from torch by"):
            export(Model.load(weights), "", path, kind, probe=probe)
    assert path.read_bytes() == b"before"
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def _copy(one: Path, other: Path) -> None:
    for suffix in (one.suffix, ".bin"):
        if one.with_suffix(suffix).is_file():
            other.with_suffix(suffix).write_bytes(one.with_suffix(suffix).read_bytes())


def test_a_method_that_draws_noise_is_refused(card: ModelCard, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    method = DiffusionSettings(network=DenoiserSettings(channels=(4, 6), embedding=8))
    model = Model(msgspec.structs.replace(card, method=method), method.build_network())
    with pytest.raises(WeightsError, match=r"method 'diffusion' cannot be exported \(.*; predict with --engine torch"):
        export(model, "", tmp_path / "a.xml", "openvino")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_to(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be written"):
        export(Model.load(weights), "", tmp_path / "file" / "a.xml", "openvino")


def test_ctrl_c_is_no_crash_once_engines_have_come_and_gone(weights: Path, tmp_path: Path) -> None:
    """In a process of its own: what it is about kills it."""
    pytest.importorskip("openvino")
    path = tmp_path / "tiny.xml"
    export(Model.load(weights), digest(weights), path, "openvino")
    lines = (
        "import gc, signal, sys",
        "from pathlib import Path",
        "from lesionsplit.engines.export import run_file",
        "signal.signal(signal.SIGINT, signal.default_int_handler)",  # a shell's background jobs ignore it
        "engines = [run_file(Path(sys.argv[1])) for _ in range(3)]",
        "while engines: del engines[0]; gc.collect()",
        "try: signal.raise_signal(signal.SIGINT)",
        "except KeyboardInterrupt: print('interrupted')",
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines), str(path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr

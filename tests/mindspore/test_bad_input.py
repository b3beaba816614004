"""What is refused, in one line. Nothing here needs MindSpore."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from msgspec.structs import replace

from lesionsplit.data.normalise import Normalisation
from lesionsplit.errors import RunError, SettingsError
from lesionsplit.methods.decomposition import DecompositionSettings
from lesionsplit.methods.supervised import SupervisedSettings
from lesionsplit.mindspore import install
from lesionsplit.models.model import Model, ModelCard
from lesionsplit.models.open_engine import open_engine
from lesionsplit.networks.decomposition import NetworkSettings
from lesionsplit.pipeline.predictor import Predictor
from lesionsplit.runtime import Runtime
from lesionsplit.training.framework import open_framework
from lesionsplit.training.run import Run, RunSettings
from lesionsplit.training.train import train_run


class Stand(ModuleType):
    """A module in MindSpore's place, on a machine that has a processor only."""

    def get_context(self, _: str) -> str:
        return "CPU"

    def get_current_device(self) -> tuple[str, int]:
        return "CPU", 0

    def set_device(self, target: str, number: int) -> None:
        raise RuntimeError(f"Unsupported device target {target} {number}.")


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mindspore", None)


def test_not_installed(absent: None, tiny: RunSettings) -> None:
    with pytest.raises(SettingsError) as caught:
        open_framework("mindspore", tiny, "auto")
    assert str(caught.value) == "mindspore is not installed; it comes with: pip install 'lesionsplit[mindspore]'"


def test_no_wheel_for_this_python(absent: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 1))
    with pytest.raises(SettingsError, match=r"^mindspore is not available for Python 3\.13; allowed: up to 3\.12: "):
        install.require_mindspore()


def test_a_method_without_a_form(tiny: RunSettings) -> None:
    settings = replace(tiny, method=SupervisedSettings(annotator="A"))
    with pytest.raises(SettingsError) as caught:
        open_framework("mindspore", settings, "auto")
    assert str(caught.value) == (
        "method 'supervised' needs torch; allowed with mindspore: decomposition (--config paper)"
    )


def test_a_residual_backbone() -> None:
    network = NetworkSettings(backbone="residual", start="identity", norm="none", decoders="shared")
    with pytest.raises(
        SettingsError, match=r"^method.network.backbone: is residual, which needs torch; allowed .*plain"
    ):
        install.require_form(DecompositionSettings(network=network))


def test_bf16(tiny: RunSettings) -> None:
    settings = replace(tiny, training=replace(tiny.training, precision="bf16"))
    with pytest.raises(SettingsError, match=r"^training.precision: is bf16; allowed with mindspore: fp32$"):
        open_framework("mindspore", settings, "auto")


def test_several_processes(tiny: RunSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RunError, match=r"^--framework: mindspore trains in one process; leave torchrun out"):
        open_framework("mindspore", tiny, "auto")


@pytest.mark.parametrize(
    ("device", "message"),
    [
        (
            "ascend",
            "device 'ascend' is not available to MindSpore on this machine; allowed: auto, cpu, ascend, ascend:N",
        ),
        ("ascend:1", "device 'ascend:1' is not available to MindSpore on this machine; "),
        ("cuda", "device 'cuda' is not one of MindSpore's; allowed: auto, cpu, ascend, ascend:N"),
        ("ascend:x", "device 'ascend:x' is not one of MindSpore's; "),
        ("cpu:1", "device 'cpu:1' is not one of MindSpore's; "),
        ("", "device '' is not one of MindSpore's; "),
    ],
)
def test_devices_that_are_not_there(device: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mindspore", Stand("mindspore"))
    assert install.choose_device("auto") == "cpu"
    assert install.choose_device("cpu") == "cpu"
    with pytest.raises(SettingsError) as caught:
        install.choose_device(device)
    assert str(caught.value).startswith(message)


def test_an_engine_without_the_method(absent: None) -> None:
    """The weights in the package are of `distilled`."""
    with pytest.raises(SettingsError, match=r"^method 'distilled' needs torch; allowed with mindspore: decomposition"):
        open_engine(None, "mindspore")


def test_an_engine_that_is_not_installed(absent: None, tiny: RunSettings, tmp_path: Path) -> None:
    card = ModelCard(
        format=3,
        method=tiny.method,
        placement=tiny.placement,
        normalisation=Normalisation(mean=0.4, std=0.1),
        threshold=0.5,
        threshold_from="a test",
        trained={},
    )
    Model(card, tiny.method.build_network()).save(tmp_path / "weights.safetensors")
    with pytest.raises(SettingsError, match=r"^mindspore is not installed; .* pip install 'lesionsplit\[mindspore\]'$"):
        Predictor.load(tmp_path / "weights.safetensors", runtime=Runtime(engine="mindspore"))


def test_an_exported_file_is_for_onnx_runtime() -> None:
    with pytest.raises(SettingsError, match=r"is a file for ONNX Runtime, and the engine is mindspore; leave"):
        open_engine(Path("x.onnx"), "mindspore")


def test_a_run_is_continued_by_its_own_framework(tiny: RunSettings, phantom_folder: Path, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", tiny)
    run.describe(data=str(phantom_folder), framework="mindspore")
    with pytest.raises(RunError, match=r"run: was trained with mindspore; leave --framework out, or start a new run"):
        train_run(run, phantom_folder, runtime=Runtime(framework="torch"))
    other = Run.create(tmp_path / "other", tiny)
    other.describe(data=str(phantom_folder))
    with pytest.raises(RunError, match=r"other: was trained with torch; leave --framework out"):
        train_run(other, phantom_folder, runtime=Runtime(framework="mindspore"))


def test_nothing_is_written_when_it_is_refused(
    absent: None, tiny: RunSettings, phantom_folder: Path, tmp_path: Path
) -> None:
    run = Run.create(tmp_path / "run", tiny)
    with pytest.raises(SettingsError, match=r"^mindspore is not installed"):
        train_run(run, phantom_folder, runtime=Runtime(framework="mindspore"))
    assert not list((tmp_path).rglob("*.json"))

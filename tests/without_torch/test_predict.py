"""What `pip install lesionsplit` does without PyTorch, in an environment of its own: `make test` runs it there."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(
    find_spec("torch") is not None, reason="PyTorch is installed; `make test` runs this where it is not"
)

ROOT = Path(__file__).parents[2]


def lesionsplit(*arguments: object, code: int = 0) -> str:
    """Run the command; its output."""
    done = subprocess.run(
        [sys.executable, "-m", "lesionsplit", *map(str, arguments)], capture_output=True, text=True, timeout=280
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "phantom"
    lesionsplit("phantom", folder, "--normal", 12, "--lesion", 12, "--size", 128)
    return folder


def test_nothing_of_training_is_installed() -> None:
    assert not [name for name in ("torch", "lightning_fabric", "safetensors", "onnx") if find_spec(name)]


def test_slices(slices: Path, tmp_path: Path) -> None:
    lesionsplit("predict", *sorted((slices / "images").glob("lesion_*.png"))[:3], "-o", tmp_path)
    assert len(list(tmp_path.glob("*_score.png"))) == 3


def test_a_volume_with_its_lungs(tmp_path: Path) -> None:
    import nibabel

    rows, columns, _ = np.indices((96, 96, 12))
    hu = np.full(rows.shape, -1000.0)
    hu[np.hypot((rows - 48) / 44, (columns - 48) / 34) < 1] = 40
    for side in (30, 66):
        hu[np.hypot((rows - side) / 13, (columns - 48) / 22) < 1] = -850
    hu += np.random.default_rng(0).normal(0, 12, hu.shape)
    affine = np.diag([-4.0, -4.0, 10.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(hu.astype(np.int16), affine), tmp_path / "chest.nii.gz")
    lesionsplit("predict", tmp_path / "chest.nii.gz", "-o", tmp_path / "found")
    found = tmp_path / "found" / "chest"
    assert {"score.nii.gz", "lungs.nii.gz", "report.html", "report.json"} <= {one.name for one in found.iterdir()}
    assert json.loads((found / "manifest.json").read_text())["engine"].startswith("onnxruntime ")
    lungs = np.asarray(nibabel.load(found / "lungs.nii.gz").dataobj)
    assert set(np.unique(lungs)) == {0, 1, 2}


def test_evaluation(slices: Path, tmp_path: Path) -> None:
    lesionsplit("evaluate", slices, "-o", tmp_path / "evaluated")
    assert (tmp_path / "evaluated" / "metrics.json").is_file()


def test_python(slices: Path) -> None:
    import lesionsplit

    (first,) = sorted((slices / "images").glob("lesion_*.png"))[:1]
    assert lesionsplit.predict(first).score.max() > 0
    with pytest.raises(
        lesionsplit.SettingsError, match=r"^torch is not installed; .*pip install 'lesionsplit\[train\]'"
    ):
        _ = lesionsplit.train


@pytest.mark.parametrize(
    "arguments",
    [("train", "."), ("compare", "figures", ".", "-o", "out"), ("export", "default", "-o", "a.onnx")],
    ids=lambda arguments: arguments[0],
)
def test_what_needs_pytorch_is_one_line(arguments: tuple[str, ...]) -> None:
    (line,) = lesionsplit(*arguments, code=2).splitlines()
    assert line == "lesionsplit: torch is not installed; it comes with: pip install 'lesionsplit[train]'"


def test_other_weights_need_their_exported_file(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes((ROOT / "src" / "lesionsplit" / "weights" / "default.safetensors").read_bytes())
    image = tmp_path / "a.png"
    line = lesionsplit("predict", image, "--weights", weights, code=2)
    assert "a.png: " in line
    from PIL import Image

    Image.fromarray(np.pad(np.full((64, 64), 90, np.uint8), 32)).save(image)
    line = lesionsplit("predict", image, "--weights", weights, "-o", tmp_path / "out", code=2)
    assert line == "lesionsplit: torch is not installed; it comes with: pip install 'lesionsplit[train]'\n"
    weights.with_suffix(".onnx").write_bytes((ROOT / "src" / "lesionsplit" / "weights" / "default.onnx").read_bytes())
    lesionsplit("predict", image, "--weights", weights, "-o", tmp_path / "out")


def test_information_on_what_is_installed() -> None:
    assert "torch: not installed; pip install 'lesionsplit[train]'" in lesionsplit("info")

from __future__ import annotations

from pathlib import Path

import pytest

from lesionsplit.data.table import Table
from lesionsplit.errors import DataError, SettingsError
from lesionsplit.pipeline.compare import compare
from lesionsplit.pipeline.evaluate import evaluate
from lesionsplit.runtime import Runtime


@pytest.fixture
def config(tmp_path: Path, weights: Path) -> Path:
    path = tmp_path / "two.toml"
    path.write_text(
        'reference = "network"\nresolution = 64\nexamples = 2\n'
        f'[[entry]]\nname = "network"\nweights = "{weights}"\n'
        '[[entry]]\nname = "opening"\nuntrained = "opening"\n'
        '[[entry]]\nname = "smoothing"\nuntrained = "smoothing"\n'
    )
    return path


def test_a_comparison_has_the_numbers_of_an_evaluation(
    config: Path, phantom_folder: Path, weights: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    comparison = compare(config, phantom_folder, tmp_path / "out", only=("opening",), runtime=Runtime(say=said.append))
    assert comparison is not None
    alone = evaluate(weights, phantom_folder, resolution=64)
    assert list(comparison.evaluation.methods) == ["network", "opening"]
    assert comparison.evaluation.methods["network"] == alone.methods["lesionsplit"]
    assert comparison.evaluation.methods["opening"] == alone.methods["opening"]
    assert comparison.evaluation.healthy["network"] == alone.healthy["lesionsplit"]
    assert comparison.entries[0].cost.slices_per_second is not None
    assert said == [str(path) for path in map(Path, said) if path.is_file()]
    assert str(tmp_path / "out" / "report.html") in said


def test_training_alone_scores_nothing(config: Path, phantom_folder: Path, tmp_path: Path) -> None:
    assert compare(config, phantom_folder, tmp_path / "out", train_only=True) is None
    assert not (tmp_path / "out").exists()


def test_the_engine_reaches_the_network(config: Path, phantom_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="engine 'steam' is not known"):
        compare(config, phantom_folder, tmp_path / "out", runtime=Runtime(engine="steam"))  # type: ignore[arg-type]


def test_without_masks_nothing_is_compared(config: Path, phantom: Table, tmp_path: Path) -> None:
    for label in ("normal", "lesion"):
        (tmp_path / "data" / label).mkdir(parents=True)
        row = phantom.labelled(label).slices[0]  # type: ignore[arg-type]
        (tmp_path / "data" / label / row.image.name).write_bytes(row.image.read_bytes())
    with pytest.raises(DataError, match="test"):
        compare(config, tmp_path / "data", tmp_path / "out")

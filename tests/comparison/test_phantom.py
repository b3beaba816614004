"""`lesionsplit compare phantom`: every method at toy size, trained, scored and reported, as a user would run it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from lesionsplit.cli import app
from lesionsplit.comparison.settings import read_comparison
from lesionsplit.evaluation.baselines import UNTRAINED
from lesionsplit.methods.table import AnyMethod
from lesionsplit.phantom.dataset import PhantomSettings, write_phantom
from lesionsplit.training.run import Run

pytestmark = pytest.mark.timeout(900)  # it trains eleven networks, on a machine that may be doing other things

TIMES_CHANCE = 2
"""What the average precision of every method is at least, in a training of seconds."""


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    write_phantom(folder / "phantom", PhantomSettings(normal=60, lesion=60, size=128, seed=1))
    arguments = ["compare", "phantom", folder / "phantom", "-o", folder / "out", "--cache", folder / "cache"]
    result = CliRunner().invoke(app, [*map(str, arguments), "--threads", "1"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder / "out"


def test_every_method_of_the_table_takes_part(compared: Path) -> None:
    names = {str(kind.__struct_config__.tag) for kind in get_args(AnyMethod)}
    config = read_comparison("phantom")
    trained = {Run.open(path).settings.method.__struct_config__.tag for path in (compared / "runs").iterdir()}
    read = {entry.method.get("name") for entry in config.entry if entry.reads}
    assert trained | read == names
    of_images = {"deviation"}
    assert {entry.untrained for entry in config.entry if entry.untrained} == set(UNTRAINED) - of_images


def test_every_method_finds_lesions_better_than_chance(compared: Path) -> None:
    with (compared / "table.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["measure"] == "average_precision"]
    precision = {(row["method"], row["annotator"]): float(row["value"]) for row in rows}
    chance = precision.pop(("chance", "a"))
    for name in (entry.name for entry in read_comparison("phantom").entry if entry.figure == "methods"):
        assert precision[name, "a"] > TIMES_CHANCE * chance, name


def test_the_report_is_whole(compared: Path) -> None:
    page = (compared / "report.html").read_text()
    for entry in read_comparison("phantom").entry:
        assert entry.name in page
    assert 'src="http' not in page
    for name in ("figure-2-curves", "figure-3-dice", "figure-4-curves"):
        assert (compared / f"{name}.png").is_file()
        assert (compared / f"{name}.svg").is_file()
    for name in ("figure-2-slices.png", "figure-4-slices.png", "table.tex", "table.md", "paper.html"):
        assert (compared / name).is_file()

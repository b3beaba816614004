from __future__ import annotations

import pytest

from lesionsplit import console
from lesionsplit.console import TrainingLine, bar
from lesionsplit.training.record import Measurement


def measured(step: int, seconds: float) -> Measurement:
    return Measurement(step=step, seconds=seconds, slices_per_second=12.34, terms={"critic": -1.2345, "penalty": 0.5})


def test_the_line_says_where_training_stands(capsys: pytest.CaptureFixture[str]) -> None:
    line = TrainingLine(100)
    assert line._text(measured(10, 20.0)) == "step 10/100  critic -1.23  penalty 0.5  12.3 slices/s  "
    assert line._text(measured(20, 30.0)).endswith("12.3 slices/s  0:01:20 left")  # a second a step since the first


def test_without_a_terminal_lines_are_few_but_the_last_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    line = TrainingLine(100)
    for step in range(1, 101):
        line(measured(step, float(step)))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[0].startswith("step 1/100")
    assert said[1].startswith("step 100/100")


def test_a_resumed_run_reckons_from_where_it_began() -> None:
    line = TrainingLine(100)
    line._text(measured(90, 5000.0))
    assert line._text(measured(95, 5005.0)).endswith("0:00:05 left")


def test_a_bar_passes_everything_on(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "PAUSE", -1.0)
    assert list(bar(range(3), 3, "Counting")) == [0, 1, 2]
    assert "Counting: 2 of 3" in capsys.readouterr().err

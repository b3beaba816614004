from __future__ import annotations

from pathlib import Path

import pytest

from lesionsplit.cli import console
from lesionsplit.cli.console import TrainingLine, bar
from lesionsplit.pipeline.case_table import CaseTable
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


def test_the_table_of_cases_says_what_failed_and_how_many_notes_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = CaseTable(tmp_path, masked=False)
    numbers = dict.fromkeys(console.SHOWN, "12.34")
    table.add("whole", {**numbers, "notes": "a; b"})
    table.add("part", {**numbers, "status": "incomplete", "reason": "report.html is missing: odd"})
    table.add("plain", numbers)
    table.refuse("bad", "bad: broken")
    table.write()
    console.case_table(table.path)
    lines = [line.split() for line in capsys.readouterr().err.splitlines()]
    assert lines[0][-1] == "notes"
    assert {line[0]: line[-1] for line in lines[1:5]} == {"whole": "2", "part": "1", "plain": "12.3", "bad": "failed"}
    assert lines[5][:3] == ["what", "makes", "the"]


def test_names_do_not_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for tell in (console.say, console.warn):
        tell("a\x1b[2J\u202eb\udcff.png: broken")
        assert capsys.readouterr().err == "a\\x1b[2J\\u202eb\\udcff.png: broken\n"

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from lesionsplit.errors import DivergedError, RunError
from lesionsplit.training.record import Record


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_terms_are_averaged_over_the_steps_that_have_them(tmp_path: Path) -> None:
    record = Record(tmp_path, slices_a_step=16)
    record.add({"critic": torch.tensor(1.0)})
    record.add({"critic": torch.tensor(3.0), "fidelity": torch.tensor(0.5)})
    measured = record.flush(2)
    assert measured.terms == {"critic": 2.0, "fidelity": 0.5}
    assert measured.slices_per_second == pytest.approx(32 / measured.seconds)
    assert [(row["step"], row["critic"], row["fidelity"]) for row in rows(tmp_path)] == [("2", "2", "0.5")]


def test_a_term_may_turn_up_late(tmp_path: Path) -> None:
    record = Record(tmp_path, slices_a_step=2)
    record.add({"critic": torch.tensor(1.0)})
    record.flush(1)
    record.add({"critic": torch.tensor(2.0), "fidelity": torch.tensor(4.0)})
    record.flush(2)
    assert [row["fidelity"] for row in rows(tmp_path)] == ["", "4"]


def test_a_resumed_record_drops_what_comes_again(tmp_path: Path) -> None:
    record = Record(tmp_path, slices_a_step=2)
    for step in range(1, 6):
        record.add({"critic": torch.tensor(float(step))})
        record.flush(step)
    again = Record(tmp_path, slices_a_step=2, step=3, seconds=100.0)
    again.add({"critic": torch.tensor(-1.0)})
    assert again.flush(4).seconds > 100
    assert [(row["step"], row["critic"]) for row in rows(tmp_path)] == [("1", "1"), ("2", "2"), ("3", "3"), ("4", "-1")]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not enough values to unpack (expected at least 1, got 0)"),
        (b"step,seconds\n1,2\n", "its columns are step, seconds"),
        (b"step,seconds,slices_per_second,step\n", "its columns are step, seconds, slices_per_second, step"),
        (b"step,seconds,slices_per_second\n1,2\n", "zip() argument 2 is shorter than argument 1"),
        (b"step,seconds,slices_per_second\n1,2,3,4\n", "zip() argument 2 is longer than argument 1"),
        (b"step,seconds,slices_per_second\nx,2,3\n", "invalid literal for int() with base 10: 'x'"),
        (b"step,seconds,slices_per_second\n,2,3\n", "invalid literal for int() with base 10: ''"),
        (b"step,seconds,slices_per_second\n1,nan,3\n", "a step is out of order, or a number is not finite"),
        (b"step,seconds,slices_per_second\n2,2,3\n1,2,3\n", "a step is out of order, or a number is not finite"),
        (b"step,seconds,slices_per_second\n1,2,3\n1,2,3\n", "a step is out of order, or a number is not finite"),
        (b"step,seconds,slices_per_second\n1,\xff,3\n", "'utf-8' codec can't decode byte 0xff in position 33"),
        (b'step,seconds,slices_per_second\n1,"2,3\n', "unexpected end of data"),
        (b"step,seconds,slices_per_second\n1,\x00,3\n", "could not convert string to float: '\\x00'"),
    ],
)
def test_a_damaged_record_is_named_and_stays(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    with pytest.raises(RunError) as caught:
        Record(tmp_path, slices_a_step=2, step=1)
    assert str(caught.value).startswith(f"{path}: is damaged ({why}")
    assert str(caught.value).endswith("); move it away, and the run goes on with a new one")
    assert path.read_bytes() == content


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_term_that_is_not_finite_is_named(tmp_path: Path, value: float) -> None:
    record = Record(tmp_path, slices_a_step=2)
    record.add({"critic": torch.tensor(1.0), "penalty": torch.tensor(value)})
    with pytest.raises(DivergedError, match=f"the term 'penalty' of the loss is {value} between steps 0 and 1"):
        record.flush(1)
    assert not (tmp_path / "metrics.csv").exists()


def test_tensorboard_gets_the_same_numbers(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    record = Record(tmp_path, slices_a_step=2)
    record.add({"critic": torch.tensor(2.5)})
    record.flush(10)
    record.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    (event,) = events.Scalars("loss/critic")
    assert (event.step, event.value) == (10, 2.5)


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    record = Record(None, slices_a_step=2)
    record.add({"critic": torch.tensor(1.0)})
    assert record.flush(1).terms == {"critic": 1.0}
    assert list(tmp_path.iterdir()) == []

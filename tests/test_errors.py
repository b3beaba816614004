from __future__ import annotations

import logging
from pathlib import Path

import pytest

from lesionsplit.atomic import atomic_file
from lesionsplit.errors import DataError, OutputError, one_failure, one_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DataError("a.nii: is broken\n  at slice 6"), "a.nii: is broken at slice 6"),
        (MemoryError(), "not enough memory; close other programs, give less at a time, or use a machine with more"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
            "not enough memory; close other programs, give less at a time, or use a machine with more",
        ),
        (OSError(28, "No space left on device"), "No space left on device"),
        (FileNotFoundError(2, "No such file or directory", "a.nii"), "a.nii: No such file or directory"),
        (OverflowError("too large\nto convert"), "unforeseen error (OverflowError: too large to convert)"),
        (RuntimeError("a mismatch of shapes"), "unforeseen error (RuntimeError: a mismatch of shapes)"),
        (KeyError(), "unforeseen error (KeyError)"),
    ],
)
def test_every_error_is_one_line(error: Exception, line: str) -> None:
    assert one_line(error) == line


def test_the_line_of_an_item_names_it_once() -> None:
    assert one_failure(DataError("in/a.nii: is broken"), "in/a.nii") == "in/a.nii: is broken"
    assert one_failure(DataError("is broken"), "in/a.nii") == "in/a.nii: is broken"


def test_the_trace_of_what_is_not_foreseen_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="lesionsplit"):
        one_failure(DataError("is broken"), "a.nii")
        assert caplog.records == []
        try:
            [][0]
        except IndexError as error:
            one_failure(error, "a.nii")
    (record,) = caplog.records
    assert record.getMessage() == "a.nii: unforeseen error (IndexError: list index out of range)"
    assert record.exc_info is not None
    assert record.levelno == logging.ERROR


def test_files_that_are_missing_are_named_with_their_reasons() -> None:
    error = OutputError({"report.html": ValueError("no font"), "score.dcm": DataError("has no lung")})
    assert (
        str(error)
        == "report.html is missing: unforeseen error (ValueError: no font); score.dcm is missing: has no lung"
    )
    assert not error.disk


def test_a_disk_that_refuses_a_file_is_told_from_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    assert OutputError({"a": OSError(28, "No space left on device")}).disk
    with pytest.raises(DataError) as refused, atomic_file(tmp_path / "a"):
        raise OSError(28, "No space left on device")
    assert OutputError({"a": refused.value}).disk

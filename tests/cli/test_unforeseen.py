"""What nobody foresaw: one line, a trace in a file, an exit code of its own; and how much is shown."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from lesionsplit.cli import console, main

INFO = sys.modules["lesionsplit.cli.info"]
"""The module; in the package, its name is that of the command."""

Call = Callable[..., tuple[int, str]]


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail() -> NoReturn:
        raise error

    monkeypatch.setattr(INFO, "_versions", fail)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state/lesionsplit/log/errors.log"


@pytest.mark.skipif(sys.platform != "linux", reason="the folder of the log is another one elsewhere")
def test_an_unforeseen_error_is_one_line_and_a_trace_in_a_file(
    call: Call, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, TypeError("unhashable\ntype \x1b[2J"))
    code, said = call("info")
    assert code == 70
    assert said == (
        "lesionsplit: unforeseen error (TypeError: unhashable type \\x1b[2J); its trace is in "
        f"{log}; please report it\n"
    )
    text = log.read_text()
    assert text.count("Traceback (most recent call last)") == 1
    assert "raise error" in text
    assert call("info")[0] == 70
    assert log.read_text().count("Traceback") == 2


def test_a_log_that_cannot_be_written_disturbs_nothing(call: Call, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.parent.parent.mkdir(parents=True)
    log.parent.write_text("in the way")
    fail_with(monkeypatch, TypeError("unhashable"))
    code, said = call("info")
    assert (code, said.count("\n")) == (70, 1)
    other = Path(said.partition("its trace is in ")[2].partition(";")[0])
    assert "Traceback" in other.read_text()
    other.unlink()
    monkeypatch.setattr("lesionsplit.cli.log.tempfile.mkstemp", lambda **_: (_ for _ in ()).throw(OSError(28, "full")))
    code, said = call("info")
    assert (code, said) == (
        70,
        "lesionsplit: unforeseen error (TypeError: unhashable); --debug shows its trace; please report it\n",
    )


def test_debug_shows_every_trace(call: Call, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, TypeError("unhashable"))
    for arguments in (("--debug", "info"), ("info", "--debug")):
        code, said = call(*arguments)
        assert code == 70
        assert said.count("Traceback") == 1
    code, said = call("predict", "nowhere.nii", "--debug")
    assert code == 2
    assert "Traceback" in said
    assert said.splitlines()[-1] == "lesionsplit: nowhere.nii: no such file or folder"
    assert "Traceback" not in call("predict", "nowhere.nii")[1]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), 2, "lesionsplit: not enough memory; close other programs, "),
        (
            OSError(28, "No space left on device", "out/a.csv"),
            2,
            "lesionsplit: out/a.csv: No space left on device",
        ),
        (KeyboardInterrupt(), 130, "lesionsplit: interrupted"),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
    ],
)
def test_what_the_system_refuses_is_one_line(
    error: BaseException, code: int, said: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, error)
    found, text = call("info")
    assert (found, text.strip().count("\n")) == (code, 0)
    assert text.strip().startswith(said)
    assert "Traceback" not in text


@pytest.mark.parametrize("arguments", [("--help",), ("info",)])
def test_a_reader_that_has_gone_is_exit_code_141(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "lesionsplit", *arguments]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=240)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_all_exit_codes_are_in_the_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["lesionsplit", "--help"])
    with pytest.raises(SystemExit):
        main()
    text = capsys.readouterr().out
    for code in (0, 1, 2, 70, 130, 141):
        assert f"\n  {code:>4}  " in text, code


@pytest.mark.parametrize("where", ["before", "after", "both"])
def test_quiet_stands_before_or_after_the_command(where: str, call: Call, tmp_path: Path) -> None:
    before, after = (("-q",) if where in (side, "both") else () for side in ("before", "after"))
    sizes = ("--normal", "1", "--lesion", "1", "--size", "64")
    assert call(*before, "phantom", tmp_path / "quiet", *sizes, *after) == (0, "")
    code, said = call("phantom", tmp_path / "loud", *sizes)
    assert code == 0
    assert "wrote 2 slices" in said
    assert not console.console.quiet


def test_verbose_shows_details_before_or_after_the_command(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> list[str]:
        from lesionsplit.errors import logger

        logger.info("a detail")
        return []

    for part in ("_devices", "_engines", "_weights", "_cache"):
        monkeypatch.setattr(INFO, part, list)
    monkeypatch.setattr(INFO, "_versions", work)
    for arguments in (("-v", "info"), ("info", "-v"), ("-v", "info", "--verbose")):
        assert call(*arguments) == (0, "a detail\n")
    assert call("info") == (0, "")


@pytest.mark.parametrize("arguments", [("-q", "-v", "info"), ("info", "-q", "-v"), ("-q", "info", "-v")])
def test_verbose_and_quiet_contradict_each_other(arguments: tuple[str, ...], call: Call) -> None:
    assert call(*arguments) == (2, "lesionsplit: --verbose and --quiet contradict each other; give one\n")

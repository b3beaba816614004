"""Where traces go: of unforeseen errors to a file of the user, of all errors to the terminal with --debug."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO, TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from platformdirs import user_log_path

LARGEST = 2_000_000
"""Bytes after which a new file is begun; one older file is kept."""

logger = logging.getLogger("lesionsplit")


class TraceFile(RotatingFileHandler):
    """A log file that is made when the first error is written, and never disturbs the work itself.

    It is no part of the results: it names files, also with --deidentify.
    """

    def __init__(self) -> None:
        path = user_log_path("lesionsplit", appauthor=False) / "errors.log"
        super().__init__(path, maxBytes=LARGEST, backupCount=1, encoding="utf-8", delay=True, errors="backslashreplace")
        self.setLevel(logging.ERROR)
        self.setFormatter(logging.Formatter("%(asctime)s %(process)d %(message)s"))

    @property
    def written(self) -> str:
        """The path of the file; empty where nothing was written."""
        return "" if self.stream is None else self.baseFilename

    def _open(self) -> TextIOWrapper:
        try:
            Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return super()._open()
        except OSError:  # no home, or one that may not be written to
            handle, self.baseFilename = tempfile.mkstemp(prefix="lesionsplit-", suffix=".log")
            return TextIOWrapper(FileIO(handle, "w"), encoding=self.encoding, errors=self.errors, write_through=True)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  a name of logging
        """Go on without a log."""


@contextmanager
def traces() -> Iterator[TraceFile]:
    """Keep the traces of what the package logs in the block."""
    file = TraceFile()
    logger.addHandler(file)
    logger.propagate = False  # a library may have told the root logger to print
    try:
        yield file
    finally:
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
            handler.close()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


def show_details() -> None:
    """Print what is done, such as the seconds of each stage."""
    _print(logging.INFO, traces=False)


def show_traces() -> None:
    """Print the trace of every error."""
    _print(logging.DEBUG, traces=True)


def _print(level: int, *, traces: bool) -> None:
    terminal = logging.StreamHandler()
    terminal.setLevel(level)
    terminal.addFilter(lambda record: bool(record.exc_info) == traces)
    logger.addHandler(terminal)
    logger.setLevel(min(level, logger.level or level))

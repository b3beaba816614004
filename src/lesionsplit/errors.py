"""Everything that can be foreseen to go wrong.

LesionsplitError             the command line prints its one line and exits with 2
├── SettingsError            a setting is unknown, of the wrong type or out of range
├── DataError                a table, an image or a mask is not what it should be
│   └── NoLungError          there is no lung in a slice or a volume
├── WeightsError             a weights file is missing, broken or of another kind
└── RunError                 a run folder exists, is missing, or cannot be continued
    └── DivergedError        a term of the loss is not finite

What is not foreseen is caught twice: at each item of a batch (`one_failure`) and at the top of the command line.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("lesionsplit")


class LesionsplitError(Exception):
    """What a user can cause and can mend; its text says what was found, what is allowed, what to do."""


class SettingsError(LesionsplitError):
    """A setting is unknown, of the wrong type or out of range."""


class DataError(LesionsplitError):
    """A table, an image or a mask is not what it should be."""


class NoLungError(DataError):
    """There is no lung in a slice or a volume."""


class OutputError(DataError):
    """Some files of a result could not be made; the others are written."""

    def __init__(self, failed: dict[str, Exception]) -> None:
        """``failed``: the error of each file, by its name."""
        super().__init__("; ".join(f"{name} is missing: {one_line(error)}" for name, error in failed.items()))
        self.failed = failed

    @property
    def disk(self) -> bool:
        """Whether the disk refused one of them, so that what was there before is better kept."""
        return any(isinstance(one, OSError) for error in self.failed.values() for one in (error, error.__context__))


class WeightsError(LesionsplitError):
    """A weights file is missing, broken or of another kind."""


class RunError(LesionsplitError):
    """A run folder exists already, is missing, or cannot be continued."""


class DivergedError(RunError):
    """A term of the loss is not finite; the last good checkpoint has been kept."""


TRAINING = ("torch", "lightning_fabric", "onnx", "onnxscript")
"""Packages that prediction does without."""


@contextmanager
def needs_training_packages() -> Iterator[None]:
    """Where one of `TRAINING` is imported in the block and missing, the error says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in TRAINING:
            raise
        raise SettingsError(f"{name} is not installed; it comes with: pip install 'lesionsplit[train]'") from None


def one_line(error: BaseException) -> str:
    """What a person reads about an error: one line, without its trace."""
    text = " ".join(str(error).split())
    if isinstance(error, LesionsplitError):
        return text
    if out_of_memory(error):
        return "not enough memory; close other programs, give less at a time, or use a machine with more"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"unforeseen error ({type(error).__name__}{f': {text}' if text else ''})"


def one_failure(error: Exception, where: str) -> str:
    """The line about an item of a batch that failed, naming it; the trace of what is not foreseen goes to the log."""
    line = one_line(error)
    line = line if where in line else f"{where}: {line}"
    log_trace(error, line)
    return line


def log_trace(error: BaseException, line: str) -> None:
    """Log an error with its trace: what is foreseen is of interest to developers only."""
    level = logging.DEBUG if isinstance(error, LesionsplitError) else logging.ERROR
    logger.log(level, "%s", line, exc_info=error)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the processor or of the GPU."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)  # PyTorch has no error of its own for the processor
        and (type(error).__name__ == "OutOfMemoryError" or "allocate memory" in str(error))
    )

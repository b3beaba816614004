"""What is measured of one way in one process.

Imports next to nothing: what the parent has in memory counts as its child's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

TEXTBOOK, CUT, OURS = "textbook", "textbook, cut", "lesionsplit"


class Rates(NamedTuple):
    """Of a device, measured."""

    macs: float
    """Multiply-adds a second of a large matrix product."""

    bytes: float
    """A second, read and written, of a large copy."""


class Work(NamedTuple):
    """What there is to do."""

    macs: float
    """Multiply-adds."""

    bytes: float
    """Read and written, each once."""


class Task(NamedTuple):
    """Something to do, ready to be done."""

    run: Callable[[], object]

    slices: int
    """How many of them it does."""

    work: Callable[[], Work] | None
    """What there is to do for a slice, counted; None where no floor is known."""

    facts: Callable[[], dict[str, Any]]
    """What came out, to be compared."""

    warmup_steps: bool = True
    """Whether to do it once before it is measured."""

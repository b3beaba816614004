"""What is measured of one way in one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.floors import Work

TEXTBOOK, CUT, OURS = "textbook", "textbook, cut", "lesionsplit"


class Task(NamedTuple):
    """Something to do, ready to be done."""

    run: Callable[[], object]

    slices: int
    """How many of them it does."""

    work: Callable[[], Work] | None
    """What there is to do for a slice, counted; None where no floor is known."""

    facts: Callable[[], dict[str, Any]]
    """What came out, to be compared."""

    warm_up: bool = True
    """Whether to do it once before it is measured."""

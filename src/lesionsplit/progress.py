"""How a long loop tells how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Shows how far a loop is: passes on the items, of which there are ``total``."""

    def __call__(self, items: Iterable[Item], total: int, title: str) -> Iterable[Item]:
        """The items, each shown as it goes by."""


def silent(items: Iterable[Item], total: int, title: str) -> Iterable[Item]:  # noqa: ARG001
    """Show nothing."""
    return items

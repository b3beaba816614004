"""The chest of tests/lungs, of which the lungs are known."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def lungs(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("tests/lungs/conftest.py")


@pytest.fixture(scope="session")
def chest(lungs: ModuleType) -> Any:
    return lungs.draw(lungs.grid(lungs.SPACING, lungs.SHAPE), lungs.SHAPE)

"""The ways of finding lungs, by name."""

from __future__ import annotations

from typing import Literal, TypeAlias

LungMethod: TypeAlias = Literal["network", "thresholds", "lungmask"]
"""The network of this package; thresholds and morphology, which lose dense disease; the package ``lungmask``."""

"""Decide from the range of a volume's values whether they are Hounsfield units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from lesionsplit.errors import DataError
from lesionsplit.volumes.volume import Intensity, Voxels

IntensityOption: TypeAlias = Literal["auto", "hu", "grey"]
"""``auto`` accepts values that look like Hounsfield units and refuses others; ``hu`` accepts any."""

LUNG, DENSE = -500, 500
"""HU: below the first is air, above the second mostly bone."""

FEWEST_AIR = 0.001
"""Minimum fraction of voxels below `LUNG` in a chest CT."""

MOST_DENSE = 0.2
"""Maximum fraction of voxels above `DENSE` in a chest CT."""

INVERTED_AIR = 1100
"""HU: a brighter value that a slice begins with is padding, not the air of an inverted CT, and does not count."""

HIGHEST = 32000
"""Higher than metal on the scale of any scanner."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a volume is read."""

    intensity: IntensityOption = "auto"
    """What the values mean."""

    force: bool = False
    """Continue despite recoverable inconsistencies."""


DEFAULT: Final = ReadOptions()


@dataclass(slots=True)
class Range:
    """The range of a volume's values, and how many are air or dense."""

    lowest: float = np.inf
    highest: float = -np.inf
    count: int = 0
    air: int = 0
    dense: int = 0

    def add(self, values: Voxels) -> None:
        """Add values, none of which is NaN."""
        self.lowest = min(self.lowest, float(values.min()))
        self.highest = max(self.highest, float(values.max()))
        self.count += values.size
        self.air += int(np.count_nonzero(values < LUNG)) if self.lowest < LUNG else 0
        if self.highest > DENSE:
            corner = float(values.flat[0])
            scan = values[values != corner] if corner > INVERTED_AIR else values
            self.dense += int(np.count_nonzero(scan > DENSE))


def check_intensity(seen: Range, option: IntensityOption, where: str) -> Intensity:
    """Decide what a volume's values mean.

    Args:
        seen: the range of all its voxels, before padding is replaced.
        option: what the user chose.
        where: the file, for messages.

    Raises:
        DataError: all values are equal, or they do not look like what the option allows.
    """
    values = f"values are from {seen.lowest:g} to {seen.highest:g}"
    eight_bit = seen.lowest >= 0 and seen.highest <= 255
    if seen.lowest == seen.highest:
        raise DataError(f"{where}: every voxel is {seen.lowest:g}; give a chest CT")
    if option == "grey":
        if not eight_bit:
            raise DataError(f"{where}: {values}, not from 0 to 255; leave out --intensity 8-bit if the values are HU")
        return "grey"
    if option == "hu":
        return "hu"
    override = "--intensity hu reads the values as HU anyway"
    if eight_bit:
        raise DataError(f"{where}: {values}, not HU; --intensity 8-bit reads them as grey, {override}")
    if seen.highest > HIGHEST:
        raise DataError(f"{where}: {values}, but HU are below {HIGHEST}; convert them to HU; {override}")
    if seen.lowest >= 0:
        raise DataError(
            f"{where}: {values}, none below 0: not HU (air -1000, water 0), perhaps stored values before rescaling; "
            f"convert them to HU; {override}"
        )
    if seen.dense > MOST_DENSE * seen.count and seen.dense > seen.air:
        raise DataError(
            f"{where}: {values}, {seen.dense / seen.count:.0%} of them above {DENSE}: inverted, or not HU (air -1000, "
            f"water 0); convert them to HU; {override}"
        )
    if seen.air < FEWEST_AIR * seen.count:
        raise DataError(
            f"{where}: {values}, without air below {LUNG}: not HU (air -1000, water 0), or without lung; convert them "
            f"to HU; {override}"
        )
    return "hu"

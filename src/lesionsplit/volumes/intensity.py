"""Are these Hounsfield units? A volume's range says so, or what it is instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from lesionsplit.errors import DataError
from lesionsplit.volumes.volume import Intensity, Voxels

Wanted: TypeAlias = Literal["auto", "hu", "grey"]
"""What the user says of the values: ``auto`` takes Hounsfield units and refuses what does not look like them."""

AIR = -1024
"""HU that padding outside the scanner's circle is set to, and the lowest value kept: it means no more than air."""

LUNG, DENSE = -500, 500
"""HU below which there is air, above which there is bone and little else."""

FEWEST_AIR = 0.001
"""Share of voxels below `LUNG` that every chest CT has."""

MOST_DENSE = 0.2
"""Share of voxels above `DENSE` that no chest CT has."""

HIGHEST = 32000
"""Above what metal comes to, on any scanner's scale."""


@dataclass(slots=True)
class Range:
    """What has been seen of a volume's values."""

    lowest: float = np.inf
    highest: float = -np.inf
    count: int = 0
    air: int = 0
    dense: int = 0

    def add(self, values: Voxels) -> None:
        """Look at some more values, none of which is NaN."""
        self.lowest = min(self.lowest, float(values.min()))
        self.highest = max(self.highest, float(values.max()))
        self.count += values.size
        self.air += int(np.count_nonzero(values < LUNG)) if self.lowest < LUNG else 0
        self.dense += int(np.count_nonzero(values > DENSE)) if self.highest > DENSE else 0


def judge(seen: Range, wanted: Wanted, where: str) -> Intensity:
    """Say what a volume's values mean.

    Args:
        seen: the range of all its voxels, before padding was replaced.
        wanted: what the user says.
        where: the file, for the message.

    Raises:
        DataError: the values do not look like Hounsfield units and nobody insists, or they are all one.
    """
    values = f"values run from {seen.lowest:g} to {seen.highest:g}"
    eight_bit = seen.lowest >= 0 and seen.highest <= 255
    if seen.lowest == seen.highest:
        raise DataError(f"{where}: every voxel is {seen.lowest:g}; give a CT of a chest")
    if wanted == "grey":
        if not eight_bit:
            raise DataError(f"{where}: {values}, not 0 to 255; leave out --intensity 8-bit where the values are HU")
        return "grey"
    if wanted == "hu":
        return "hu"
    insist = "--intensity hu insists that it is HU"
    if eight_bit:
        raise DataError(f"{where}: {values}, which is not HU; --intensity 8-bit takes them as grey, {insist}")
    if seen.highest > HIGHEST:
        raise DataError(f"{where}: {values}, but HU end below {HIGHEST}; convert it to HU; {insist}")
    if seen.lowest >= 0:
        raise DataError(
            f"{where}: {values}, none below 0: not HU (air -1000, water 0), but perhaps what a scanner stores before "
            f"it is rescaled; convert it to HU; {insist}"
        )
    if seen.dense > MOST_DENSE * seen.count and seen.dense > seen.air:
        raise DataError(
            f"{where}: {values}, {seen.dense / seen.count:.0%} of them above {DENSE}: inverted, or not HU (air -1000, "
            f"water 0); convert it to HU; {insist}"
        )
    if seen.air < FEWEST_AIR * seen.count:
        raise DataError(
            f"{where}: {values}, with no air below {LUNG}: not HU (air -1000, water 0), or no lung in it; convert it "
            f"to HU; {insist}"
        )
    return "hu"

"""Automatic checks of the lungs, whose notes tell the user to inspect them."""

from __future__ import annotations

import numpy as np

from lesionsplit.images import Mask
from lesionsplit.volumes.volume import Volume, Voxels

MIN_DICE = 0.9
"""Dice of network and thresholds below which there is a note: it is 0.98 on healthy chests, and 0.88 where fluid fills
a third of the lungs and the network misses half of it."""

CUT = 0.15
"""Lung area of the first or last slice, relative to the largest, above which the scan cuts the lungs."""

TOUCHING = 8
"""Lung pixels on the frame's edge from which the frame cuts a slice's lungs."""


def disagreement_notes(found: Mask, checked: Mask) -> tuple[str, ...]:
    """A note if two lung masks of one shape differ."""
    both = np.count_nonzero(found) + np.count_nonzero(checked)
    dice = 2 * np.count_nonzero(found & checked) / both if both else 1.0
    if dice >= MIN_DICE:
        return ()
    return (
        f"lung mask doubtful: network and thresholds agree to Dice {dice:.2f} only, because of dense disease or a "
        "wrong mask; inspect it",
    )


def truncation_notes(volume: Volume, labels: Voxels) -> tuple[str, ...]:
    """Notes if the frame or the ends of the scan cut the lungs; ``labels``, on the volume's grid, are 0 outside."""
    view = volume.axial(labels)
    areas, touching = np.zeros(len(view), np.int64), 0
    for number, one in enumerate(view):
        lungs = one > 0
        areas[number] = np.count_nonzero(lungs)
        edges = (lungs[0], lungs[-1], lungs[:, 0], lungs[:, -1])
        touching += int(sum(int(np.count_nonzero(edge)) for edge in edges) >= TOUCHING)
    notes = []
    if touching:
        notes.append(f"lungs touch the edge of the frame in {touching} of {len(view)} slices: they are incomplete")
    if len(view) > 1 and max(areas[0], areas[-1]) > CUT * areas.max():
        ends = " and ".join(end for end, at in (("bottom", 0), ("top", -1)) if areas[at] > CUT * areas.max())
        notes.append(f"the scan cuts the lungs at the {ends}: they are incomplete")
    return tuple(notes)

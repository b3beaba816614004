"""What gives reason to look at the lungs that were found."""

from __future__ import annotations

import numpy as np

from lesionsplit.images import Mask
from lesionsplit.volumes.volume import Volume, Voxels

DOUBTFUL = 0.9
"""Dice of network and thresholds below which the user is told: 0.98 on healthy chests, 0.88 where the network, too,
loses half of the fluid in a third of the lungs."""

CUT = 0.15
"""Share of the largest slice's lung from which a first or last slice says that the scan cuts the lungs."""

TOUCHING = 8
"""Pixels of a slice's lung on the frame's edge from which the frame cuts it."""


def disagreement(found: Mask, checked: Mask) -> tuple[str, ...]:
    """A note if two ways to find lungs, of one shape, found different ones."""
    both = np.count_nonzero(found) + np.count_nonzero(checked)
    dice = 2 * np.count_nonzero(found & checked) / both if both else 1.0
    if dice >= DOUBTFUL:
        return ()
    return (
        f"lung mask doubtful: network and thresholds agree to Dice {dice:.2f}, for dense disease or a wrong mask; "
        "look at it",
    )


def what_is_cut(volume: Volume, labels: Voxels) -> tuple[str, ...]:
    """Notes if the frame or the ends of the scan cut the lungs; ``labels`` are not 0 in lungs, on the volume's grid."""
    view = volume.axial(labels)
    areas, touching = np.zeros(len(view), np.int64), 0
    for number, one in enumerate(view):
        lungs = one > 0
        areas[number] = np.count_nonzero(lungs)
        edges = (lungs[0], lungs[-1], lungs[:, 0], lungs[:, -1])
        touching += int(sum(int(np.count_nonzero(edge)) for edge in edges) >= TOUCHING)
    notes = []
    if touching:
        notes.append(f"lungs touch the edge of the frame in {touching} of {len(view)} slices: not all of them is there")
    if len(view) > 1 and max(areas[0], areas[-1]) > CUT * areas.max():
        ends = " and ".join(end for end, at in (("bottom", 0), ("top", -1)) if areas[at] > CUT * areas.max())
        notes.append(f"the scan cuts the lungs at the {ends}: not all of them is there")
    return tuple(notes)

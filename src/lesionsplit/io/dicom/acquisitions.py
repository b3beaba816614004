"""Tell acquisitions, phases and reconstructions apart that one series mixes.

A proper series may state another acquisition number or time for each slice, or for each position of the table: such
values follow each other along the normal. Mixed acquisitions lie beside each other: each is evenly spaced by itself,
and the slices of one are at the places of the other, or between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from pydicom import Dataset

from lesionsplit.io.dicom.files import stated
from lesionsplit.io.dicom.geometry import SAME_PLACE, Vectors

STATED: Final = (
    "SeriesInstanceUID", "SeriesNumber", "AcquisitionNumber", "TemporalPositionIdentifier", "TemporalPositionIndex",
    "NominalPercentageOfCardiacPhase", "TriggerTime", "ConvolutionKernel", "FilterType", "KVP", "ImageType",
    "SliceThickness", "ReconstructionDiameter", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime",
    "SeriesTime", "ContentTime", "SeriesDescription", "ProtocolName", "ScanOptions", "ContrastBolusAgent",
    "IrradiationEventUID", "StudyInstanceUID", "FrameOfReferenceUID",
)  # fmt: skip
"""Elements that tell acquisitions apart, the surest first."""

BOOKKEEPING: Final = ("StudyInstanceUID", "FrameOfReferenceUID")
"""Elements that say how images are kept: they count where positions say that there are several acquisitions."""

WITHOUT_ORDER: Final = ("SeriesNumber", "AcquisitionDate")
"""Elements, besides UIDs, whose values for single slices have no order."""

DOUBTFUL: Final = ("ContentTime", "InstanceNumber")
"""Elements whose values also depend on the reconstruction: they count if they have few values, or among twins."""

FEWEST = 3
"""Minimum slices of an acquisition."""

EVEN = 0.1
"""Tolerance of the steps of an acquisition, as a fraction of a step."""

WHOLE = 0.8
"""Minimum share of an acquisition's steps without a missing slice, and of the slices that are in acquisitions."""

OVERLAP = 0.5
"""Minimum share of the shorter of two acquisitions that lies beside the other."""

MOST = 32
"""Maximum number of acquisitions in a series."""

Group = tuple[int, ...]
"""Indices of slices."""


class Mixture(NamedTuple):
    """Acquisitions in one series."""

    keyword: str
    """The element that tells them apart."""

    groups: tuple[Group, ...]
    """The one with most slices first; among equal ones an original one, and the one with the lowest value."""


def mixture(headers: Sequence[Dataset], along: Vectors) -> Mixture | None:
    """The acquisitions that slices belong to; None if they are one, or if no header tells them apart.

    Args:
        headers: of the slices.
        along: their positions along the normal, in millimetres.
    """
    if len(headers) < 2 * FEWEST:
        return None
    twins = bool((np.diff(np.sort(along)) <= SAME_PLACE).any())
    for keyword in (*STATED, *(("InstanceNumber",) if twins else ())):
        values = [stated(header, keyword) for header in headers]
        different = len(set(values))
        many = different * FEWEST > len(values)
        without_order = keyword.endswith("UID") or keyword in WITHOUT_ORDER
        if different == 1 or (many and (without_order or (keyword in DOUBTFUL and not twins))):
            continue  # values of single slices that have no order would form acquisitions by chance
        if keyword in BOOKKEEPING and not twins and _even(np.sort(along)):
            continue
        groups = _following(values, along)
        if _beside_each_other([along[list(group)] for group in groups], len(along)):
            derived = [stated(headers[group[0]], "ImageType").find("DERIVED") >= 0 for group in groups]
            order = sorted(range(len(groups)), key=lambda at: (-len(groups[at]), derived[at]))
            return Mixture(keyword, tuple(groups[at] for at in order))
    return None


def acquisitions(headers: Sequence[Dataset], along: Vectors) -> list[Group]:
    """The slices of each acquisition, see `mixture`; it takes several elements to tell some apart."""
    mixed = mixture(headers, along)
    if mixed is None:
        return [tuple(range(len(headers)))]
    return [
        tuple(group[index] for index in part)
        for group in mixed.groups
        for part in acquisitions([headers[index] for index in group], along[list(group)])
    ]


def _following(values: Sequence[str], along: Vectors) -> list[Group]:
    """Groups of slices, in the order of their values: a value that lies beside the values before begins another."""
    groups: dict[str, list[int]] = {}
    for index, value in enumerate(values):
        groups.setdefault(value, []).append(index)
    chains: list[_Chain] = []
    for value in sorted(groups, key=_in_order):
        low, high = float(along[groups[value]].min()), float(along[groups[value]].max())
        free = [chain for chain in chains if low > chain.high + SAME_PLACE or high < chain.low - SAME_PLACE]
        if free:
            chain = min(free, key=lambda chain: chain.misfit(low, high))
            chain.low, chain.high = min(chain.low, low), max(chain.high, high)
            chain.slices += groups[value]
        else:
            chains.append(_Chain(low, high, groups[value]))
        if len(chains) > MOST:
            return []
    return [tuple(chain.slices) for chain in chains]


@dataclass(slots=True)
class _Chain:
    """Slices that follow each other along the normal."""

    low: float
    high: float
    slices: list[int]

    def misfit(self, low: float, high: float) -> float:
        """How far the gap to more slices is from a step, in millimetres."""
        step = (self.high - self.low) / max(1, len(self.slices) - 1)
        return round(abs(max(low - self.high, self.low - high) - step), 3)


def _in_order(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return np.inf, value


def _beside_each_other(stacks: Sequence[Vectors], count: int) -> bool:
    stacks = [np.sort(stack) for stack in stacks if len(stack) >= FEWEST and np.ptp(stack) > SAME_PLACE]
    if len(stacks) < 2 or sum(map(len, stacks)) < WHOLE * count:
        return False
    return all(any(_beside(one, other) for other in stacks if other is not one) for one in stacks)


def _beside(one: Vectors, other: Vectors) -> bool:
    """Whether two stacks overlap, each is even by itself, and neither fills the gaps of the other."""
    shared = min(one[-1], other[-1]) - max(one[0], other[0])
    if shared < OVERLAP * min(np.ptp(one), np.ptp(other)):
        return False
    return _even(one) and _even(other) and not _fills(one, other) and not _fills(other, one)


def _even(stack: Vectors) -> bool:
    """Whether a stack is evenly spaced, perhaps with a few slices missing."""
    steps, usual = _steps(stack), _step(stack)
    times = np.rint(steps / usual)
    return bool((abs(steps / usual - times) < EVEN).all() and np.mean(times == 1) >= WHOLE)


def _steps(stack: Vectors) -> Vectors:
    """Distances between the positions of a stack, which may have several slices at one."""
    steps = np.diff(stack)
    return steps[steps > SAME_PLACE]


def _step(stack: Vectors) -> float:
    return float(np.median(_steps(stack)))


def _fills(one: Vectors, other: Vectors) -> bool:
    """Whether most slices of a stack are where another one lacks a slice."""
    usual = _step(other)
    inside = one[(one > other[0]) & (one < other[-1])]
    places = (inside - other[0]) / usual
    nearest = abs(inside[:, None] - other[None]).min(axis=1, initial=np.inf)
    return bool(len(inside) and np.mean((abs(places - np.rint(places)) < EVEN) & (nearest > usual / 2)) > 0.5)

"""Choose the slices of a series that form one volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydicom import Dataset

from lesionsplit.errors import DataError
from lesionsplit.io.dicom.acquisitions import FEWEST, mixture
from lesionsplit.io.dicom.files import numbers, stated
from lesionsplit.io.dicom.geometry import SAME_PLACE, along_normal, groups_of
from lesionsplit.io.dicom.slices import CtSlice
from lesionsplit.volumes.volume import Voxels

UIDS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
"""What slices of one series share."""

OTHERS: Final = ("SeriesNumber", "StudyDate", "AccessionNumber", "PatientID")
"""What they share, too, where it is stated."""

MOST_TWINS = 0.5
"""Maximum share of positions at which one of several slices is taken: with more, acquisitions could alternate."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Chooses slices.

    Raises:
        DataError: the slices are of several kinds or acquisitions, and ``force`` is off.
    """

    where: str
    """The series, for messages."""

    force: bool
    """Take the largest part."""

    values: Callable[[CtSlice], Voxels]
    """Reads a slice."""

    def choose(self, slices: Sequence[CtSlice]) -> tuple[list[CtSlice], tuple[str, ...]]:
        """The slices of one volume in order along the normal, one per position, and notes."""
        chosen, notes = self._of_one_grid(slices)
        chosen, mixture_notes = self._of_one_acquisition(chosen)
        chosen, duplicate_notes = self._without_duplicates(chosen)
        return chosen, (*notes, *mixture_notes, *duplicate_notes, *uid_notes(chosen))

    def _of_one_grid(self, slices: Sequence[CtSlice]) -> tuple[list[CtSlice], tuple[str, ...]]:
        """The largest group of slices that can belong to one grid."""
        places = [one.place for one in slices]
        largest, *others = groups_of(places)
        if not others:
            return list(slices), ()
        groups = "; ".join(f"{len(group)} of {places[group[0]]}" for group in (largest, *others[:3]))
        if len(largest) == 1 and len(places) > 2:
            raise DataError(
                f"{self.where}: no two of its {len(places)} slices are of one kind: {groups}; export it again"
            )
        if not self.force:
            raise DataError(
                f"{self.where}: its {len(places)} slices differ: {groups}; give slices of one kind, or use --force to "
                f"read the {len(largest)}"
            )
        note = f"{len(largest)} of {len(places)} slices were read, those of one kind: {groups}"
        return [slices[index] for index in largest], (note,)

    def _of_one_acquisition(self, slices: list[CtSlice]) -> tuple[list[CtSlice], tuple[str, ...]]:
        """The largest of the acquisitions that the series mixes; of equal ones the first."""
        count, told = len(slices), []
        while mixed := mixture([one.header for one in slices], along_normal([one.place for one in slices])):
            sizes = " and ".join(str(len(group)) for group in mixed.groups)
            told.append(f"{sizes} slices that differ in {mixed.keyword}")
            if not self.force:
                raise DataError(
                    f"{self.where}: mixes {len(mixed.groups)} acquisitions at the same or alternating positions: "
                    f"{told[0]}; give one of them, or use --force to read the one of {len(mixed.groups[0])} slices"
                )
            slices = [slices[index] for index in mixed.groups[0]]
        if not told:
            return slices, ()
        return slices, (
            f"{len(slices)} of {count} slices were read, one acquisition of several: {'; then '.join(told)}",
        )

    def _without_duplicates(self, slices: Sequence[CtSlice]) -> tuple[list[CtSlice], tuple[str, ...]]:
        """Slices along the normal, one per position: of duplicates the first acquired is kept."""
        along = along_normal([one.place for one in slices])
        kept: list[int] = []
        duplicates: list[tuple[int, int]] = []
        for index in sorted(range(len(slices)), key=lambda index: along[index]):
            if not kept or along[index] - along[kept[-1]] > SAME_PLACE:
                kept.append(index)
                continue
            first, second = sorted((kept[-1], index), key=lambda index: (*_acquired(slices[index].header), index))
            kept[-1] = first
            duplicates.append((first, second))
        chosen = [slices[index] for index in kept]
        different = [(slices[a], slices[b]) for a, b in duplicates if not self._equal(slices[a], slices[b])]
        if not different:
            return chosen, (f"{len(duplicates)} duplicate slices were read once",) if duplicates else ()
        one, other = (one.entry.name for one in different[0])
        problem = (
            f"at {len(different)} of {len(kept)} positions there are several different slices, for example {one} and "
            f"{other}"
        )
        if 1 < len(kept) < len(different) / MOST_TWINS:
            raise DataError(f"{self.where}: {problem}, and no header tells which belong together; give one acquisition")
        if not self.force:
            raise DataError(
                f"{self.where}: {problem}; give one acquisition, or use --force to read the first slice at each "
                "position"
            )
        return chosen, (f"{problem}: the first was read",)

    def _equal(self, one: CtSlice, other: CtSlice) -> bool:
        return bool(np.array_equal(self.values(one), self.values(other)))


def uid_notes(slices: Sequence[CtSlice]) -> tuple[str, ...]:
    """A note on UIDs and the like that do not fit slices of one volume, which were put together by position."""
    odd = []
    for keyword in UIDS:
        different = {stated(one.header, keyword) for one in slices}
        if len(different) > 1:
            odd.append(f"{len(different)} different values of {keyword}")
        elif "" in different and keyword != "FrameOfReferenceUID":  # whose lack is usual
            odd.append(f"no {keyword}")
    for keyword in OTHERS:
        different = {stated(one.header, keyword) for one in slices} - {""}
        if len(different) > 1:
            odd.append(f"{len(different)} different values of {keyword}")
    own = {(stated(one.header, "SOPInstanceUID"), one.frame) for one in slices}
    if len(own) < len(slices):
        odd.append("no SOPInstanceUID of their own")
    if not odd:
        return ()
    return (f"its {len(slices)} slices have {', '.join(odd)}: they were read as one volume",)


def scrambled(headers: Sequence[Dataset], keyword: str) -> bool:
    """Whether an anonymiser gave each slice of a study a value of its own, which says nothing then."""
    studies = {stated(header, "StudyInstanceUID") for header in headers}
    values = {stated(header, keyword) for header in headers} - {""}
    return FEWEST <= len(headers) == len(values) and len(studies) == 1 and studies != {""}


def _acquired(header: Dataset) -> tuple[float, ...]:
    found = (numbers(header, keyword, 1) for keyword in ("AcquisitionNumber", "InstanceNumber"))
    return tuple(number[0] if number else np.inf for number in found)

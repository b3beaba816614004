"""The frames of an enhanced multi-frame CT as if each were a CT slice of its own."""

from __future__ import annotations

from typing import Final

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag

from lesionsplit.errors import DataError
from lesionsplit.io.dicom.files import BROKEN, frame_count, line, value_of

GROUPS: Final = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"

RENAMED: Final = {
    "FrameType": "ImageType",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "FrameAcquisitionDateTime": "AcquisitionDateTime",
}
"""Elements of a frame that have another name in a slice."""


def frame_headers(header: Dataset, where: str) -> list[Dataset]:
    """The header of each frame: the elements of the object, then those of its shared and own functional groups.

    Raises:
        DataError: the functional groups are broken, or their number is not that of the frames.
    """
    try:
        shared, own = (list(value_of(header, keyword) or ()) for keyword in GROUPS)
        count = frame_count(header)
        if len(own) not in ((0, 1) if count == 1 else (count,)):
            raise DataError(f"{where}: has {count} frames but describes {len(own)}; export it again")
        return [_flat(header, [*shared, *own[number : number + 1]], number) for number in range(count)]
    except BROKEN as error:
        raise DataError(f"{where}: its functional groups are broken ({line(error)}); export it again") from None


def _flat(header: Dataset, groups: list[Dataset], number: int) -> Dataset:
    flat = Dataset()
    flat.file_meta = header.file_meta
    for tag in header.keys():  # noqa: SIM118 - iterating a data set parses every element
        if keyword_for_tag(tag) not in GROUPS:
            flat[tag] = header.get_item(tag)
    flat.InstanceNumber, flat.NumberOfFrames = number + 1, 1
    for group in groups:
        for sequence in group:
            for element in sequence.value[0] if sequence.VR == "SQ" and sequence.value else ():
                flat[element.tag] = element
                if other := RENAMED.get(element.keyword):
                    setattr(flat, other, element.value)
    return flat

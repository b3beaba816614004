"""What the DICOM objects of one case say of themselves: UIDs, series, who made them; made once, so that they agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from typing import Final

from pydicom.uid import UID, generate_uid

from lesionsplit.dicom.deidentify import Pseudonyms
from lesionsplit.errors import DataError

NAME: Final = "lesionsplit"
MANUFACTURER: Final = "The lesionsplit developers"
SERIES_NUMBER: Final = 9001
"""Of the first of the series that are written: above those of scanners, so that viewers list it last."""

RIGHT_LUNG, LEFT_LUNG, LESION = "right lung", "left lung", "lesion"
SEGMENTS: Final = {RIGHT_LUNG: 1, LEFT_LUNG: 2, LESION: 3}
"""Segments and their numbers, the same in every file, whether or not there is a lesion.

The lesion lies in the lungs and is last: programs that know no overlap draw a later segment over an earlier one.
"""

NOBODY: Final = datetime(1900, 1, 1)
"""The date of content where dates are removed but DICOM requires one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One object, alone in its series."""

    number: int
    """Of the series."""

    description: str
    """Of the series, as viewers list it."""

    series: UID = field(default_factory=generate_uid)
    uid: UID = field(default_factory=generate_uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Names one case's objects; make one with `new_identity`."""

    weights: str
    """SHA-256 of the weights, 64 hexadecimal digits: the serial number of the device that the network is."""

    segmentation: Instance
    parametric_map: Instance
    report: Instance

    tracking: Mapping[str, UID]
    """A UID a segment, by which the report's numbers belong to it."""

    device: UID
    """Of this run, as the observer in the report."""

    creator: str = ""
    """The content creator's name as DICOM writes it (``Family^Given``), or nothing."""

    pseudonyms: Pseudonyms | None = None
    """Given: no output names the patient (`deidentify`)."""

    made: datetime = field(default_factory=datetime.now)

    @property
    def content(self) -> datetime:
        """Date and time of the content: none that means something where dates are removed."""
        return NOBODY if self.pseudonyms is not None else self.made

    @property
    def version(self) -> str:
        """Of the software."""
        return version(NAME)


def tracking_id(segment: str) -> str:
    """By what a segment is called in the segmentation and in the report; the tracking UID is what makes it unique."""
    return f"{NAME} {segment}"


def new_identity(
    *,
    weights: str,
    creator: str = "",
    pseudonyms: Pseudonyms | None = None,
    series_number: int = SERIES_NUMBER,
) -> Identity:
    """New UIDs for the objects of one case.

    Args:
        weights: SHA-256 of the weights, in hexadecimal.
        creator: the content creator's name, or nothing.
        pseudonyms: given, the objects are de-identified; one for the whole run.
        series_number: of the segmentation; the map and the report get the next two.

    Raises:
        DataError: the creator's name has letters that DICOM's default character set lacks.
    """
    if not creator.isascii() or len(creator) > 64 or "\\" in creator:
        raise DataError(
            f"content creator {creator!r}: DICOM's default character set has only ASCII letters, at most 64, and no "
            "backslash; write it so, as Family^Given"
        )
    return Identity(
        weights=weights,
        segmentation=Instance(number=series_number, description=f"{NAME}: lesion and lungs"),
        parametric_map=Instance(number=series_number + 1, description=f"{NAME}: lesion score"),
        report=Instance(number=series_number + 2, description=f"{NAME}: measurements"),
        tracking={name: generate_uid() for name in SEGMENTS},
        device=generate_uid(),
        creator=creator,
        pseudonyms=pseudonyms,
    )

"""UIDs, series and creator of the DICOM objects of one case, created once so that they agree."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from typing import Any, Final

from pydicom.uid import UID, generate_uid

from lesionsplit.errors import DataError
from lesionsplit.io.dicom.pseudonyms import Pseudonyms

NAME: Final = "lesionsplit"
MANUFACTURER: Final = "The lesionsplit developers"
SERIES_NUMBER: Final = 9001
"""Number of the first written series: higher than those of scanners, so that viewers list it last."""

RIGHT_LUNG, LEFT_LUNG, LESION = "right lung", "left lung", "lesion"
SEGMENTS: Final = {RIGHT_LUNG: 1, LEFT_LUNG: 2, LESION: 3}
"""Segments and their numbers, the same in every file, with or without a lesion.

The lesion, inside the lungs, is last: programs without support for overlap draw later segments over earlier ones.
"""

NOBODY: Final = datetime(1900, 1, 1)
"""The required content date of de-identified objects."""


def _now() -> datetime:
    """The time, or SOURCE_DATE_EPOCH (https://reproducible-builds.org), with which a result has the same bits again."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(epoch)) if epoch.isdigit() else datetime.now()


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One object, alone in its series."""

    number: int
    """Of the series."""

    description: str
    """Of the series, shown by viewers."""

    series: UID
    uid: UID


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Identifies the objects of one case; create one with `new_identity`."""

    weights: str
    """SHA-256 of the weights, 64 hexadecimal digits, used as the serial number of the device."""

    segmentation: Instance
    parametric_map: Instance
    report: Instance
    pictures: Instance
    document: Instance

    tracking: Mapping[str, UID]
    """A UID for each segment, which ties the measurements of the report to it."""

    device: UID
    """Of this run, as the observer in the report."""

    uid_of: Callable[[str], UID] = field(repr=False)
    """A UID for anything else in the objects, by its role."""

    creator: str = ""
    """The content creator's name in DICOM format (``Family^Given``), or empty."""

    pseudonyms: Pseudonyms | None = None
    """If set, no output identifies the patient (`deidentify`)."""

    made: datetime = field(default_factory=_now)

    @property
    def content(self) -> datetime:
        """Date and time of the content; a fixed date if de-identified."""
        return NOBODY if self.pseudonyms is not None else self.made

    @property
    def version(self) -> str:
        """Of the software."""
        return version(NAME)


def object_fields(instance: Instance, identity: Identity) -> dict[str, Any]:
    """What highdicom is given for an object of any kind: its place in series and study, and what made it."""
    return {
        "series_instance_uid": instance.series,
        "series_number": instance.number,
        "series_description": instance.description,
        "sop_instance_uid": instance.uid,
        "instance_number": 1,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": NAME,
        "software_versions": identity.version,
        "device_serial_number": identity.weights,
    }


def tracking_id(segment: str) -> str:
    """The tracking identifier of a segment in segmentation and report; the tracking UID makes it unique."""
    return f"{NAME} {segment}"


def new_identity(
    *,
    weights: str,
    made_from: Sequence[str] = (),
    creator: str = "",
    pseudonyms: Pseudonyms | None = None,
    series_number: int = SERIES_NUMBER,
) -> Identity:
    """Create UIDs for the objects of one case.

    The same slices, weights, settings and result have the same UIDs in every run, so that an archive to which they are
    sent twice has them once. UIDs of de-identified objects are random: derived ones would show whose they are to
    everyone who has the slices.

    Args:
        weights: SHA-256 of the weights, in hexadecimal.
        made_from: all that decides what is in the objects, such as the slices' UIDs; if empty, UIDs are random.
        creator: the content creator's name, or empty.
        pseudonyms: if set, the objects are de-identified; use one for a whole run.
        series_number: of the segmentation; the map and the report get the next two.

    Raises:
        DataError: the creator's name is not ASCII, too long, or has a backslash.
    """
    if not creator.isascii() or len(creator) > 64 or "\\" in creator:
        raise DataError(
            f"content creator {creator!r}: allowed: up to 64 ASCII characters without backslash, as Family^Given"
        )
    source = [weights, version(NAME), *made_from] if made_from and pseudonyms is None else None

    def uid(role: str) -> UID:
        return generate_uid(entropy_srcs=None if source is None else [role, *source])

    def instance(number: int, role: str) -> Instance:
        return Instance(
            number=series_number + number,
            description=f"{NAME}: {role}",
            series=uid(f"series of {role}"),
            uid=uid(role),
        )

    return Identity(
        weights=weights,
        segmentation=instance(0, "lesion and lungs"),
        parametric_map=instance(1, "lesion score"),
        report=instance(2, "measurements"),
        pictures=instance(3, "pictures"),
        document=instance(4, "report as PDF"),
        tracking={name: uid(name) for name in SEGMENTS},
        device=uid("device"),
        uid_of=uid,
        creator=creator,
        pseudonyms=pseudonyms,
    )

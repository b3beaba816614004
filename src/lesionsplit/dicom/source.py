"""The headers of a volume's own slices, as highdicom wants them: what our objects refer to and inherit from.

highdicom takes patient and study from the first header, positions and references from all. It insists on elements
that files in the wild lack or fill wrongly, and holds every frame in memory, twice. So it gets slim headers of
images of one pixel (`frames` writes the real frames), with empty values where it would check them; the values of the
file itself, whatever they are, are put back afterwards, unread: PACS file an object by them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.coding import Code
from pydicom.uid import CTImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

from lesionsplit.dicom.codes import SCHEME, SCHEME_NAME
from lesionsplit.dicom.deidentify import EMPTY, coded, without_patient
from lesionsplit.dicom.identity import MANUFACTURER, Identity
from lesionsplit.errors import DataError
from lesionsplit.volumes.volume import Volume

_INHERITED: Final = (*EMPTY, "SpecificCharacterSet")
"""What is put back as it is in the source."""

_NEEDED: Final = (
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "ImagePositionPatient",
    "PixelSpacing",
    "SliceThickness",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)

_NOT_COPIED: Final = frozenset(map(tag_for_keyword, ("PixelData", "SpacingBetweenSlices", "IconImageSequence")))
"""Pixels; and a spacing that is often wrong: it is worked out from the positions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The slices that a volume was read from, in the order of its last axis."""

    headers: tuple[Dataset, ...]
    """For highdicom: each slice as an image of one pixel. The first has patient, study and scanner too."""

    inherited: Dataset
    """The elements that every object repeats as they are; without the patient where that was asked for."""

    def with_patient(self, number: int) -> Dataset:
        """The header of a slice, with patient, study and scanner, as the first one."""
        header = Dataset()
        for element in (*self.headers[0], *self.headers[number]):
            header[element.tag] = element
        return header

    @property
    def numbers(self) -> dict[str, int]:
        """Where on the volume's last axis an instance is, by its UID."""
        return {str(header.SOPInstanceUID): number for number, header in enumerate(self.headers)}


def source_headers(volume: Volume, identity: Identity) -> Sources:
    """What highdicom needs of a volume's headers; they stay as they are.

    Raises:
        DataError: the volume does not come from DICOM slices, or they lack what ties an object to them.
    """
    instances = volume.source.instances
    if len(instances) != volume.shape[2]:
        raise DataError(
            f"{volume.source.name}: has {len(instances)} DICOM headers for {volume.shape[2]} slices; DICOM objects are "
            "written only for volumes that were read from DICOM, one header a slice"
        )
    with config.disable_value_validation():
        if identity.pseudonyms is not None:
            instances = tuple(without_patient(header, identity.pseudonyms) for header in instances)
        _check(instances, volume)
        first = instances[0]
        common = {
            "Modality": first.get("Modality") or "CT",
            "ImageOrientationPatient": first.ImageOrientationPatient,
            # DICOM requires one of CT: of a series without, one that follows from it
            "FrameOfReferenceUID": first.get("FrameOfReferenceUID")
            or generate_uid(entropy_srcs=[str(first.SeriesInstanceUID)]),
            "Rows": 1,
            "Columns": 1,
            **dict.fromkeys(EMPTY, ""),
        }
        headers = [_whole(first), *(_slim(instance) for instance in instances[1:])]
        for header, instance in zip(headers, instances, strict=True):
            _put(header, "SOPClassUID", CTImageStorage)
            if not instance.get("SliceThickness"):
                _put(header, "SliceThickness", format_number_as_ds(float(volume.spacing[2])))
            for keyword, value in common.items():
                _put(header, keyword, value)
            for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
                _shorten(header, keyword)
        inherited = Dataset()
        for keyword in _INHERITED:
            _copy(first, inherited, keyword)
    return Sources(headers=tuple(headers), inherited=inherited)


def finish(dataset: Dataset, sources: Sources, identity: Identity) -> None:
    """Put back what a new object inherits, and take out its dates where nothing may name the patient."""
    for element in sources.inherited:
        dataset[element.tag] = element
    if identity.pseudonyms is None:
        return
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "TimezoneOffsetFromUTC"):
        if keyword in dataset:
            delattr(dataset, keyword)
    for item in dataset.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in item:
            del item.ContributionDateTime
    dataset.LongitudinalTemporalInformationModified = "REMOVED"


def scheme() -> CodingSchemeIdentificationItem:
    """Declares our own codes."""
    return CodingSchemeIdentificationItem(designator=SCHEME, name=SCHEME_NAME, responsible_organization=MANUFACTURER)


def code_sequence(code: Code) -> list[Dataset]:
    """A code as the sequence of one that DICOM attributes hold."""
    return [coded(code)]


def _check(instances: tuple[Dataset, ...], volume: Volume) -> None:
    """See that nothing is missing that cannot be made up."""
    kinds = {str(instance.get("SOPClassUID") or "") for instance in instances}
    if kinds != {CTImageStorage}:
        raise DataError(
            f"{volume.source.name}: has slices of SOP class {', '.join(sorted(kinds)) or 'unknown'}; DICOM objects are "
            f"written only for CT Image Storage ({CTImageStorage})"
        )
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "ImagePositionPatient", "PixelSpacing"):
        lacking = sum(not instance.get(keyword) for instance in instances)
        if lacking:
            raise DataError(
                f"{volume.source.name}: {lacking} of {len(instances)} slices have no {keyword}; a DICOM object cannot "
                "refer to them: leave DICOM out of the outputs"
            )
    orientations = np.array([instance.get("ImageOrientationPatient") or [np.nan] * 6 for instance in instances], float)
    if not np.allclose(orientations, orientations[0], atol=1e-3):
        raise DataError(
            f"{volume.source.name}: its slices have no common ImageOrientationPatient; a DICOM object needs one: leave "
            "DICOM out of the outputs"
        )
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        if (different := len({str(instance.get(keyword, "")) for instance in instances})) > 1:
            raise DataError(
                f"{volume.source.name}: its slices have {different} different values of {keyword}; a DICOM object "
                "belongs to one: leave DICOM out of the outputs"
            )
    heights = np.array([instance.ImagePositionPatient for instance in instances], float) @ np.cross(
        orientations[0, :3], orientations[0, 3:]
    )
    if len(np.unique(heights)) != len(instances):
        raise DataError(
            f"{volume.source.name}: two slices lie in one plane; a DICOM object has a frame a plane: leave one out"
        )
    if len({str(instance.SOPInstanceUID) for instance in instances}) != len(instances):
        raise DataError(f"{volume.source.name}: two slices share a SOPInstanceUID; leave one of them out")


def _slim(instance: Dataset) -> Dataset:
    header = Dataset()
    for keyword in _NEEDED:
        _copy(instance, header, keyword)
    return header


def _whole(instance: Dataset) -> Dataset:
    """All public elements that can be read: highdicom takes patient, study and scanner from them."""
    header = Dataset()
    for tag in instance.keys():  # noqa: SIM118 - iterating a data set reads every element, broken ones too
        if tag.is_private or tag in _NOT_COPIED:
            continue
        with suppress(ValueError, TypeError, NotImplementedError, AttributeError, OverflowError):
            header[tag] = instance[tag]
    return header


def _copy(source: Dataset, target: Dataset, keyword: str) -> None:
    tag = tag_for_keyword(keyword)
    if tag is not None and tag in source:
        target[tag] = source[tag]


def _shorten(header: Dataset, keyword: str) -> None:
    """Bring decimal strings of more than the 16 characters that DICOM allows, which scanners do write, to 16."""
    values = header[keyword].value
    numbers = list(values) if isinstance(values, MultiValue) else [values]
    if any(len(str(number)) > 16 for number in numbers):
        _put(header, keyword, [format_number_as_ds(float(number)) for number in numbers])


def _put(dataset: Dataset, keyword: str, value: object) -> None:
    """Set an element anew: setting the attribute would write into an element that another header shares."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    dataset[tag] = DataElement(tag, dictionary_VR(tag), value)

"""Headers of a volume's slices for highdicom, which our objects refer to and inherit from.

highdicom reads patient and study from the first header, positions and references from all. It requires elements
that real files lack or fill wrongly, and holds every frame in memory twice. So it gets reduced headers of images
of one pixel (`frames` writes the real frames), with empty values in elements that it would check. The original
values are copied afterwards without validation, because a PACS files objects by them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.coding import Code
from pydicom.uid import CTImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

from lesionsplit.errors import DataError
from lesionsplit.io.dicom.codes import SCHEME, SCHEME_NAME
from lesionsplit.io.dicom.deidentify import EMPTY, coded, without_patient
from lesionsplit.io.dicom.files import BROKEN, line
from lesionsplit.io.dicom.identity import MANUFACTURER, Identity
from lesionsplit.io.dicom.recognise import NOT_DICOM
from lesionsplit.volumes.volume import Volume

if TYPE_CHECKING:
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

_INHERITED: Final = (*EMPTY, "SpecificCharacterSet")
"""Elements copied unchanged from the source."""

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
"""Pixels, and a spacing that is often wrong; it follows from the positions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Headers of the slices of a volume, in the order of its last axis."""

    headers: tuple[Dataset, ...]
    """For highdicom: each slice as an image of one pixel. The first also has patient, study and scanner."""

    inherited: Dataset
    """Elements that every object repeats unchanged; without the patient if de-identified."""

    def with_patient(self, number: int) -> Dataset:
        """The header of a slice with patient, study and scanner, like the first one."""
        header = Dataset()
        for element in (*self.headers[0], *self.headers[number]):
            header[element.tag] = element
        return header

    @property
    def numbers(self) -> dict[str, int]:
        """Index of each instance on the volume's last axis, by UID."""
        return {str(header.SOPInstanceUID): number for number, header in enumerate(self.headers)}


def source_headers(volume: Volume, identity: Identity) -> Sources:
    """Prepare copies of a volume's headers for highdicom.

    Raises:
        DataError: the volume was not read from DICOM slices, or they lack elements that objects refer to.
    """
    if why := why_no_objects(volume):
        raise DataError(f"{volume.source.name}: no DICOM object can refer to it: {why}; write other files")
    instances = volume.source.instances
    with config.disable_value_validation():
        if identity.pseudonyms is not None:
            instances = tuple(without_patient(header, identity.pseudonyms) for header in instances)
        first = instances[0]
        common = {
            "Modality": first.get("Modality") or "CT",
            "ImageOrientationPatient": first.ImageOrientationPatient,
            # DICOM requires one for CT: for a series without, it is derived from the series UID
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
    if "DimensionOrganizationSequence" in dataset:  # highdicom draws its UID
        uid = identity.uid_of(f"dimensions of {dataset.SOPInstanceUID}")
        for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
            item.DimensionOrganizationUID = uid
    if identity.pseudonyms is None:
        dataset.InstanceCreationDate, dataset.InstanceCreationTime = identity.made.date(), identity.made.time()
        for item in dataset.get("ContributingEquipmentSequence", ()):
            if "ContributionDateTime" in item:
                item.ContributionDateTime = identity.made
        return
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "TimezoneOffsetFromUTC"):
        if keyword in dataset:
            delattr(dataset, keyword)
    for item in dataset.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in item:
            del item.ContributionDateTime
    dataset.LongitudinalTemporalInformationModified = "REMOVED"


def inherit_deidentification(dataset: Dataset, first: Dataset) -> None:
    """Copy what says that a patient was taken out, which highdicom copies for some kinds of objects only."""
    for keyword in ("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"):
        _copy(first, dataset, keyword)


def scheme() -> CodingSchemeIdentificationItem:
    """Declares our own codes."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem  # loads all of highdicom

    return CodingSchemeIdentificationItem(designator=SCHEME, name=SCHEME_NAME, responsible_organization=MANUFACTURER)


def code_sequence(code: Code) -> list[Dataset]:
    """A code as the sequence of one that DICOM attributes hold."""
    return [coded(code)]


def why_no_objects(volume: Volume) -> str:
    """Why no DICOM object can refer to the slices of a volume; empty where one can.

    It needs the headers only, so that it can be said before the work begins.
    """
    instances = volume.source.instances
    if len(instances) != volume.shape[2]:
        kept = f"it has {len(instances)} DICOM headers for {volume.shape[2]} slices"
        return kept if volume.source.kind == "dicom" else NOT_DICOM
    try:
        with config.disable_value_validation():
            return _why_not(instances)
    except BROKEN as error:
        return f"its headers are broken ({line(error)})"


def _why_not(instances: tuple[Dataset, ...]) -> str:
    kinds = {str(instance.get("SOPClassUID") or "") for instance in instances}
    if kinds != {CTImageStorage}:
        return f"its slices are of SOP class {', '.join(sorted(kinds)) or 'unknown'}, not {CTImageStorage} (CT)"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "ImagePositionPatient", "PixelSpacing"):
        if lacking := sum(not instance.get(keyword) for instance in instances):
            return f"{lacking} of {len(instances)} slices have no {keyword}"
    orientations = np.array([instance.get("ImageOrientationPatient") or [np.nan] * 6 for instance in instances], float)
    if not np.allclose(orientations, orientations[0], atol=1e-3):
        return "its slices have no common ImageOrientationPatient"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        if (different := len({str(instance.get(keyword, "")) for instance in instances})) > 1:
            return f"its {len(instances)} slices have {different} different values of {keyword}"
    heights = np.array([instance.ImagePositionPatient for instance in instances], float) @ np.cross(
        orientations[0, :3], orientations[0, 3:]
    )
    if (places := len(np.unique(heights))) != len(instances):
        return f"its {len(instances)} slices lie in {places} planes"
    if (own := len({str(instance.SOPInstanceUID) for instance in instances})) != len(instances):
        return f"its {len(instances)} slices share {own} SOPInstanceUID{'s' * (own > 1)}"
    return ""


def _slim(instance: Dataset) -> Dataset:
    header = Dataset()
    for keyword in _NEEDED:
        _copy(instance, header, keyword)
    return header


def _whole(instance: Dataset) -> Dataset:
    """All readable public elements: highdicom takes patient, study and scanner from them."""
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
    """Shorten decimal strings to the 16 characters that DICOM allows; some scanners write more."""
    values = header[keyword].value
    numbers = list(values) if isinstance(values, MultiValue) else [values]
    if any(len(str(number)) > 16 for number in numbers):
        _put(header, keyword, [format_number_as_ds(float(number)) for number in numbers])


def _put(dataset: Dataset, keyword: str, value: object) -> None:
    """Replace an element: setting the attribute would change an element shared with another header."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    dataset[tag] = DataElement(tag, dictionary_VR(tag), value)

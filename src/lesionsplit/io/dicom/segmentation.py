"""Write lesion and lungs as a DICOM segmentation on the slices of the input.

It is BINARY, which every viewer reads; highdicom creates the object, `frames` writes its pixels. Each frame refers to
its slice and has the slice's position, so that tilted gantries and gaps between slices are represented correctly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom import config
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID

from lesionsplit.io.dicom import codes
from lesionsplit.io.dicom.frames import PIXEL_DATA, Frame, Pixels, frames_of, packed, packed_length, write_whole
from lesionsplit.io.dicom.identity import (
    LEFT_LUNG,
    LESION,
    MANUFACTURER,
    NAME,
    RIGHT_LUNG,
    SEGMENTS,
    Identity,
    object_fields,
    tracking_id,
)
from lesionsplit.io.dicom.source import Sources, code_sequence, finish, source_headers
from lesionsplit.volumes.decomposed import LEFT, RIGHT, DecomposedVolume
from lesionsplit.volumes.scratch import releasing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """Codes and colour of a segment."""

    label: str
    category: Code
    type: Code
    modifier: Code | None = None
    region: Code | None = None
    colour: tuple[float, float, float]
    """CIELab: L from 0 to 100, a and b from -128 to 127."""


_KINDS: Final[Mapping[str, _Kind]] = {
    LESION: _Kind(
        label="Lesion",
        category=codes.ABNORMAL,
        type=codes.LESION,
        region=codes.LUNG,
        colour=(55.0, 70.0, 50.0),
    ),
    RIGHT_LUNG: _Kind(
        label="Right lung",
        category=codes.ANATOMY,
        type=codes.LUNG,
        modifier=codes.RIGHT,
        colour=(65.0, -10.0, -35.0),
    ),
    LEFT_LUNG: _Kind(
        label="Left lung",
        category=codes.ANATOMY,
        type=codes.LUNG,
        modifier=codes.LEFT,
        colour=(70.0, -35.0, 5.0),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A segmentation on disk, and what a report needs to refer to it."""

    path: Path
    header: Dataset
    """Its UIDs, without frames."""

    segments: Mapping[str, int]
    """Numbers of the segments, by name (`identity.SEGMENTS`)."""

    tracking: Mapping[str, UID]
    """Tracking UIDs of the segments, by name."""


def write_segmentation(
    findings: DecomposedVolume, path: Path, *, identity: Identity, omit_empty_frames: bool
) -> Written:
    """Write a DICOM SEG of lesion, right and left lung.

    Args:
        findings: of a volume read from DICOM slices.
        path: of the file; an existing one is overwritten.
        identity: of the case.
        omit_empty_frames: leave out frames without a pixel of their segment, which makes the file a fifth smaller
            and twice as fast to write. Some versions of OHIF need a frame of every segment on every slice.

    Raises:
        DataError: the volume has no DICOM headers, or the file cannot be written.
    """
    sources = source_headers(findings.volume, identity)
    present = _present(findings)
    with config.disable_value_validation():
        dataset = _object(sources, present, findings, identity, omit_empty_frames)
        finish(dataset, sources, identity)
    frames = frames_of(dataset, sources.numbers)
    columns, rows, _ = findings.volume.shape
    dataset.Rows, dataset.Columns = rows, columns
    del dataset.PixelData  # of one pixel a frame
    write_whole(
        path, dataset, Pixels(*PIXEL_DATA, packed(_masks(findings, frames)), packed_length(len(frames), rows, columns))
    )
    header = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        header.add(dataset[keyword])
    return Written(path=path, header=header, segments=dict(SEGMENTS), tracking=dict(identity.tracking))


def algorithm(findings: DecomposedVolume, identity: Identity) -> AlgorithmIdentificationSequence:
    """Program, weights and threshold that created a mask or a map."""
    return AlgorithmIdentificationSequence(
        name=NAME,
        family=codes.ARTIFICIAL_INTELLIGENCE,
        version=identity.version,
        source=MANUFACTURER,
        parameters={"weights_sha256": identity.weights, "threshold": f"{findings.threshold:g}"},
    )


def _object(
    sources: Sources,
    present: npt.NDArray[np.uint8],
    findings: DecomposedVolume,
    identity: Identity,
    omit_empty_frames: bool,
) -> Segmentation:
    instance = identity.segmentation
    dataset = Segmentation(
        source_images=sources.headers,
        pixel_array=present,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _description(name, number, algorithm(findings, identity), identity) for name, number in SEGMENTS.items()
        ],
        **object_fields(instance, identity),
        content_label="LESIONSPLIT",
        content_description="Lesion, right and left lung, found automatically",
        content_date=identity.content.date(),
        content_time=identity.content.time(),
        omit_empty_frames=omit_empty_frames,
        specific_character_set=None,
    )
    dataset.ContentCreatorName = identity.creator
    # lesions are in the lungs, which highdicom cannot see in one-pixel frames
    dataset.SegmentsOverlap = "YES" if present[..., SEGMENTS[LESION] - 1].any() else "NO"
    return dataset


def _description(
    name: str, number: int, algorithm: AlgorithmIdentificationSequence, identity: Identity
) -> SegmentDescription:
    kind = _KINDS[name]
    description = SegmentDescription(
        segment_number=number,
        segment_label=kind.label,
        segmented_property_category=kind.category,
        segmented_property_type=kind.type,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=identity.tracking[name],
        tracking_id=tracking_id(name),
        anatomic_regions=None if kind.region is None else [kind.region],
        display_color=CIELabColor(*kind.colour),
    )
    if kind.modifier is not None:
        type_item = description.SegmentedPropertyTypeCodeSequence[0]
        type_item.SegmentedPropertyTypeModifierCodeSequence = code_sequence(kind.modifier)
    return description


def _present(findings: DecomposedVolume) -> npt.NDArray[np.uint8]:
    """(slices, 1, 1, segments): 1 where a segment has a pixel in a slice."""
    present = np.zeros((findings.volume.shape[2], 1, 1, len(SEGMENTS)), np.uint8)
    for plane in releasing(range(len(present)), findings.lesion, findings.lungs):
        lungs = findings.lungs[..., plane]
        present[plane, 0, 0, SEGMENTS[RIGHT_LUNG] - 1] = (lungs == RIGHT).any()
        present[plane, 0, 0, SEGMENTS[LEFT_LUNG] - 1] = (lungs == LEFT).any()
        present[plane, 0, 0, SEGMENTS[LESION] - 1] = findings.lesion[..., plane].any()
    return present


def _masks(findings: DecomposedVolume, frames: list[Frame]) -> Iterator[npt.NDArray[np.bool_]]:
    """Frames as (rows, columns)."""
    label = {SEGMENTS[RIGHT_LUNG]: RIGHT, SEGMENTS[LEFT_LUNG]: LEFT}
    for frame in releasing(frames, findings.lesion, findings.lungs):
        if frame.segment == SEGMENTS[LESION]:
            yield np.not_equal(findings.lesion[..., frame.plane].T, 0)
        else:
            yield np.equal(findings.lungs[..., frame.plane].T, label[frame.segment])

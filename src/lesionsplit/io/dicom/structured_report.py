"""Write measurements as a DICOM structured report (TID 1500).

There is a group per segment of the segmentation (TID 1411), and a group per lesion (TID 1501) with its long axis as a
line on its slice, which viewers draw.

Missing values (`measurements.result.Missing`) are left out; the quality notes are comments in each group. Concepts
without a DICOM code use our own scheme (`codes`), which the report declares. The document is complete, unverified and
preliminary, because no person has reviewed it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ComprehensiveSR,
    CoordinatesForMeasurement,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    GraphicTypeValues,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceImageForRegion,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom import config
from pydicom.sr.coding import Code

from lesionsplit.io.dicom import codes
from lesionsplit.io.dicom.frames import write_whole
from lesionsplit.io.dicom.identity import (
    LEFT_LUNG,
    LESION,
    MANUFACTURER,
    NAME,
    RIGHT_LUNG,
    Identity,
    object_fields,
    tracking_id,
)
from lesionsplit.io.dicom.segmentation import Written
from lesionsplit.io.dicom.source import Sources, finish, scheme, source_headers
from lesionsplit.measurements.result import LUNGS, Lesion, Measurements, Missing, Region, Value
from lesionsplit.volumes.decomposed import LEFT, RIGHT, DecomposedVolume
from lesionsplit.volumes.scratch import releasing
from lesionsplit.volumes.volume import Volume

MOST_LESIONS: Final = 20
"""Lesions with a group of their own; the others are summed in a comment."""

LINE: Final = "Cornerstone3DTools@^0.1.0:Length"
"""Tracking identifier of a line that OHIF lists among its measurements; other viewers show it as text."""

SIDES: Final = {RIGHT_LUNG: codes.RIGHT, LEFT_LUNG: codes.LEFT}


class Number(NamedTuple):
    """One measurement of a group."""

    name: Code
    value: Value
    unit: Code
    derivation: Code | None = None
    method: Code | None = None


def write_structured_report(
    findings: DecomposedVolume, measures: Measurements, segmentation: Written, path: Path, *, identity: Identity
) -> Path:
    """Write a Comprehensive SR of the lesion and each lung.

    Args:
        findings: the decomposed volume.
        measures: its measurements.
        segmentation: its segmentation on disk, to whose segments the report refers.
        path: of the file; an existing one is overwritten.
        identity: that of the segmentation.

    Raises:
        DataError: the volume has no DICOM headers, or the file cannot be written.
    """
    sources = source_headers(findings.volume, identity)
    instance = identity.report
    algorithm = AlgorithmIdentification(
        name=NAME,
        version=identity.version,
        parameters=_parameters(findings, measures, identity),
        family=codes.ARTIFICIAL_INTELLIGENCE,
        manufacturer=MANUFACTURER,
    )
    series = str(sources.headers[0].SeriesInstanceUID)
    groups = [
        _group(name, _numbers(name, measures), segmentation, series, algorithm)
        for name in (LESION, RIGHT_LUNG, LEFT_LUNG)
    ]
    places = [_place(name, findings, sources, segmentation, algorithm) for name in (LESION, RIGHT_LUNG, LEFT_LUNG)]
    for group in groups:  # each stands alone in some viewers
        group[0].ContentSequence.extend(map(_comment, measures.notes))
    if rest := _others(measures):
        groups[0][0].ContentSequence.append(_comment(rest))
    lesions = [
        _lesion_group(one, findings.volume, sources, identity, algorithm) for one in measures.lesions[:MOST_LESIONS]
    ]
    observer = DeviceObserverIdentifyingAttributes(
        uid=str(identity.device),
        name=NAME,
        manufacturer_name=MANUFACTURER,
        model_name=NAME,
        serial_number=identity.weights,
    )
    report = MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(
                observer_type=CodedConcept.from_code(codes.DEVICE), observer_identifying_attributes=observer
            )
        ),
        procedure_reported=codes.CT_CHEST,
        imaging_measurements=[*groups, *(place for place in places if place is not None), *lesions],
    )
    with config.disable_value_validation():
        dataset = ComprehensiveSR(
            evidence=[*sources.headers, segmentation.header],
            content=report,
            **object_fields(instance, identity),
            is_complete=True,
            is_final=False,
            content_date=identity.content.date(),
            content_time=identity.content.time(),
            coding_schemes=[scheme()],
            specific_character_set=None,
        )
        finish(dataset, sources, identity)
    write_whole(path, dataset)
    return path


def _parameters(findings: DecomposedVolume, measures: Measurements, identity: Identity) -> list[str]:
    """Parameters of the measurements, including ranges of HU."""
    settings = measures.settings
    ranges = {name: getattr(settings, name) for name in ("ground_glass", "consolidation", "well_aerated")}
    return [
        f"weights_sha256={identity.weights}",
        f"threshold={findings.threshold:g}",
        *(f"{name}_hu={low:g}..{high:g}" for name, (low, high) in ranges.items()),
        f"high_opacity_hu={settings.high_opacity:g}..",
    ]


def _comment(note: str) -> TextContentItem:
    """A quality note: the templates are extensible, and have no place for text."""
    return TextContentItem(
        name=codes.COMMENT,
        value=note.encode("ascii", "backslashreplace").decode(),  # the character set is that of the source
        relationship_type=RelationshipTypeValues.CONTAINS,
    )


def _group(
    name: str, numbers: Iterator[Number], segmentation: Written, series: str, algorithm: AlgorithmIdentification
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=segmentation.tracking[name], identifier=tracking_id(name)),
        referenced_segment=ReferencedSegment(
            sop_class_uid=segmentation.header.SOPClassUID,
            sop_instance_uid=segmentation.header.SOPInstanceUID,
            segment_number=segmentation.segments[name],
            source_series=SourceSeriesForSegmentation(series),
        ),
        finding_category=codes.ABNORMAL if name == LESION else codes.ANATOMY,
        finding_type=codes.LESION if name == LESION else codes.LUNG,
        finding_sites=[FindingSite(anatomic_location=codes.LUNG, laterality=SIDES.get(name))],
        algorithm_id=algorithm,
        measurements=[
            Measurement(
                name=number.name,
                value=float(number.value),
                unit=number.unit,
                derivation=number.derivation,
                method=number.method,
            )
            for number in numbers
            if not isinstance(number.value, Missing)
        ],
    )


def _place(
    name: str, findings: DecomposedVolume, sources: Sources, segmentation: Written, algorithm: AlgorithmIdentification
) -> MeasurementsAndQualitativeEvaluations | None:
    """Where a segment is: its area in the slice with most of it, at a point of it; without lesion, of both lungs.

    It shares the tracking UID of the segment's group, so that viewers show that group's numbers at the point. Groups of
    segments may have no coordinates (TID 1411), and OHIF 3.13 shows nothing of a report with a group without any.
    """
    volume = findings.volume
    label = {RIGHT_LUNG: RIGHT, LEFT_LUNG: LEFT}.get(name)
    array = findings.lungs if label or not findings.lesion.any() else findings.lesion

    def inside(plane: int) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = array[..., plane] == label if label else array[..., plane] > 0
        return found

    areas = [int(np.count_nonzero(inside(plane))) for plane in releasing(range(volume.shape[2]), array)]
    if not any(areas):
        return None
    plane = int(np.argmax(areas))
    pixels = np.argwhere(inside(plane))
    middle = pixels[np.abs(pixels - pixels.mean(axis=0)).sum(axis=1).argmin()]
    point = _coordinates(GraphicTypeValues.POINT, middle[None].astype(np.float64), volume, sources, plane)
    pixel_mm2 = float(np.linalg.norm(np.cross(volume.affine[:3, 0], volume.affine[:3, 1])))
    area = 0.0 if name == LESION and array is findings.lungs else areas[plane] * pixel_mm2
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=segmentation.tracking[name], identifier=tracking_id(name)),
        finding_category=codes.ABNORMAL if name == LESION else codes.ANATOMY,
        finding_type=codes.LESION if name == LESION else codes.LUNG,
        finding_sites=[FindingSite(anatomic_location=codes.LUNG, laterality=SIDES.get(name))],
        algorithm_id=algorithm,
        measurements=[
            Measurement(name=codes.AREA, value=area, unit=codes.SQUARE_MILLIMETRE, referenced_coordinates=[point])
        ],
    )


def _lesion_group(
    lesion: Lesion, volume: Volume, sources: Sources, identity: Identity, algorithm: AlgorithmIdentification
) -> MeasurementsAndQualitativeEvaluations:
    """One lesion: the length first, with its line, because OHIF takes the first number for the line's."""
    numbers = [
        Number(codes.LENGTH, lesion.axial_diameter_mm, codes.MILLIMETRE),
        Number(codes.VOLUME, lesion.volume_ml, codes.MILLILITRE, method=codes.SUM_OF_VOXELS),
        Number(codes.ATTENUATION, lesion.mean_hu, codes.HOUNSFIELD, derivation=codes.MEAN),
    ]
    line = _line(lesion, volume, sources)
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=identity.uid_of(f"lesion {lesion.number}"),
            identifier=LINE if line is not None else f"{NAME} lesion {lesion.number}",
        ),
        finding_category=codes.ABNORMAL,
        finding_type=codes.LESION,
        finding_sites=[FindingSite(anatomic_location=codes.LUNG, laterality=SIDES[f"{lesion.side} lung"])],
        algorithm_id=algorithm,
        measurements=[
            Measurement(
                name=number.name,
                value=float(number.value),
                unit=number.unit,
                derivation=number.derivation,
                method=number.method,
                referenced_coordinates=[line] if line is not None and number.name == codes.LENGTH else None,
            )
            for number in numbers
            if not isinstance(number.value, Missing)
        ],
    )
    group[0].ContentSequence.append(_comment(f"Lesion {lesion.number}, {lesion.side} lung"))
    return group


def _line(lesion: Lesion, volume: Volume, sources: Sources) -> CoordinatesForMeasurement | None:
    """The axial diameter on its slice; None where it lies in no slice of the series, which is not axial."""
    ends = (lesion.axial_diameter_from_ras_mm, lesion.axial_diameter_to_ras_mm)
    places: list[npt.NDArray[np.float64]] = []
    for end in ends:
        if isinstance(end, Missing):
            return None
        places.append(np.linalg.solve(volume.affine, np.array([*end, 1.0]))[:3].astype(np.float64))
    columns_rows, plane = np.array(places)[:, :2], np.array(places)[:, 2]
    number = round(float(plane[0]))
    if abs(plane - number).max() > 0.01 or not 0 <= number < len(sources.headers):
        return None
    return _coordinates(GraphicTypeValues.POLYLINE, columns_rows, volume, sources, number)


def _coordinates(
    kind: GraphicTypeValues, columns_rows: npt.NDArray[np.float64], volume: Volume, sources: Sources, plane: int
) -> CoordinatesForMeasurement:
    """Points of a slice, (n, 2); the centre of its first pixel is (0, 0)."""
    header = sources.headers[plane]
    return CoordinatesForMeasurement(
        graphic_type=kind,
        # DICOM counts from the outer corner of the first pixel, PS3.3 C.18.6
        graphic_data=np.clip(columns_rows + 0.5, 0, volume.shape[:2]),
        source_image=SourceImageForRegion(str(header.SOPClassUID), str(header.SOPInstanceUID)),
    )


def _others(measures: Measurements) -> str:
    """A line about the lesions without a group of their own; empty if all have one."""
    shown = measures.lesions[:MOST_LESIONS]
    count = measures.lesion_count + measures.small_lesion_count - len(shown)
    volumes = [measures.region(LUNGS).lesion_ml, *(lesion.volume_ml for lesion in shown)]
    if count <= 0:
        return ""
    known = [volume for volume in volumes if not isinstance(volume, Missing)]
    size = f" of {max(0.0, known[0] - sum(known[1:])):.2f} mL together" if len(known) == len(volumes) else ""
    return f"{count} smaller lesion{'s' if count > 1 else ''}{size} not listed one by one"


def _numbers(name: str, measures: Measurements) -> Iterator[Number]:
    """The measurements of a segment."""
    if name == LESION:
        yield from _of_lesion(measures, measures.region(LUNGS))
    else:
        yield from _of_lung(measures.region(name))


def _of_lesion(measures: Measurements, both: Region) -> Iterator[Number]:
    yield Number(codes.VOLUME, both.lesion_ml, codes.MILLILITRE, method=codes.SUM_OF_VOXELS)
    yield Number(codes.OPACITY, both.opacity_percent, codes.PERCENT)
    yield Number(codes.HIGH_OPACITY, both.high_opacity_percent, codes.PERCENT)
    yield Number(codes.GROUND_GLASS, both.ground_glass_ml, codes.MILLILITRE)
    yield Number(codes.CONSOLIDATION, both.consolidation_ml, codes.MILLILITRE)
    yield Number(codes.ATTENUATION, both.lesion_mean_hu, codes.HOUNSFIELD, derivation=codes.MEAN)
    yield Number(codes.ATTENUATION, both.lesion_p50_hu, codes.HOUNSFIELD, derivation=codes.MEDIAN)
    yield Number(codes.ATTENUATION, both.lesion_sd_hu, codes.HOUNSFIELD, derivation=codes.STANDARD_DEVIATION)
    yield Number(codes.LESION_COUNT, measures.lesion_count, codes.NO_UNITS)
    yield Number(codes.LONG_AXIS, measures.largest_axial_diameter_mm, codes.MILLIMETRE)
    yield Number(codes.SEVERITY, measures.severity_score, codes.NO_UNITS)
    yield Number(codes.LUNG_SEVERITY, measures.lung_severity_score, codes.NO_UNITS)
    yield Number(codes.HIGH_OPACITY_SCORE, measures.high_opacity_score, codes.NO_UNITS)
    yield Number(codes.ZONE_SCORE, measures.zone_score, codes.NO_UNITS)


def _of_lung(lung: Region) -> Iterator[Number]:
    yield Number(codes.VOLUME, lung.lung_ml, codes.MILLILITRE, method=codes.SUM_OF_VOXELS)
    yield Number(codes.ATTENUATION, lung.lung_mean_hu, codes.HOUNSFIELD, derivation=codes.MEAN)
    yield Number(codes.LESION_VOLUME, lung.lesion_ml, codes.MILLILITRE)
    yield Number(codes.OPACITY, lung.opacity_percent, codes.PERCENT)
    yield Number(codes.HIGH_OPACITY, lung.high_opacity_percent, codes.PERCENT)
    yield Number(codes.WELL_AERATED, lung.well_aerated_ml, codes.MILLILITRE)

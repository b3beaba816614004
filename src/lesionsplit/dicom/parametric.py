"""The lesion score as a DICOM parametric map: a number a pixel, on the slices that it was found in.

A parametric map and no FRACTIONAL segmentation: that has 256 levels and must say that its values are probabilities or
occupancies; the score is neither, and has 65,536 levels. 32-bit floats and no integers with a scale: dcmqi, and 3D
Slicer through it, read maps of floats only. A score is its level of 16 bits divided by 65535, so that
``rint(value * 65535)`` gives back the level exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from highdicom import VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from pydicom import config
from pydicom.dataset import Dataset

from lesionsplit.dicom import codes
from lesionsplit.dicom.frames import FLOAT_PIXEL_DATA, Frame, Pixels, frames_of, write_whole
from lesionsplit.dicom.identity import MANUFACTURER, NAME, Identity
from lesionsplit.dicom.source import Sources, code_sequence, finish, scheme, source_headers
from lesionsplit.errors import DataError
from lesionsplit.volumes.findings import TOP, Findings
from lesionsplit.volumes.scratch import forget


def write_parametric_map(findings: Findings, path: Path, *, identity: Identity) -> Path:
    """Write the score on every slice from the first with lung to the last; elsewhere it is 0 everywhere.

    Args:
        findings: of a volume that was read from DICOM slices.
        path: of the file, overwritten if it is there.
        identity: of the case.

    Raises:
        DataError: the volume has no DICOM headers or no lung, or the file cannot be written.
    """
    sources = source_headers(findings.volume, identity)
    first, last = _span(findings)
    with config.disable_value_validation():
        dataset = _object(sources, first, last, findings, identity)
        finish(dataset, sources, identity)
    frames = frames_of(dataset, sources.numbers)
    columns, rows, _ = findings.volume.shape
    dataset.Rows, dataset.Columns = rows, columns
    del dataset.FloatPixelData  # of one pixel a frame
    length = len(frames) * rows * columns * 4
    write_whole(path, dataset, Pixels(*FLOAT_PIXEL_DATA, _scores(findings, frames), length))
    return path


def _object(sources: Sources, first: int, last: int, findings: Findings, identity: Identity) -> ParametricMap:
    instance = identity.parametric_map
    headers = sources.headers[first : last + 1]
    if first:
        headers = (sources.with_patient(first), *headers[1:])
    dataset = ParametricMap(
        source_images=headers,
        pixel_array=np.zeros((len(headers), 1, 1), np.float32),
        series_instance_uid=instance.series,
        series_number=instance.number,
        series_description=instance.description,
        sop_instance_uid=instance.uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=NAME,
        software_versions=identity.version,
        device_serial_number=identity.weights,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            RealWorldValueMapping(
                lut_label="SCORE",
                lut_explanation=f"Lesion score, 0 to 1; lesion from {findings.threshold:g}",
                unit=codes.NO_UNITS,
                value_range=(0.0, 1.0),
                slope=1.0,
                intercept=0.0,
                quantity_definition=codes.SCORE,
            )
        ],
        voi_lut_transformations=[VOILUTTransformation(window_center=0.5, window_width=1.0)],
        content_label="LESIONSPLIT",
        content_description="Lesion score of the network",
        content_date=identity.content.date(),
        content_time=identity.content.time(),
        coding_schemes=[scheme()],
        specific_character_set=None,
    )
    dataset.ContentCreatorName = identity.creator
    anatomy = Dataset()  # without it dcmqi refuses the map, and the series would need a laterality
    anatomy.AnatomicRegionSequence = code_sequence(codes.LUNG)
    anatomy.FrameLaterality = "B"
    dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy]
    _sort(dataset)
    return dataset


def _sort(dataset: ParametricMap) -> None:
    """Put the frames in the order in which they lie along the normal, rows times columns.

    highdicom puts them the other way round; dcmqi takes them to be in this order whatever their positions say, and
    3D Slicer would show the map upside down.
    """
    shared = dataset.SharedFunctionalGroupsSequence[0]
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])

    def height(item: Dataset) -> float:
        return float(normal @ np.array(item.PlanePositionSequence[0].ImagePositionPatient, float))

    items = sorted(dataset.PerFrameFunctionalGroupsSequence, key=height)
    for index, item in enumerate(items, start=1):
        item.FrameContentSequence[0].DimensionIndexValues = index
    dataset.PerFrameFunctionalGroupsSequence = items


def _span(findings: Findings) -> tuple[int, int]:
    """The first and the last slice with lung."""
    inside = [plane for plane in range(findings.volume.shape[2]) if findings.lungs[..., plane].any()]
    forget(findings.lungs)
    if not inside:
        raise DataError(f"{findings.volume.source.name}: has no lung in it; there is no score to write")
    return inside[0], inside[-1]


def _scores(findings: Findings, frames: list[Frame]) -> Iterator[bytes]:
    for number, frame in enumerate(frames):
        score = findings.score[..., frame.plane].T.astype("<f4") / np.float32(TOP)
        yield score.astype("<f4").tobytes()
        if number % 128 == 127:
            forget(findings.score)

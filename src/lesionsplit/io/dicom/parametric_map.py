"""Write the lesion score as a DICOM parametric map.

It is not a FRACTIONAL segmentation, which has 256 levels and must declare probabilities or occupancies; the score
is neither and has 65,536 levels. Values are 32-bit floats because dcmqi, and 3D Slicer through it, read only maps of
floats. A value is the stored 16-bit score divided by 65535, so ``rint(value * 65535)`` restores it exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from highdicom import VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from pydicom import config
from pydicom.dataset import Dataset

from lesionsplit.errors import DataError
from lesionsplit.io.dicom import codes
from lesionsplit.io.dicom.frames import FLOAT_PIXEL_DATA, Frame, Pixels, frames_of, write_whole
from lesionsplit.io.dicom.identity import Identity, object_fields
from lesionsplit.io.dicom.source import Sources, code_sequence, finish, scheme, source_headers
from lesionsplit.volumes.decomposed import TOP, DecomposedVolume
from lesionsplit.volumes.scratch import releasing


def write_parametric_map(findings: DecomposedVolume, path: Path, *, identity: Identity) -> Path:
    """Write the score of every slice from the first to the last with lung; it is 0 on all others.

    Args:
        findings: of a volume read from DICOM slices.
        path: of the file; an existing one is overwritten.
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


def _object(sources: Sources, first: int, last: int, findings: DecomposedVolume, identity: Identity) -> ParametricMap:
    instance = identity.parametric_map
    headers = sources.headers[first : last + 1]
    if first:
        headers = (sources.with_patient(first), *headers[1:])
    dataset = ParametricMap(
        source_images=headers,
        pixel_array=np.zeros((len(headers), 1, 1), np.float32),
        **object_fields(instance, identity),
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
    anatomy = Dataset()  # else dcmqi refuses the map, and the series needs a laterality
    anatomy.AnatomicRegionSequence = code_sequence(codes.LUNG)
    anatomy.FrameLaterality = "B"
    dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy]
    _sort(dataset)
    return dataset


def _sort(dataset: ParametricMap) -> None:
    """Sort the frames along the normal (cross product of row and column direction).

    highdicom sorts them in the reverse order; dcmqi assumes this order and ignores the positions, so that 3D Slicer
    would show the map upside down.
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


def _span(findings: DecomposedVolume) -> tuple[int, int]:
    """The first and the last slice with lung."""
    planes = releasing(range(findings.volume.shape[2]), findings.lungs)
    inside = [plane for plane in planes if findings.lungs[..., plane].any()]
    if not inside:
        raise DataError(f"{findings.volume.source.name}: has no lung, so there is no score to write")
    return inside[0], inside[-1]


def _scores(findings: DecomposedVolume, frames: list[Frame]) -> Iterator[bytes]:
    for frame in releasing(frames, findings.score):
        score = findings.score[..., frame.plane].T.astype("<f4") / np.float32(TOP)
        yield score.astype("<f4").tobytes()
